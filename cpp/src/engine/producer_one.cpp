// One trade at a time, at the price of a few loads and two locked instructions.
#include <bit>

#include "klineagg/engine/producer.hpp"
#include "klineagg/engine/worker.hpp"

namespace klineagg {

using engine::Route;
using engine::RouteTable;

namespace {

// Reading a clock costs as much as all the rest: the latency of every 16th row is measured.
constexpr std::uint32_t MEASURED_ROWS = 16;
constexpr std::uint8_t GOOD = 0xff;
constexpr std::uint8_t BEYOND_TABLES = 0xfe;

/// In 2^-50 ... 2^50: such prices and quantities have admissible products. See amounts_plain.
bool is_plain(double amount) noexcept {
    constexpr std::uint64_t low = 0x3CD0000000000000;
    constexpr std::uint64_t high = 0x4310000000000000;
    return std::bit_cast<std::uint64_t>(amount) - low <= high - low;
}

}  // namespace

std::uint8_t Producer::judge_one(std::int32_t symbol, const Trade& trade) {
    const TimeNs reach_open = core_->reach_open.load(std::memory_order_relaxed);
    const TimeNs reach_close = core_->reach_close.load(std::memory_order_relaxed);
    const bool plain = symbol >= 0 && is_plain(trade.price) && is_plain(trade.quantity) &&
                       trade.time >= reach_open && trade.time < reach_close &&
                       trade.last_id == trade.id && trade.flags <= TRADE_FLAGS_ALL;
    if (!plain) [[unlikely]] {
        TradeColumns columns;
        columns.size = 1;
        columns.symbol = {reinterpret_cast<const char*>(&symbol), sizeof symbol};
        columns.time = {reinterpret_cast<const char*>(&trade.time), sizeof trade.time};
        columns.price = {reinterpret_cast<const char*>(&trade.price), sizeof trade.price};
        columns.quantity = {reinterpret_cast<const char*>(&trade.quantity), sizeof trade.quantity};
        columns.trade_id = {reinterpret_cast<const char*>(&trade.id), sizeof trade.id};
        columns.last_trade_id = {reinterpret_cast<const char*>(&trade.last_id),
                                 sizeof trade.last_id};
        columns.flags = {reinterpret_cast<const char*>(&trade.flags), sizeof trade.flags};
        const RejectReason reason =
            judge_row(columns, 0, core_->options.allow_nonpositive_prices);
        if (reason != RejectReason::none) return static_cast<std::uint8_t>(reason);
    }
    const bool beyond = trade.time < reach_open || trade.time >= reach_close;
    if (trade.time > ahead_) [[unlikely]] {
        ahead_ = ahead_limit();
        if (trade.time > ahead_) return static_cast<std::uint8_t>(EngineReject::time_ahead);
    }
    if (beyond) [[unlikely]] return BEYOND_TABLES;
    return GOOD;
}

PushOne Producer::push_in_section(std::int32_t symbol, const Trade& trade, std::uint8_t& reason) {
    reason = judge_one(symbol, trade);
    if (reason == BEYOND_TABLES) [[unlikely]] return PushOne::beyond_tables;
    if (reason != GOOD) [[unlikely]] return PushOne::rejected;
    std::uint64_t packed = core_->routes.find(symbol);
    if ((packed >> 63U) == 0) [[unlikely]] {
        packed = route_new(symbol);
        reason = static_cast<std::uint8_t>(EngineReject::symbol_unknown);
        if (packed == RouteTable::EMPTY) return PushOne::rejected;
    }
    const Route route = RouteTable::unpack(packed);
    const std::uint32_t tick =
        ones_++ % MEASURED_ROWS == 0
            ? std::max(engine::lane_tick(engine::monotonic_ns()), engine::LANE_TICK_NONE + 1)
            : engine::LANE_TICK_NONE;
    const engine::LaneRecord record =
        engine::to_record(trade, static_cast<std::int32_t>(route.slot), source_, tick);
    const engine::LanePush done = intakes_[route.worker]->lane.push({&record, 1});
    if (done.taken != 0) [[likely]] commit();
    workers_[route.worker]->notify();
    if (done.taken != 0) [[likely]] return PushOne::queued;
    return done.dropped != 0 ? PushOne::dropped : PushOne::full;
}

PushOne Producer::push_one(std::int32_t symbol, const Trade& trade, std::uint8_t* reason) {
    core_->failure.check();
    int outside = OUTSIDE;
    if (!section_.compare_exchange_strong(outside, PUSHING, std::memory_order_seq_cst)) [[unlikely]]
        return PushOne::full;
    struct Leave {
        std::atomic<int>* section;
        ~Leave() { section->store(OUTSIDE, std::memory_order_release); }
    } const leave{&section_};
    // A batch that waits for room is outside of its section and has the lanes all the same. It
    // says so before it enters one: seen here, or it waits for this section to end.
    if (taken_.load(std::memory_order_seq_cst)) [[unlikely]] return PushOne::full;
    // In here, so that whoever retires a producer finds it either inside or refusing.
    if (retired_.load(std::memory_order_seq_cst)) [[unlikely]]
        throw Error(ErrorCode::engine_state, "the engine of producer '" + name_ + "' has stopped");
    std::uint8_t why = 0;
    const PushOne outcome = push_in_section(symbol, trade, why);
    if (outcome == PushOne::rejected) [[unlikely]] {
        engine::add_relaxed<std::int64_t>(rejected_[why], 1);
        if (reason != nullptr) *reason = why;
    }
    return outcome;
}

}  // namespace klineagg
