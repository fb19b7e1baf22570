// A trade on its way from a producer to a worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "klineagg/engine/clock.hpp"
#include "klineagg/trade.hpp"

namespace klineagg::engine {

/// 48 bytes: three quarters of a line, where a Trade with its symbol, source and stamp takes 64.
/// Nothing of the trade is lost: the last id is held as its distance from the first one, which
/// fits any trade that passes `fits_lane`.
struct LaneRecord {
    TimeNs time = 0;
    double price = 0.0;
    double quantity = 0.0;
    std::int64_t id = NO_TRADE_ID;
    std::uint32_t more_ids = 0;     // Trade::last_id - Trade::id
    std::int32_t symbol = 0;        // whatever number the engine routes by
    std::uint32_t pushed_tick = 0;  // when it was pushed: see lane_tick
    std::uint16_t source = 0;
    std::uint8_t flags = 0;      // TradeFlag
    std::uint8_t taker_buy = 0;  // 0 or 1
};
static_assert(sizeof(LaneRecord) == 48);
static_assert(alignof(LaneRecord) == 8);
static_assert(std::is_trivially_copyable_v<LaneRecord>);
static_assert(std::is_standard_layout_v<LaneRecord>);
static_assert(offsetof(LaneRecord, more_ids) == 32 && offsetof(LaneRecord, taker_buy) == 47);

/// Whether the trade's ids can be packed: no aggregated trade of more than 2^32 ids can.
[[nodiscard]] inline bool fits_lane(const Trade& trade) noexcept {
    // Unsigned, so that ids at both ends of the range do not overflow.
    return static_cast<std::uint64_t>(trade.last_id) - static_cast<std::uint64_t>(trade.id) <=
           UINT32_MAX;
}

[[nodiscard]] inline LaneRecord to_record(const Trade& trade, std::int32_t symbol,
                                          std::uint16_t source, std::uint32_t tick) noexcept {
    return {trade.time, trade.price, trade.quantity, trade.id,
            static_cast<std::uint32_t>(static_cast<std::uint64_t>(trade.last_id) -
                                       static_cast<std::uint64_t>(trade.id)),
            symbol, tick, source,
            trade.flags, static_cast<std::uint8_t>(trade.taker_buy)};
}

[[nodiscard]] inline Trade to_trade(const LaneRecord& record) noexcept {
    return {record.time, record.price, record.quantity, record.id,
            record.id + static_cast<std::int64_t>(record.more_ids), record.taker_buy != 0,
            record.flags};
}

/// Of a record of one id, without flags.
[[nodiscard]] inline PlainTrade to_plain_trade(const LaneRecord& record) noexcept {
    return {record.time, record.price, record.taker_buy != 0 ? record.quantity : -record.quantity,
            record.id};
}

// The stamp of a push: 64 ns a tick keeps latencies apart that matter, in 4 bytes that come round
// after 4.6 minutes.
inline constexpr int LANE_TICK_SHIFT = 6;
inline constexpr std::uint32_t LANE_TICK_NONE = 0;  // this record's latency is not measured
[[nodiscard]] inline std::uint32_t lane_tick(MonotonicNs now) noexcept {
    return static_cast<std::uint32_t>(static_cast<std::uint64_t>(now) >> LANE_TICK_SHIFT);
}
/// How long ago a record was pushed, as long as that is below 4.5 minutes.
[[nodiscard]] inline DurationNs lane_latency_ns(std::uint32_t pushed, MonotonicNs now) noexcept {
    return static_cast<DurationNs>(lane_tick(now) - pushed) << LANE_TICK_SHIFT;
}

}  // namespace klineagg::engine
