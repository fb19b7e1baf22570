#include "klineagg/engine/producer.hpp"

#include <algorithm>
#include <span>
#include <thread>

#include "klineagg/engine/worker.hpp"

namespace klineagg {

using engine::Intake;
using engine::LaneRecord;
using engine::Route;
using engine::RouteTable;

namespace {

constexpr DurationNs WAIT_STEP_NS = 100'000'000;  // between looks at the engine's health

bool is_route(std::uint64_t packed) noexcept { return (packed >> 63U) != 0; }

}  // namespace

std::string_view engine_reason_name(std::size_t reason) noexcept {
    if (reason == static_cast<std::size_t>(EngineReject::time_ahead)) return "time_ahead";
    if (reason == static_cast<std::size_t>(EngineReject::symbol_unknown)) return "symbol_unknown";
    return reason_name(static_cast<RejectReason>(reason));
}

/// One thread at a time: a second one waits until the first has pushed its batch.
class Producer::Turn {
public:
    explicit Turn(Producer& producer) : producer_(&producer) {
        while (producer_->taken_.exchange(true, std::memory_order_seq_cst))
            std::this_thread::yield();
    }
    ~Turn() { producer_->taken_.store(false, std::memory_order_release); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    Producer* producer_;
};

/// The time in which a block of rows is routed and goes into the lanes. It never waits for room
/// in there, so that routes can be changed at a moment when nobody is in the middle of a block.
class Producer::Section {
public:
    explicit Section(Producer& producer) : producer_(&producer) { enter(); }
    ~Section() { leave(); }
    void enter() noexcept {
        int expected = OUTSIDE;
        while (!producer_->section_.compare_exchange_weak(expected, PUSHING,
                                                          std::memory_order_seq_cst)) {
            if (expected != OUTSIDE) std::this_thread::yield();
            expected = OUTSIDE;
        }
    }
    void leave() noexcept { producer_->section_.store(OUTSIDE, std::memory_order_release); }
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;

private:
    Producer* producer_;
};

Producer::Producer(std::shared_ptr<engine::Core> core, std::string name, std::uint16_t source,
                   std::vector<engine::Worker*> workers)
    : core_(std::move(core)),
      name_(std::move(name)),
      source_(source),
      workers_(std::move(workers)),
      stage_rows_(std::clamp<std::size_t>(core_->options.lane_capacity / 2, 1, STAGE_ROWS)) {
    stages_.reserve(engine::WORKERS_MAX);
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        intakes_.push_back(make_intake(i, core_->options.lane_capacity));
        stages_.push_back(std::make_unique<Stage>());
    }
    keep_counts_of(intakes_);
}

std::shared_ptr<Intake> Producer::make_intake(std::size_t place, std::size_t capacity) const {
    return std::make_shared<Intake>(board_, place, capacity, core_->options.policy, source_);
}

void Producer::prepare(Lanes& lanes) {
    keep_counts_of(lanes.intakes);
    for (std::size_t i = 0; i < lanes.intakes.size(); ++i)
        lanes.stages.push_back(std::make_unique<Stage>());
}

void Producer::install(Lanes& lanes) noexcept {
    for (const std::shared_ptr<Intake>& intake : intakes_) {
        if (std::find(lanes.intakes.begin(), lanes.intakes.end(), intake) == lanes.intakes.end())
            intake->seal();
    }
    intakes_.swap(lanes.intakes);
    workers_.swap(lanes.workers);
    while (stages_.size() < intakes_.size()) {
        stages_.push_back(std::move(lanes.stages.back()));  // in room that was reserved
        lanes.stages.pop_back();
    }
    commit();  // the new lanes' places on the board
}

std::size_t Producer::staged_rows() const noexcept {
    std::size_t rows = 0;
    for (const auto& stage : stages_) rows += stage->size;
    return rows;
}

bool Producer::has_staged(std::uint32_t slot) const noexcept {
    for (const auto& stage : stages_) {
        for (std::size_t i = 0; i < stage->size; ++i)
            if (static_cast<std::uint32_t>(stage->records[i].symbol) == slot) return true;
    }
    return false;
}

bool Producer::hold(engine::MonotonicNs deadline) noexcept {
    int outside = OUTSIDE;
    while (!section_.compare_exchange_weak(outside, HELD, std::memory_order_acquire)) {
        if (engine::monotonic_ns() >= deadline) return false;
        if (outside != OUTSIDE) std::this_thread::yield();
        outside = OUTSIDE;
    }
    return true;
}

void Producer::release() noexcept { section_.store(OUTSIDE, std::memory_order_release); }

void Producer::close_gates_held() noexcept {
    engine::CutBoard::Positions positions{};
    (void)board_.read(positions, intakes_.size());
    for (std::size_t i = 0; i < intakes_.size(); ++i) intakes_[i]->close_at(positions[i]);
}

void Producer::close_gates() noexcept {
    // Held outside for a moment when that can be had at once: then one pass is enough, however
    // fast single rows come in. Else the board tells whether it was committed meanwhile.
    int outside = OUTSIDE;
    const bool held = section_.compare_exchange_strong(outside, HELD, std::memory_order_acquire);
    engine::CutBoard::Positions positions{};
    while (true) {
        const std::uint64_t at = board_.read(positions, intakes_.size());
        for (std::size_t i = 0; i < intakes_.size(); ++i) intakes_[i]->close_at(positions[i]);
        if (held || board_.sequence() == at) break;
    }
    if (held) section_.store(OUTSIDE, std::memory_order_release);
}

TimeNs Producer::ahead_limit() const noexcept {
    const TimeNs now = core_->clock->now();
    const DurationNs ahead = core_->options.max_ahead_ns;
    // A simulated clock that was never advanced does not know yet when it is.
    if (now == TIME_MIN || ahead >= TIME_MAX - std::max<TimeNs>(now, 0)) return TIME_MAX;
    return now + ahead;
}

std::array<std::int64_t, ENGINE_REJECT_REASONS> Producer::rejected() const noexcept {
    std::array<std::int64_t, ENGINE_REJECT_REASONS> counts{};
    for (std::size_t i = 0; i < counts.size(); ++i)
        counts[i] = rejected_[i].load(std::memory_order_relaxed);
    return counts;
}

void Producer::reject(std::size_t row, std::size_t reason, std::vector<RejectedRow>* rejected) {
    ++block_rejects_[reason];
    if (rejected != nullptr) rejected->push_back({row, static_cast<std::uint8_t>(reason)});
}

bool Producer::judge(const TradeColumns& trades, std::size_t row, TimeNs ahead,
                     std::vector<RejectedRow>* rejected) {
    const RejectReason reason =
        judge_row(trades, row, core_->options.allow_nonpositive_prices);
    if (reason != RejectReason::none) {
        reject(row, static_cast<std::size_t>(reason), rejected);
        return false;
    }
    if (trades.time.get<std::int64_t>(row) * trades.time_scale_ns > ahead) {
        reject(row, static_cast<std::size_t>(EngineReject::time_ahead), rejected);
        return false;
    }
    return true;
}

std::uint64_t Producer::route_new(std::int32_t symbol) {
    if (!core_->options.admit_unknown) return core_->routes.find_settled(symbol);
    return RouteTable::pack(core_->admit(symbol));
}

void Producer::stage(const Route& route, const Trade& trade) noexcept {
    Stage& to = *stages_[route.worker];
    to.records[to.size++] =
        engine::to_record(trade, static_cast<std::int32_t>(route.slot), source_, tick_);
}

template <class Rows>
void Producer::push_rows(const TradeColumns& trades, const Rows& rows, PushResult& result,
                         std::vector<RejectedRow>* rejected) {
    const Rows local = rows;  // no store can alias a copy: its pointers stay in registers
    const TimeNs ahead = ahead_limit();
    std::size_t to = 0;
    for (std::size_t from = 0; from < trades.size; from = to) {
        to = std::min(trades.size, from + stage_rows_);
        // Where a test of the whole block cannot vouch for it, each row is judged on its own.
        const bool plain = !Rows::SCALED && !core_->options.allow_nonpositive_prices &&
                           amounts_plain(local, from, to);
        if (retired_.load(std::memory_order_relaxed)) [[unlikely]] {
            result.timed_out_rows = trades.size - from;
            return;
        }
        const std::size_t rejected_before = rejected == nullptr ? 0 : rejected->size();
        const std::size_t rejects_before = result.rejected;
        Section section(*this);
        tick_ = std::max(engine::lane_tick(engine::monotonic_ns()), engine::LANE_TICK_NONE + 1);
        for (std::size_t row = from; row < to; ++row) {
            const std::int32_t symbol = local.symbol(row);
            const TimeNs time = local.raw_time(row);
            const bool good = plain && symbol >= 0 && time >= TIME_MIN && time < TIME_MAX &&
                              time <= ahead;
            if (!good && !judge(trades, row, ahead, rejected)) [[unlikely]] {
                ++result.rejected;
                continue;
            }
            std::uint64_t route = core_->routes.find(symbol);
            if (!is_route(route)) [[unlikely]] {
                route = route_new(symbol);
                if (route == RouteTable::EMPTY) {
                    reject(row, static_cast<std::size_t>(EngineReject::symbol_unknown), rejected);
                    ++result.rejected;
                    continue;
                }
            }
            stage(RouteTable::unpack(route), local.trade(row));
        }
        if (!flush_stages(section, result)) {
            // The whole block comes again, the rejected rows in it too.
            clear_block();
            result.rejected = rejects_before;
            if (rejected != nullptr) rejected->resize(rejected_before);
            result.timed_out_rows = trades.size - from;
            return;
        }
        count_rejects();
    }
}

bool Producer::wait_for_room(Section& section) {
    engine::MonotonicNs deadline = 0;
    for (std::size_t worker = 0; worker < intakes_.size(); ++worker) {
        const std::size_t rows = stages_[worker]->size;
        if (rows == 0 || intakes_[worker]->lane.wait_for_room(rows, 0)) continue;
        if (!intakes_[worker]->lane.is_closed()) intakes_[worker]->lane.count_backpressure();
        workers_[worker]->notify();
        // A copy: outside of the section the engine may put another one in its place.
        const std::shared_ptr<Intake> intake = intakes_[worker];
        engine::Lane& lane = intake->lane;
        if (deadline == 0) deadline = engine::deadline_after(timeout_ns_);
        bool has_room = false;
        const std::uint64_t routes = core_->route_version.load(std::memory_order_relaxed);
        section.leave();
        while (!has_room && !retired_.load(std::memory_order_relaxed) && !lane.is_closed() &&
               !core_->failure.is_set() && !(core_->journal && core_->journal->is_halted()) &&
               engine::monotonic_ns() < deadline) {
            has_room = lane.wait_for_room(
                rows, std::min(deadline, engine::deadline_after(WAIT_STEP_NS)));
        }
        section.enter();
        core_->failure.check();
        if (core_->route_version.load(std::memory_order_relaxed) != routes) {
            restage();
            worker = static_cast<std::size_t>(-1);  // other lanes than before: from the beginning
        } else if (!has_room) {
            return false;
        }
    }
    return true;
}

void Producer::restage() noexcept {
    // Workers may have gone, and their stages are still there.
    for (std::size_t worker = 0; worker < stages_.size(); ++worker) {
        Stage& stage = *stages_[worker];
        std::size_t kept = 0;
        for (std::size_t i = 0; i < stage.size; ++i) {
            const LaneRecord& record = stage.records[i];
            const std::int32_t symbol =
                core_->slots[static_cast<std::uint32_t>(record.symbol)].symbol;
            const std::size_t owner = RouteTable::unpack(core_->routes.find(symbol)).worker;
            Stage& to = *stages_[owner];
            // All stages together hold one block, which fits into each of them.
            if (owner == worker) stage.records[kept++] = record;
            else to.records[to.size++] = record;
        }
        stage.size = kept;
    }
}

bool Producer::flush_stages(Section& section, PushResult& result) {
    // Room in all lanes before a row goes into any: a commit in the middle of a block would show
    // rows to one worker whose predecessors another one cannot have yet.
    const bool has_room = wait_for_room(section);
    for (std::size_t worker = 0; worker < stages_.size(); ++worker) {
        Stage& stage = *stages_[worker];
        if (stage.size == 0) continue;
        if (has_room) queue(worker, result);
    }
    if (has_room) commit();
    for (std::size_t worker = 0; worker < stages_.size(); ++worker) {
        // In the section still: outside of it a worker may go.
        if (has_room && stages_[worker]->size != 0) workers_[worker]->notify();
        stages_[worker]->size = 0;
    }
    return has_room;
}

void Producer::commit() noexcept {
    for (std::size_t i = 0; i < intakes_.size(); ++i) positions_[i] = intakes_[i]->lane.pushed();
    board_.commit(positions_, intakes_.size());
}

void Producer::queue(std::size_t worker, PushResult& result) {
    const Stage& stage = *stages_[worker];
    engine::Lane& lane = intakes_[worker]->lane;
    const std::span<const LaneRecord> records(stage.records.data(), stage.size);
    const engine::LanePush done = lane.push(records);
    // All fit, unless the policy dropped when room was asked for and blocks by now.
    const std::span<const LaneRecord> rest = records.subspan(done.taken + done.dropped);
    lane.drop(rest);
    result.queued += done.taken;
    result.dropped += done.dropped + rest.size();
}

void Producer::count_rejects() noexcept {
    for (std::size_t i = 0; i < ENGINE_REJECT_REASONS; ++i) {
        if (block_rejects_[i] == 0) continue;
        engine::add_relaxed<std::int64_t>(rejected_[i], block_rejects_[i]);
        block_rejects_[i] = 0;
    }
}

void Producer::clear_block() noexcept {
    for (const auto& stage : stages_) stage->size = 0;
    block_rejects_.fill(0);
}

PushResult Producer::push(const TradeColumns& trades, std::vector<RejectedRow>* rejected,
                          std::optional<DurationNs> timeout) {
    PushResult result;
    result.offered = trades.size;
    const Turn turn(*this);
    if (retired_.load(std::memory_order_seq_cst))
        throw Error(ErrorCode::engine_state, "the engine of producer '" + name_ + "' has stopped");
    core_->failure.check();
    if (core_->journal) core_->journal->check();
    timeout_ns_ = timeout.value_or(core_->options.block_timeout_ns);
    try {
        with_rows(trades, [&](const auto& rows) { push_rows(trades, rows, result, rejected); });
    } catch (...) {
        clear_block();  // else these rows would go with the next ones
        throw;
    }
    return result;
}

}  // namespace klineagg
