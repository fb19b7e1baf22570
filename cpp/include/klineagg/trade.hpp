// A trade as the core sees it.
#pragma once

#include <cmath>
#include <cstdint>

#include "klineagg/time.hpp"

namespace klineagg {

inline constexpr std::int64_t NO_TRADE_ID = -1;

/// What a trade does not count for (sale conditions, blocks, odd lots). 0: it counts for all.
enum TradeFlag : std::uint8_t {
    TRADE_NO_OPEN_CLOSE = 1,
    TRADE_NO_HIGH_LOW = 2,
    TRADE_NO_VOLUME = 4,
};
inline constexpr std::uint8_t TRADE_FLAGS_ALL = 7;

// Amounts outside 2^-100 ... 2^100 (7.9e-31 ... 1.3e30) are refused: inside, the widest exact
// sum holds 2^63 trades without rounding.
inline constexpr double AMOUNT_MIN = 0x1p-100;
inline constexpr double AMOUNT_MAX = 0x1p+100;

struct Trade {
    TimeNs time = 0;
    double price = 0.0;
    double quantity = 0.0;
    std::int64_t id = NO_TRADE_ID;       // first id of an aggregated trade
    std::int64_t last_id = NO_TRADE_ID;  // its last id; the same as `id` for a single trade
    bool taker_buy = false;
    std::uint8_t flags = 0;  // TradeFlag
};

/// A trade that counts for everything and stands for itself alone, in half a cache line: nearly
/// all are, and blocks of them are sorted before they are added.
struct PlainTrade {
    TimeNs time;
    double price;
    double signed_quantity;  // below zero where the taker sold
    std::int64_t id;
};
static_assert(sizeof(PlainTrade) == 32);

inline const Trade& as_trade(const Trade& trade) noexcept { return trade; }
inline Trade as_trade(const PlainTrade& trade) noexcept {
    return {trade.time, trade.price, std::fabs(trade.signed_quantity), trade.id, trade.id,
            !std::signbit(trade.signed_quantity), 0};
}

inline bool counts_for_all(const Trade& trade) noexcept { return trade.flags == 0; }
inline bool counts_for_all(const PlainTrade&) noexcept { return true; }
inline std::int64_t last_id_of(const Trade& trade) noexcept { return trade.last_id; }
inline std::int64_t last_id_of(const PlainTrade& trade) noexcept { return trade.id; }

/// An aggregated trade stands for every trade between its ids.
inline std::int64_t trade_count_of(const Trade& trade) noexcept {
    return trade.last_id - trade.id + 1;
}
inline std::int64_t trade_count_of(const PlainTrade&) noexcept { return 1; }

}  // namespace klineagg
