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
    bar.version = PARTIAL_BAR_VERSION;
    bar.sum_form = SumForm::pair;
    bar.keys_split = 0;
    bar.reserved = 0;
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

/// Adds trades as add_next_trade does, as long as they may be added so: each counts for
/// everything, follows the one before it in (time, id) order and lies before `bar.close_time`.
/// Returns the first that was not added. The state stays in registers for the whole run: through
/// memory, each trade would wait for the stores of the one before it.
inline const Trade* add_next_trades(PartialBar& bar, const Trade* trade,
                                    const Trade* end) noexcept {
    using namespace detail;
    const TimeNs close_time = bar.close_time;
    TimeNs last_time = bar.last_time;
    std::int64_t last_key_id = bar.last_key_id;
    std::int64_t trade_count = bar.trade_count;
    double high = bar.high;
    double low = bar.low;
    PairSums sums(bar.sums);
    const Trade* const begin = trade;
    for (; trade != end; ++trade) {
        const bool follows =
            trade->time >= last_time && (trade->id >= last_key_id || trade->time != last_time);
        if (trade->time >= close_time || !follows || trade->flags != 0) break;
        if (!sums.add(trade->quantity, trade->price * trade->quantity, trade->taker_buy))
            [[unlikely]] {
            break;
        }
        high = std::max(high, trade->price);
        low = std::min(low, trade->price);
        last_time = trade->time;
        last_key_id = trade->id;
        trade_count += trade_count_of(*trade);
    }
    if (trade == begin) return trade;
    sums.store(bar.sums);
    bar.high = high;
    bar.low = low;
    bar.close = trade[-1].price;
    bar.last_time = last_time;
    bar.last_key_id = last_key_id;
    bar.last_id = trade[-1].last_id;
    bar.trade_count = trade_count;
    return trade;
}

/// The first trade of a bar, when it counts for everything.
inline void add_first_trade(PartialBar& bar, const Trade& trade) noexcept {
    const double value = trade.price * trade.quantity;
    const detail::Double2 amount = {trade.quantity, value};
    const detail::Double2 none = {0.0, 0.0};
    // In the widths in which the next trade will load them.
    detail::store2(bar.sums.hi, amount);
    detail::store2(bar.sums.hi + 2, trade.taker_buy ? amount : none);
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

namespace detail {

template <std::size_t From, std::size_t To>
inline void copy_words(void* to, const void* from) noexcept {
    for (std::size_t offset = From; offset < To; offset += 8) {
        std::uint64_t word;
        std::memcpy(&word, static_cast<const char*>(from) + offset, 8);
        __asm__("" : "+r"(word));  // keeps the compiler from joining the words
        std::memcpy(static_cast<char*>(to) + offset, &word, 8);
    }
}

}  // namespace detail

/// A coarser bar that begins with its first finer one.
inline void start_from(PartialBar& bar, const PartialBar& child, Span span) noexcept {
    // The child was written a moment ago, field by field. A copy in wider pieces would wait for
    // those stores to reach the cache, as no store buffer joins two of them for one load.
    detail::copy_words<0, offsetof(PartialBar, sums)>(&bar, &child);
    detail::PairSums(child.sums).store(bar.sums);
    detail::copy_words<offsetof(PartialBar, open_time), offsetof(PartialBar, sums_rest)>(&bar,
                                                                                         &child);
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
