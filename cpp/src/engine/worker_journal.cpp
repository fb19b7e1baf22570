// Of a worker with a log: trades go into it first, and are applied when it has accepted them.
#include "klineagg/engine/worker_journal.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include "klineagg/engine/worker.hpp"
#include "klineagg/symbol_table.hpp"

namespace klineagg::engine {

namespace {

constexpr int APPLY_TURN = 4;                 // blocks, before lanes are looked at again
constexpr DurationNs LOOK_NS = 1'000'000;     // between looks at the clock
constexpr DurationNs HALTED_NS = 5'000'000;   // between looks at a log that has halted

}  // namespace

void Worker::encode_staged(std::span<LaneRecord> records) {
    WorkerJournal& own = *journal_;
    // The log knows symbols by their ids, the lanes by their slots.
    for (std::size_t i = 0; i < records.size(); ++i) {
        own.slots[i] = records[i].symbol;
        records[i].symbol = core_->slots[static_cast<std::uint32_t>(records[i].symbol)].symbol;
    }
    own.staged = own.encoder.encode(records);
    for (std::size_t i = 0; i < records.size(); ++i) records[i].symbol = own.slots[i];
    own.has_staged = true;
    own.names.clear();
    for (const std::int32_t symbol : own.encoder.new_symbols()) {
        const std::string name = symbol_table().name(symbol);
        if (!name.empty()) wal::put_name(own.names, wal::NameKind::symbol, symbol, name);
    }
    own.encoder.forget_new();
}

bool Worker::append_staged() {
    WorkerJournal& own = *journal_;
    if (!own.names.empty()) {
        wal::Log& log = own.journal->log();
        if (log.append(wal::Topic::names, own.names, 0).status != wal::AppendStatus::ok)
            return false;
        own.names.clear();
    }
    WaitingBlocks::Block& block = own.waiting.next();
    const wal::Appended done = own.journal->append_trades(own.staged, block.rows, block.time);
    if (done.status != wal::AppendStatus::ok) return false;
    block.first = done.first;
    block.last = done.last;
    own.has_staged = false;
    ++block.intake->waiting;
    own.waiting.push();
    return true;
}

std::size_t Worker::drain_journal() {
    WorkerJournal& own = *journal_;
    std::size_t done = apply_accepted();
    if (own.has_staged && !append_staged()) return done;
    if (own.has_came() && !append_came()) return done;
    for (const std::shared_ptr<Intake>& intake : lanes_) {
        // Trades of symbols that have not come yet would get their numbers too early.
        if (part_ != nullptr && !part_->takes.empty()) break;
        // The limit first: a hole before it shows before the row behind the hole can be taken.
        const std::uint64_t limit = intake->limit();
        if (!journal_holes(*intake)) continue;
        if (own.waiting.is_full()) break;
        const std::span<const LaneRecord> rows = intake->lane.take(
            own.waiting.room(), std::min(limit, intake->lane.hole_position()));
        if (rows.empty()) {
            if (intake->waiting == 0) intake->lane.settle();  // rows may have been dropped
            continue;
        }
        const TimeNs now = core_->clock->now();
        own.waiting.next() = {intake.get(), intake->lane.taken(), rows.size(), 0, 0,
                              now == TIME_MIN ? 0 : now, {}};
        encode_staged(own.waiting.room().first(rows.size()));
        done += rows.size();
        if (!append_staged()) break;
    }
    return done;
}

std::size_t Worker::apply_accepted() {
    WorkerJournal& own = *journal_;
    const Sequence bound = own.journal->bound();
    std::size_t done = 0;
    for (int turn = 0; turn < APPLY_TURN; ++turn) {
        // Asked first: when nobody is about to append a tick now, those before the next block are
        // in the list.
        const bool is_ticking = own.journal->is_ticking();
        Journal::Tick tick;
        const bool has_tick = own.next_tick(tick);
        const bool has_block = !own.waiting.is_empty();
        if (has_tick && (!has_block || tick.sequence < own.waiting.front().first)) {
            if (tick.sequence > bound || tick.sequence > own.ticks_to) break;
            clock_watermark_ = std::max(clock_watermark_, tick.watermark);
            own.follower.done.fetch_add(1, std::memory_order_release);
            if (observer_) [[unlikely]] observer_->at(tick.sequence);
            ++done;
            continue;
        }
        if (!has_block || is_ticking || own.waiting.front().last > bound) break;
        done += std::max<std::size_t>(own.waiting.front().rows, 1);
        apply_front();
    }
    return done;
}

void Worker::apply_front() {
    WorkerJournal& own = *journal_;
    const WaitingBlocks::Block& block = own.waiting.front();
    block_time_ = block.time == 0 ? TIME_NONE : block.time;
    if (observer_) [[unlikely]] observer_->at(block.first);
    if (block.rows == 0) {
        apply_holes(block);
    } else {
        const std::span<const LaneRecord> rows = own.waiting.front_rows();
        apply_present(rows);
        now_ = monotonic_ns();
        metrics_.applied(rows, now_);
        block.intake->lane.settle_part(block.position, block.rows, std::exchange(refused_, {}));
        if (AcceptObserver* const observer = core_->options.journal.observer.get())
            observer->accepted(id_, rows, block.first, core_->slots);
        --block.intake->waiting;
    }
    own.waiting.pop();
}

bool Worker::tick_journal(TimeNs now) {
    next_look_ = now_ + LOOK_NS;
    if (now < next_tick_) {
        next_look_ = now_ + std::min(LOOK_NS, next_tick_ - now);
        return false;
    }
    const TimeNs watermark = floor_to(now, NS_PER_SECOND);
    if (!journal_->journal->tick(watermark, core_->clock->now())) return false;
    next_tick_ = watermark + NS_PER_SECOND;
    return true;
}

// --- Commands

bool Worker::arrive(Command& command) {
    WorkerJournal& own = *journal_;
    if (own.has_arrived) return true;
    if (!own.journal->is_halted()) {
        if (own.has_staged || own.has_came()) return false;
        for (const std::shared_ptr<Intake>& intake : lanes_) {
            if (!intake->is_taken_to_gate()) return false;
            if (command.waits_for_holes && intake->lane.is_evicting()) return false;
            if (!journal_holes(*intake)) return false;
        }
    }
    own.has_arrived = true;
    if (command.entry) {
        own.ticks_to = 0;
        own.is_last = command.entry->to_come.fetch_sub(1, std::memory_order_acq_rel) == 1;
    }
    return true;
}

bool Worker::is_journal_ready(Command& command) {
    WorkerJournal& own = *journal_;
    if (!arrive(command)) return false;
    CommandEntry* const entry = command.entry.get();
    if (entry == nullptr) return true;
    if (own.is_last) {
        const wal::Appended done = entry->record.empty()
                                       ? own.journal->mark(entry->clock, entry->time)
                                       : own.journal->append(entry->record, entry->time);
        if (done.status == wal::AppendStatus::would_block) return false;
        if (done.status != wal::AppendStatus::ok) entry->is_refused.store(true);
        own.is_last = false;
        entry->position.store(
            done.status == wal::AppendStatus::ok ? done.first : own.journal->bound() + 1,
            std::memory_order_release);
    }
    const std::uint64_t position = entry->position.load(std::memory_order_acquire);
    if (position == 0) return false;
    own.ticks_to = position;
    return true;
}

/// Whether everything before the command is applied.
bool Worker::is_settled(Command& command, bool halted) {
    const WorkerJournal& own = *journal_;
    // Without a gate it waits for nothing in the lanes, so for nothing that came out of them.
    const bool is_gated = std::any_of(lanes_.begin(), lanes_.end(),
                                      [](const auto& intake) { return intake->is_gated(); });
    if (!command.entry && !is_gated) return true;
    const Sequence bound = own.journal->bound();
    const std::uint64_t position = command.entry ? command.entry->position.load() : 0;
    Journal::Tick tick;
    if (position != 0 && own.next_tick(tick) && tick.sequence <= std::min(bound, own.ticks_to))
        return false;
    if (halted) return own.waiting.is_empty() || own.waiting.front().last > bound;
    return own.waiting.is_empty() && bound >= position;
}

bool Worker::run_journaled(Command& command) {
    WorkerJournal& own = *journal_;
    const bool halted = own.journal->is_halted();
    if (!is_journal_ready(command) || !is_settled(command, halted)) {
        // On a machine with few cores the log's writer needs this one.
        std::this_thread::yield();
        return true;
    }
    const bool refused = command.entry && command.entry->is_refused.load();
    if (halted) {
        command.has_halted.store(true);
        if (!command.runs_halted && !refused) {
            // It would be half done: some of what it concerns waits, and may come to be accepted.
            core_->failure.set(name_, "the log halted in the middle of a change");
            return true;
        }
    }
    if (observer_ && command.entry && !refused) [[unlikely]]
        observer_->at(command.entry->position.load());
    own.has_arrived = false;
    own.ticks_to = Journal::EVERYTHING;
    return finish(command, command.runs_halted || !refused);
}

// --- Waiting

bool Worker::has_journal_work() const noexcept {
    const WorkerJournal& own = *journal_;
    const Sequence bound = own.journal->bound();
    Journal::Tick tick;
    if (own.next_tick(tick) && tick.sequence <= bound) return true;
    if (!own.waiting.is_empty() && own.waiting.front().last <= bound) return true;
    if (own.has_staged || own.waiting.is_full() || own.journal->is_halted()) return false;
    if (own.has_came()) return true;
    for (const std::shared_ptr<Intake>& intake : lanes_) {
        // It stands before holes that come when others are done with, of which the log will tell.
        const bool stands = intake->lane.hole_position() <= intake->lane.taken();
        if (stands && intake->are_holes_waiting) continue;
        if (intake->lane.taken() < intake->limit() || intake->has_holes()) return true;
    }
    return false;
}

MonotonicNs Worker::journal_deadline(MonotonicNs due) const noexcept {
    const WorkerJournal& own = *journal_;
    if (own.journal->is_halted()) return std::max(due, deadline_after(HALTED_NS));
    // Nobody tells when there is room for it.
    return own.has_staged ? std::min(due, deadline_after(LOOK_NS)) : due;
}

// --- Without a thread

TimeNs Worker::ticked_to() const noexcept {
    return journal_ ? journal_->follower.begin : TIME_NONE;
}

void Worker::retire() noexcept {
    // Nobody waits for it any more.
    if (journal_) journal_->journal->unfollow(journal_->follower);
    retired_.store(true);
}

void Worker::catch_up_journal() {
    while (apply_accepted() != 0) {}
    while (close_due(CLOSE_TURN)) {}
}

void Worker::replay(std::span<const LaneRecord> records, TimeNs time) {
    block_time_ = time == 0 ? TIME_NONE : time;
    while (!records.empty()) {
        const std::size_t rows = std::min(records.size(), BLOCK_ROWS);
        apply_present(records.first(rows));
        records = records.subspan(rows);
    }
    refused_ = {};
    metrics_.forget();
}

void Worker::replay_clock(TimeNs watermark) {
    clock_watermark_ = std::max(clock_watermark_, watermark);
    while (close_due(CLOSE_TURN)) {}
}

void Worker::replay_hole(SymbolSlot& slot, const LaneHole& hole, TimeNs time) {
    block_time_ = time == 0 ? TIME_NONE : time;
    mark_hole(slot, hole);
}

}  // namespace klineagg::engine
