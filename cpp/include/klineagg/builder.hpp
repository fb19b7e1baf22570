// Trades become bars, bars become coarser bars, bars become rows. Pure functions over records:
// they know nothing of order of arrival beyond "later than what the record holds".
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

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

namespace detail {

inline Amounts amounts_of(const Trade& trade) noexcept {
    return amounts_of(trade.quantity, trade.price * trade.quantity, trade.taker_buy);
}
inline Amounts amounts_of(const PlainTrade& trade) noexcept {
    const auto bits = std::bit_cast<std::int64_t>(trade.signed_quantity);
    const double quantity = std::fabs(trade.signed_quantity);
    const Double2 all = {quantity, trade.price * quantity};
    const std::int64_t mask = ~(bits >> 63);
    return {all, (Double2)((Int2)all & Int2{mask, mask})};
}

/// What a trade, or a finer bar, changes in a bar, held in registers for a run of them: through
/// memory, each would wait for the stores of the one before it.
struct BarRun {
    TimeNs close_time;
    TimeNs last_time;
    std::int64_t last_key_id;
    std::int64_t last_id;
    std::int64_t trade_count;
    double high;
    double low;
    double close;
    PairSums sums;

    explicit BarRun(const PartialBar& bar) noexcept
        : close_time(bar.close_time), last_time(bar.last_time), last_key_id(bar.last_key_id),
          last_id(bar.last_id), trade_count(bar.trade_count), high(bar.high), low(bar.low),
          close(bar.close), sums(bar.sums) {}
    template <class TradeType>
    BarRun(TimeNs end, const TradeType& first) noexcept
        : close_time(end), last_time(first.time), last_key_id(first.id),
          last_id(last_id_of(first)), trade_count(trade_count_of(first)), high(first.price),
          low(first.price), close(first.price), sums(amounts_of(first)) {}

    /// Returns the first trade that it does not take; see add_next_trades. Bits in `inexact`:
    /// the sums are not those of the trades, and the run is to be passed again by add_checked.
    template <class TradeType>
    const TradeType* add(const TradeType* trade, const TradeType* end, Int2& inexact) noexcept {
        return add_while(trade, end, [&](const Amounts& amounts) {
            sums.add_unchecked(amounts, inexact);
            return true;
        });
    }

    /// As add, for a run that began with its first trade; false asks for add_checked.
    template <class TradeType>
    bool add_first_run(const TradeType*& trade, const TradeType* end) noexcept {
        Double2 least = sums.all();
        const TradeType* const begin = trade;
        trade = add_while(trade, end, [&](const Amounts& amounts) {
            least = amounts.all < least ? amounts.all : least;
            sums.add_blindly(amounts);
            return true;
        });
        return sums.stays_exact(trade - begin + 1, least);
    }

    template <class TradeType>
    const TradeType* add_checked(const TradeType* trade, const TradeType* end) noexcept {
        return add_while(trade, end, [&](const Amounts& amounts) { return sums.add(amounts); });
    }

    /// Returns the first finer bar that it does not take; see merge_next_bars.
    const PartialBar* merge(const PartialBar* bar, const PartialBar* end) noexcept {
        const PartialBar* const begin = bar;
        for (; bar != end && bar->open_time < close_time; ++bar) {
            const bool plain = bar->has_trades() && bar->first >= TradeKey{last_time, last_key_id} &&
                               bar->keys_split == 0 && bar->sum_form == SumForm::pair &&
                               bar->flags == 0;
            if (!plain || !sums.merge(bar->sums)) [[unlikely]] break;
            high = std::max(high, bar->high);
            low = std::min(low, bar->low);
            last_time = bar->last_time;
            last_key_id = bar->last_key_id;
            trade_count += bar->trade_count;
        }
        if (bar != begin) {
            close = bar[-1].close;
            last_id = bar[-1].last_id;
        }
        return bar;
    }

    template <class TradeType, class AddAmounts>
    const TradeType* add_while(const TradeType* trade, const TradeType* end,
                               AddAmounts add_amounts) noexcept {
        const TradeType* const begin = trade;
        for (; trade != end; ++trade) {
            const bool follows =
                trade->time >= last_time && (trade->id >= last_key_id || trade->time != last_time);
            if (trade->time >= close_time || !follows || !counts_for_all(*trade)) break;
            if (!add_amounts(amounts_of(*trade))) [[unlikely]] break;
            high = std::max(high, trade->price);
            low = std::min(low, trade->price);
            last_time = trade->time;
            last_key_id = trade->id;
            if constexpr (!std::is_same_v<TradeType, PlainTrade>)
                trade_count += trade_count_of(*trade);
        }
        if constexpr (std::is_same_v<TradeType, PlainTrade>) trade_count += trade - begin;
        if (trade != begin) {
            close = trade[-1].price;
            last_id = last_id_of(trade[-1]);
        }
        return trade;
    }

