#include "klineagg/engine/worker.hpp"

#include "klineagg/engine/correction.hpp"
#include "klineagg/engine/metrics.hpp"
#include "klineagg/engine/replan.hpp"
#include "klineagg/engine/worker_journal.hpp"
#include "worker_sink.hpp"

#include <algorithm>
#include <exception>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

namespace klineagg::engine {

namespace {

constexpr std::uint64_t LOG_SPARE_CHUNKS = 8;
// Rows that come one by one are taken some at a time: a worker that looks for each takes the lines
// of the lane away from the producer between any two, at ten times the cost of the row.
constexpr std::size_t FEW_ROWS = 64;
// So few are no stream of rows: somebody may look for what the next one does.
constexpr std::size_t SINGLE_ROWS = 4;
constexpr int LINGER_PAUSES = 32;  // about a microsecond

void linger(std::size_t applied) noexcept {
    const int pauses = applied < SINGLE_ROWS ? LINGER_PAUSES : 4 * LINGER_PAUSES;
    for (int i = 0; i < pauses; ++i) spin_pause();
}

constexpr std::size_t SLOTS_AHEAD = 16;  // asked for while others are looked at
constexpr DurationNs LOOK_NS = 1'000'000;  // between looks at the system's clock

void add(std::atomic<std::int64_t>& counter, std::int64_t count) noexcept {
    add_relaxed(counter, count);
}

}  // namespace

Worker::Worker(Core& core, std::uint32_t id)
    : core_(&core),
      id_(id),
      name_(std::string("kla-worker-").append(std::to_string(id))),
      log_(core.options.unacknowledged_rows_max, LOG_SPARE_CHUNKS,
           core.options.on_bound == BoundPolicy::evict ? core.options.eviction_folder : ""),
      generation_(&core.now()),
      capture_(core.now()),
      block_(BLOCK_ROWS),
      sorter_(BLOCK_ROWS),
      blocks_(&core.blocks.lend()),
      closed_(std::make_unique<ClosedBars<PartialBar>>()),
      own_observer_(core.options.observer ? core.options.observer->worker(core, id) : nullptr),
      waiter_(core.options.wait) {
    if (core.journal) journal_ = std::make_unique<WorkerJournal>(*core.journal, waiter_, LOGGED_ROWS);
}

Worker::~Worker() { core_->blocks.take_back(*blocks_); }

void Worker::start() {
    const std::vector<int>& cores = core_->options.cores;
    const std::optional<int> core =
        cores.empty() ? std::nullopt : std::optional<int>(cores[id_ % cores.size()]);
    // Not before: what is recovered from a log is told if the observer asks for it.
    observer_ = own_observer_.get();
    thread_ = Thread(name_, core, [this] { run(); });
}

void Worker::join() {
    thread_.join();
}

void Worker::post(Command& command) noexcept {
    command_.store(&command, std::memory_order_release);
    waiter_.notify();
}

void Worker::grow(std::size_t slots) {
    due_.grow(slots);
    dirty_.grow(slots);
    owned_.grow(slots);
    absent_.grow(slots);
    capture_.grow(slots);
    state_capture_.grow(slots);
    if (own_observer_) own_observer_->grow(slots);
}

void Worker::run() {
    try {
        loop();
    } catch (const std::exception& error) {
        core_->failure.set(name_, error.what());
    } catch (...) {
        core_->failure.set(name_, "an unknown error");
    }
}

void Worker::loop() {
    while (!stopping_ && !core_->failure.is_set()) {
        const std::size_t applied = journal_ ? drain_journal() : drain_lanes();
        if (applied == 0) now_ = monotonic_ns();  // else it is that of the last block
        bool busy = applied != 0;
        busy |= advance_transfer();
        busy |= advance_follow();
        busy |= close_due(CLOSE_TURN);
        // In proportion to the trades, so that a capture ends soon under full load too.
        busy |= capture_.advance(core_->slots, CAPTURE_TURN + applied / 8);
        busy |= state_capture_.advance(core_->slots, STATE_TURN + applied / 64);
        busy |= tick();
        if (observer_) [[unlikely]] busy |= observer_->turn(core_->slots, now_);
        publish(applied == 0 && metrics_.has_closed() ? monotonic_ns() : now_);
        busy |= run_command();
        if (applied != 0 && applied < FEW_ROWS) linger(applied);
        if (busy) waiter_.reset();
        else if (waiter_.idle([this] { return has_work(); }, next_deadline())) core_->keeper.call();
    }
}

std::size_t Worker::drain_lanes() {
    std::size_t applied = 0;
    for (const std::shared_ptr<Intake>& intake : lanes_) {
        if (!can_park()) [[unlikely]] break;
        // The limit first: a hole before it shows before the row behind the hole can be taken.
        const std::uint64_t limit = intake->limit();
        if (!mark_holes(*intake)) [[unlikely]] continue;
        applied += intake->lane.consume(block_, std::min(limit, intake->lane.hole_position()),
                                        [this](auto records) { return apply(records); });
    }
    return applied;
}

bool Worker::has_work() const noexcept {
    if (command_.load(std::memory_order_acquire) != nullptr || capture_.is_open() ||
        state_capture_.is_open() || part_ != nullptr || following_ != nullptr ||
        core_->failure.is_set()) {
        return true;
    }
    if (journal_) return has_journal_work();
    for (const std::shared_ptr<Intake>& intake : lanes_) {
        if (intake->lane.applied() < intake->limit() || intake->has_holes()) return true;
    }
    return false;
}

MonotonicNs Worker::next_deadline() const noexcept {
    MonotonicNs due = NO_DEADLINE;
    // Without open bars there is nothing that a tick could close.
    if (!core_->clock->simulated() && !due_.empty())
        due = deadline_after(due_.next_due() - core_->clock->now() + core_->close_delay_ns.load());
    if (observer_) due = std::min(due, observer_->deadline());
    return journal_ ? journal_deadline(due) : due;
}

bool Worker::run_command() {
    Command* const command = command_.load(std::memory_order_acquire);
    if (command == nullptr) return false;
    if (journal_) return run_journaled(*command);
    for (const std::shared_ptr<Intake>& intake : lanes_) {
        if (!intake->at_gate()) return true;
    }
    for (const std::shared_ptr<Intake>& intake : lanes_) {
        if (command->waits_for_holes && intake->lane.is_evicting()) return true;
        if (!mark_holes(*intake)) return true;
    }
    return finish(*command, true);
}

bool Worker::finish(Command& command, bool runs) {
    // A cut is laid through settled ground: everything that the clock has closed is in the log,
    // and nobody still waits for an older capture.
    while (close_due(CLOSE_TURN)) {}
    while (capture_.is_open()) {
        if (!capture_.advance(core_->slots, CAPTURE_TURN)) wait_for_room();
    }
    while (state_capture_.advance(core_->slots, STATE_TURN)) {}
    if (runs) command.run(*this);
    show_rows();
    for (const std::shared_ptr<Intake>& intake : lanes_) intake->open();
    command_.store(nullptr, std::memory_order_relaxed);
    command.finish_one();  // from here on it may be gone
    return true;
}

LaneRefused Worker::apply(std::span<const LaneRecord> records) {
    apply_present(park(records));
    now_ = monotonic_ns();
    metrics_.applied(records, now_);
    return std::exchange(refused_, {});
}

void Worker::apply_present(std::span<const LaneRecord> records) {
    while (!records.empty()) {
        // One, but for records that had to wait for their symbols.
        const std::uint16_t source = records.front().source;
        std::size_t count = 1;
        while (count < records.size() && records[count].source == source) ++count;
        apply_source(source, records.first(count));
        records = records.subspan(count);
    }
}

void Worker::apply_source(std::uint16_t source, std::span<const LaneRecord> records) {
    IdCounts seen;
    // Observers are told of trades as they came.
    const auto groups = sorter_.sort(records, core_->slots, observer_ == nullptr);
    if (sorter_.is_plain()) apply_groups(groups, sorter_.plain_trades(), source, seen);
    else apply_groups(groups, sorter_.trades(), source, seen);
    add(counts_.applied, static_cast<std::int64_t>(records.size()));
    if ((seen.duplicates | seen.gaps | seen.out_of_order) == 0) [[likely]] return;
    add(counts_.duplicates, seen.duplicates);
    refused_.duplicate += static_cast<std::uint64_t>(seen.duplicates);
    if (SourceCounts* const counts = core_->sources.find(source)) counts->add(seen);
}

template <class AnyTrade>
void Worker::apply_groups(std::span<const BlockSorter::Group> groups, AnyTrade* trades,
                          std::uint16_t source, IdCounts& seen) {
    for (std::size_t i = 0; i < groups.size(); ++i) {
        const BlockSorter::Group& group = groups[i];
        if (i + 1 < groups.size()) prefetch_base(*groups[i + 1].slot);
        SymbolSlot& slot = *group.slot;
        touch(slot);
        AnyTrade* const end = slot.ids.filter(trades + group.begin, trades + group.end, source,
                                              blocks_, seen);
        apply_group(slot, trades + group.begin, end);
    }
}

void Worker::touch(SymbolSlot& slot) {
    capture_.before_change(slot, [this] { wait_for_room(); });
    state_capture_.before_change(slot);
    if (!slot.dirty) {
        slot.dirty = true;
        dirty_.add(slot.index);
        if (owned_.insert(slot.index)) {
            // At its first trade, and not when it comes from another worker.
            if (journal_ && slot.joined == TIME_NONE && slot.trades == 0) slot.joined = block_time_;
            take_in(slot);
        }
    }
    if (slot.generation != generation_->number) [[unlikely]] follow(slot);
    if (hear_clock(slot, clock_watermark_)) settle(slot);
}

/// Symbols with nothing open are not told of every tick: they hear of all at once.
bool Worker::hear_clock(SymbolSlot& slot, TimeNs watermark) {
    if (slot.clock_seen >= watermark) return false;
    slot.clock_seen = watermark;
    slot.aggregator.advance(watermark, LogSink(*this, slot));
    return true;
}

void Worker::take_in(SymbolSlot& slot) {
    if (slot.index >= owned_limit_) owned_limit_ = slot.index + 1;
    slot.aggregator.set_pool(blocks_);
    if (generation_->options.coverage_start == TIME_NONE)
        slot.aggregator.cover_from(slot.joined);
}

template <class AnyTrade>
void Worker::apply_group(SymbolSlot& slot, const AnyTrade* trade, const AnyTrade* end) {
    SymbolAggregator<PartialBar>& aggregator = slot.aggregator;
    slot.count_trades(end - trade);
    const LogSink sink(*this, slot);
    const AnyTrade* untold = trade;
    while ((trade = aggregator.add_run(trade, end, *closed_, sink)) != end) {
        const Admission admission = aggregator.add_slow(as_trade(*trade++), sink);
        if (admission == Admission::applied) continue;
        if constexpr (std::is_same_v<AnyTrade, Trade>)
            if (observer_) observer_->trades(slot, untold, trade - 1);
        untold = trade;
        const bool is_late = admission == Admission::late;
        ++(is_late ? refused_.late : refused_.beyond_horizon);
        add(is_late ? counts_.late : counts_.beyond_horizon, 1);
    }
    if constexpr (std::is_same_v<AnyTrade, Trade>)
        if (observer_) [[unlikely]] observer_->trades(slot, untold, end);
    aggregator.settle(sink);
    settle(slot);
}

void Worker::settle_plan(SymbolSlot& slot) {
    Replanned::settle(slot.aggregator, LogSink(*this, slot));
    settle(slot);
}

void Worker::settle(SymbolSlot& slot) {
    if (slot.aggregator.has_news()) {
        slot.aggregator.hand_out(LogSink(*this, slot), false);
        slot.aggregator.mark_given();
    }
    slot.aggregator.close_genesis(LogSink(*this, slot));
    due_.update(slot, OpenBars::next_close(slot.aggregator));
    if (observer_) [[unlikely]] observer_->changed(slot);
}

bool Worker::tick() {
    if (core_->clock->simulated() || now_ < next_look_ || clock_held_) return false;
    const TimeNs clock = core_->clock->now();
    clock_ahead_ = clock - now_;
    const TimeNs now = clock - core_->close_delay_ns.load();
    if (journal_) return tick_journal(now);
    const bool is_due = now >= next_tick_;
    // Every boundary lies on a whole second, so between two of them a tick could change nothing.
    if (is_due) clock_watermark_ = floor_to(now, NS_PER_SECOND);
    if (is_due) next_tick_ = clock_watermark_ + NS_PER_SECOND;
    // Not only then: the clock may be set, or its delay changed.
    next_look_ = now_ + std::min(LOOK_NS, next_tick_ - now);
    return is_due;
}

void Worker::show_rows() {
    if (observer_) [[unlikely]] observer_->show(log_, log_.end(), log_.next());
    if (log_.publish()) core_->rows_closed.notify();
}

void Worker::publish(MonotonicNs now) {
    show_rows();
    if (!metrics_.has_closed()) [[likely]] return;
    // Bars close by trades of any time while the clock is simulated: that is no latency.
    if (core_->clock->simulated()) metrics_.forget();
    else metrics_.shown(now + clock_ahead_);
}

bool Worker::close_due(std::size_t count) {
    bool any = false;
    while (count-- != 0 && due_.next_due() <= clock_watermark_) {
        touch(due_.first());
        any = true;
    }
    return any;
}

void Worker::close_up_to(TimeNs watermark) {
    if (journal_ && !core_->journal->is_replaying()) return;  // its record has done it
    if (watermark <= clock_watermark_) return;
    clock_watermark_ = watermark;
    while (close_due(CLOSE_TURN)) {}
}

void Worker::freeze(const SlotSet* pending, bool all) {
    if (!all) {
        dirty_.freeze();
        for (std::size_t i = 0; i < dirty_.frozen(); ++i) {
            const std::uint32_t slot = dirty_.frozen(i);
            if (i + SLOTS_AHEAD < dirty_.frozen())
                __builtin_prefetch(&core_->slots[dirty_.frozen(i + SLOTS_AHEAD)].dirty, 1);
            if (!owned_.contains(slot)) continue;  // moved away since: its new worker has it
            core_->slots[slot].dirty = false;
            capture_.want(slot);
        }
    }
    const SlotSet& wanted = all ? owned_ : *pending;
    for (std::size_t word = 0; word * 64 < owned_limit_; ++word) {
        std::uint64_t bits = wanted.word(word) & owned_.word(word);
        for (; bits != 0; bits &= bits - 1)
            capture_.want(word * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
    }
    capture_.begin(clock_watermark_);
}

void Worker::seed(SymbolSlot& slot, double price, TimeNs start) {
    touch(slot);
    slot.joined = start;
    slot.aggregator.cover_from(start);
    slot.aggregator.seed(price, start);
    settle(slot);
}

bool Worker::correct(SymbolSlot& slot, const Replacements& all) {
    touch(slot);
    if (!Corrected::fits(slot.aggregator, all)) return false;
    Corrected::apply(slot.aggregator, all);
    settle(slot);
    return true;
}

void Worker::freeze_state() {
    const auto read = [](const std::atomic<std::int64_t>& counter) {
        return counter.load(std::memory_order_relaxed);
    };
    state_capture_.begin(owned_, owned_limit_, clock_watermark_,
                         {read(counts_.applied), read(counts_.late), read(counts_.beyond_horizon),
                          read(counts_.outside), read(counts_.duplicates)});
}

void Worker::adopt(SymbolSlot& slot) {
    slot.clock_seen = clock_watermark_;
    touch(slot);
    settle_plan(slot);
}

void Worker::wait_for_room() {
    add(counts_.log_waits, 1);
    show_rows();
    core_->failure.check();
    core_->keeper.help();  // of an engine that does not run: there is nobody else to do it
    std::this_thread::yield();
}

std::size_t Worker::bytes() const noexcept {
    return sizeof *this - sizeof log_ - sizeof capture_ + due_.bytes() + dirty_.bytes() +
           owned_.bytes() + absent_.bytes() + sorter_.bytes() + sizeof *closed_ +
           block_.capacity() * sizeof block_[0];
}

}  // namespace klineagg::engine
