// Trades become bars, bars become coarser bars, bars become rows. Pure functions over records:
// they know nothing of order of arrival beyond "later than what the record holds".
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "klineagg/bar.hpp"
#include "klineagg/interval.hpp"
#include "klineagg/trade.hpp"

namespace klineagg {

/// An empty bar over [open_time, close_time).
inline void start_bar(PartialBar& bar, TimeNs open_time, TimeNs close_time) noexcept {
    bar.close_time = close_time;
    bar.high = NO_HIGH;
    bar.low = NO_LOW;
    bar.close = NO_PRICE;
    bar.last_time = TIME_NONE;
    bar.last_key_id = NO_TRADE_ID;
    bar.last_id = NO_TRADE_ID;
    bar.trade_count = 0;
    bar.sums = SumPairs{};
    bar.open_time = open_time;
    bar.open = NO_PRICE;
    bar.first = TradeKey{};
    bar.run_length = 1;
    bar.revision = 0;
    bar.flags = 0;
    bar.sum_form = SumForm::pair;
    bar.keys_split = 0;
}

/// Adds a trade that counts for everything and follows all others of the bar in (time, id)
/// order; the bar has trades and pair sums. False, with nothing changed, when the sums need
/// the wide form: then use add_trade.
inline bool add_next_trade(PartialBar& bar, const Trade& trade) noexcept {
    if (!add_pair(bar.sums, trade.quantity, trade.price * trade.quantity, trade.taker_buy))
        [[unlikely]] {
        return false;
    }
    bar.high = std::max(bar.high, trade.price);
    bar.low = std::min(bar.low, trade.price);
    bar.close = trade.price;
    bar.last_time = trade.time;
    bar.last_key_id = trade.id;
    bar.last_id = trade.last_id;
    bar.trade_count += trade_count_of(trade);
    return true;
}

/// The first trade of a bar, when it counts for everything.
inline void add_first_trade(PartialBar& bar, const Trade& trade) noexcept {
    const double value = trade.price * trade.quantity;
    bar.sums.hi[VOLUME] = trade.quantity;
    bar.sums.hi[QUOTE_VOLUME] = value;
    bar.sums.hi[TAKER_BUY_VOLUME] = trade.taker_buy ? trade.quantity : 0.0;
    bar.sums.hi[TAKER_BUY_QUOTE] = trade.taker_buy ? value : 0.0;
    bar.open = bar.high = bar.low = bar.close = trade.price;
    bar.first = {trade.time, trade.id};
    bar.last_time = trade.time;
    bar.last_key_id = trade.id;
    bar.last_id = trade.last_id;
    bar.trade_count = trade_count_of(trade);
}

/// Adds any trade to any bar: excluded from what its flags say, in whatever order.
void add_trade(PartialBar& bar, const Trade& trade) noexcept;

namespace detail {
void merge_any(PartialBar& bar, const PartialBar& other) noexcept;
}

/// Merges `other`, whose trades arrived after those of `bar`. Associative. The bar's own times,
/// run and revision stay; flags roll up as docs/SEMANTICS.md says (only INCOMPLETE is inherited:
/// the others follow from the bar's own span).
inline void merge_into(PartialBar& bar, const PartialBar& other) noexcept {
    const bool plain = bar.has_trades() && other.has_trades() && other.first >= bar.last() &&
                       (bar.keys_split | other.keys_split) == 0 &&
                       bar.sum_form == SumForm::pair && other.sum_form == SumForm::pair;
    if (!plain || !merge_pairs(bar.sums, other.sums)) [[unlikely]] {
        detail::merge_any(bar, other);
        return;
    }
    bar.high = std::max(bar.high, other.high);
    bar.low = std::min(bar.low, other.low);
    bar.close = other.close;
    bar.last_time = other.last_time;
    bar.last_key_id = other.last_key_id;
    bar.last_id = other.last_id;
    bar.trade_count += other.trade_count;
    bar.flags = static_cast<std::uint16_t>(bar.flags | (other.flags & BAR_INCOMPLETE));
}

/// A coarser bar that begins with its first finer one.
inline void start_from(PartialBar& bar, const PartialBar& child, Span span) noexcept {
    // Without the last 112 bytes, unless the wide sums are there.
    constexpr std::size_t meant = offsetof(PartialBar, sums_rest);
    std::memcpy(static_cast<void*>(&bar), &child, meant);
    if (child.sum_form != SumForm::pair) [[unlikely]] bar.sums_rest = child.sums_rest;
    bar.open_time = span.open;
    bar.close_time = span.close;
    bar.revision = 0;
    bar.flags = static_cast<std::uint16_t>(child.flags & BAR_INCOMPLETE);
}

/// One bit pattern for equal bars: sums in their canonical form, keys filled in.
void canonicalize(PartialBar& bar) noexcept;

namespace detail {
void round_wide_sums(const PartialBar& bar, double (&rounded)[SUM_LANES]) noexcept;
}

/// The correctly rounded sums.
inline void round_sums(const PartialBar& bar, double (&rounded)[SUM_LANES]) noexcept {
    if (bar.sum_form != SumForm::pair) [[unlikely]] {
        detail::round_wide_sums(bar, rounded);
        return;
    }
    for (int lane = 0; lane < SUM_LANES; ++lane)
        rounded[lane] = bar.sums.hi[lane] + bar.sums.lo[lane];
}

struct Ohlc {
    double open;
    double high;
    double low;
    double close;
};

/// The prices as they are read. A bar without a price for open and close keeps `previous_close`.
inline Ohlc round_prices(const PartialBar& bar, double previous_close) noexcept {
    Ohlc prices{bar.open, bar.high, bar.low, bar.close};
    if (!bar.has_close()) [[unlikely]] prices.open = prices.close = previous_close;
    // Written so that a NaN loses against a price, and low <= open, close <= high holds also
    // when no trade counted for high and low.
    prices.high = std::max(prices.high, std::max(prices.open, prices.close));
    prices.low = std::min(prices.low, std::min(prices.open, prices.close));
    if (!(prices.high >= prices.low)) [[unlikely]] prices.high = prices.low = NO_PRICE;
    return prices;
}

}  // namespace klineagg