    void store(PartialBar& bar) const noexcept {
        bar.close_time = close_time;
        bar.high = high;
        bar.low = low;
        bar.close = close;
        bar.last_time = last_time;
        bar.last_key_id = last_key_id;
        bar.last_id = last_id;
        bar.trade_count = trade_count;
        sums.store(bar.sums);
    }
};

/// What a run does not change.
inline void store_rest(PartialBar& bar, TimeNs open_time, double open, TradeKey first) noexcept {
    bar.open_time = open_time;
    bar.open = open;
    bar.first = first;
    bar.run_length = 1;
    bar.revision = 0;
    bar.flags = 0;
    bar.version = PARTIAL_BAR_VERSION;
    bar.sum_form = SumForm::pair;
    bar.keys_split = 0;
    bar.reserved = 0;
}

}  // namespace detail

/// Adds trades as add_next_trade does, as long as they may be added so: each counts for
/// everything, follows the one before it in (time, id) order and lies before `bar.close_time`.
/// Returns the first that was not added.
template <class TradeType>
const TradeType* add_next_trades(PartialBar& bar, const TradeType* trade,
                                 const TradeType* end) noexcept {
    // Sums of real amounts stay exact, so the run is asked once, and passed again if not.
    detail::BarRun run(bar);
    detail::Int2 inexact = {0, 0};
    const TradeType* next = run.add(trade, end, inexact);
    if (detail::any_bit(inexact)) [[unlikely]] {
        run = detail::BarRun(bar);
        next = run.add_checked(trade, end);
    }
    if (next != trade) run.store(bar);
    return next;
}

/// A bar that begins with a trade that counts for everything, and what add_next_trades adds.
template <class TradeType>
const TradeType* begin_with_trades(PartialBar& bar, Span span, const TradeType* trade,
                                   const TradeType* end) noexcept {
    detail::BarRun run(span.close, *trade);
    const TradeType* next = trade + 1;
    if (!run.add_first_run(next, end)) [[unlikely]] {
        run = detail::BarRun(span.close, *trade);
        next = run.add_checked(trade + 1, end);
    }
    run.store(bar);
    detail::store_rest(bar, span.open, trade->price, {trade->time, trade->id});
    return next;
}

// Made once, in builder.cpp: of a copy in each object the linker takes any, and the one that the
// engine's object has made the batch slower by a twentieth.
extern template const PlainTrade* begin_with_trades(PartialBar& bar, Span span,
                                                    const PlainTrade* trade,
                                                    const PlainTrade* end) noexcept;

/// The first trade of a bar, when it counts for everything.
inline void add_first_trade(PartialBar& bar, const Trade& trade) noexcept {
    (void)begin_with_trades(bar, {bar.open_time, bar.close_time}, &trade, &trade + 1);
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

/// Merges finer bars, each later than the one before it, as long as they lie in `bar` and are
/// plain: only pair sums, only trades that counted for open and close. Returns the first that
/// was not merged.
inline const PartialBar* merge_next_bars(PartialBar& bar, const PartialBar* child,
                                         const PartialBar* end) noexcept {
    if (bar.keys_split != 0 || bar.sum_form != SumForm::pair || !bar.has_trades()) return child;
    detail::BarRun run(bar);
    const PartialBar* const next = run.merge(child, end);
    if (next != child) run.store(bar);
    return next;
}

/// A coarser bar that begins with its first finer one, and what merge_next_bars merges.
inline const PartialBar* begin_with_bars(PartialBar& bar, Span span, const PartialBar* child,
                                         const PartialBar* end) noexcept {
    if (child->keys_split != 0 || child->sum_form != SumForm::pair || child->flags != 0 ||
        !child->has_trades()) [[unlikely]] {
        bar = *child;
        bar.open_time = span.open;
        bar.close_time = span.close;
        bar.revision = 0;
        bar.flags = static_cast<std::uint16_t>(child->flags & BAR_INCOMPLETE);
        return child + 1;
    }
    detail::BarRun run(*child);
    run.close_time = span.close;
    const PartialBar* const next = run.merge(child + 1, end);
    run.store(bar);
    detail::store_rest(bar, span.open, child->open, child->first);
    return next;
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
