// Finer bars become coarser bars of a fixed period, without a guess.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "klineagg/builder.hpp"
#include "klineagg/fixed_grid.hpp"
#include "klineagg/time_bar.hpp"

namespace klineagg::detail {

/// The fields from `flags` on, up to the sums' rest, of a bar that says nothing special:
/// no flags, pair sums, keys that are those of the first and last trade.
inline constexpr std::uint64_t PLAIN_FORM = std::uint64_t{PARTIAL_BAR_VERSION} << 16;
static_assert(std::endian::native == std::endian::little);
static_assert(offsetof(PartialBar, version) == offsetof(PartialBar, flags) + 2 &&
              offsetof(PartialBar, sum_form) == offsetof(PartialBar, flags) + 4 &&
              offsetof(PartialBar, keys_split) == offsetof(PartialBar, flags) + 5 &&
              offsetof(PartialBar, reserved) == offsetof(PartialBar, flags) + 6);

inline std::uint64_t form_of(const PartialBar& bar) noexcept {
    std::uint64_t form;
    std::memcpy(&form, reinterpret_cast<const std::byte*>(&bar) + offsetof(PartialBar, flags), 8);
    return form;
}

/// Merges finer bars, each later than the one before it, into `open`, a bar of the grid, and into
/// the bars that follow it. Those that ended stand in `made`, the last is `open`. Stops before
/// `room` bars have ended; `made` has room for one more. Returns the first finer bar that it did
/// not take and how many ended in `ended`; nullptr, with `open` as it was, when one of them asks
/// for merge_into.
///
/// How many finer bars a coarser one has is a coin toss where trades are sparse, and a wrong guess
/// costs more than a merge. So every bar is merged with what goes on, or with nothing.
inline const PartialBar* roll_bars(PartialBar& open, const FixedGrid& grid, DurationNs period,
                                   const PartialBar* child, const PartialBar* end,
                                   PartialBar* made, std::size_t room,
                                   std::size_t& ended) noexcept {
    const FixedGrid cells = grid;  // no store can alias a copy: it stays in registers
    const Double2 nothing = {NO_HIGH, NO_HIGH};
    const Int2 second_sign = {0, std::int64_t{1} << 63};
    PartialBar* const full = made + room;
    PartialBar* bar = made;
    TimeNs bar_opens = open.open_time;
    TimeNs last = open.last_time;
    std::int64_t trades = open.trade_count;
    Double2 reach = (Double2)((Int2)load2(&open.high) ^ second_sign);  // high and -low
    Double2 hi0 = load2(open.sums.hi), hi1 = load2(open.sums.hi + 2);
    Double2 lo0 = load2(open.sums.lo), lo1 = load2(open.sums.lo + 2);
    Int2 inexact = {0, 0};
    std::uint64_t odd = form_of(open) ^ PLAIN_FORM;

    copy_bar(*bar, open);
    for (; child != end && bar != full; ++child) {
        const TimeNs opens = cells.open_of(child->open_time);
        const std::int64_t begins = opens != bar_opens ? 1 : 0;
        const std::int64_t keeps = begins - 1;  // all bits while the bar goes on
        bar_opens = opens;
        bar += begins;
        odd |= form_of(*child) ^ PLAIN_FORM;
        odd |= child->last_time == TIME_NONE ? 1 : 0;
        // Where a finer base came while a coarser one's bar was open, that bar closes behind bars
        // with later trades: what comes first and last is then for merge_into to say.
        odd |= static_cast<std::uint64_t>(keeps) & (child->first.time <= last ? 1U : 0U);
        last = child->last_time;

        // What its first finer bar says of a bar; that of any other falls into the bar behind,
        // where the first one there will replace it.
        PartialBar& begun = bar[1 - begins];
        begun.close_time = opens + period;
        store_rest(begun, opens, child->open, child->first);

        const Int2 keep = {keeps, keeps};
        const Double2 its_reach = (Double2)((Int2)load2(&child->high) ^ second_sign);
        reach = (Double2)(((Int2)reach & keep) | ((Int2)nothing & ~keep));
        reach = reach < its_reach ? its_reach : reach;
        Double2 error0, error1;
        two_sum((Double2)((Int2)hi0 & keep), load2(child->sums.hi), hi0, error0);
        two_sum((Double2)((Int2)hi1 & keep), load2(child->sums.hi + 2), hi1, error1);
        lo0 = (Double2)((Int2)lo0 & keep);
        lo1 = (Double2)((Int2)lo1 & keep);
        lo0 = checked_sum(checked_sum(lo0, load2(child->sums.lo), inexact), error0, inexact);
        lo1 = checked_sum(checked_sum(lo1, load2(child->sums.lo + 2), inexact), error1, inexact);
        trades = (trades & keeps) + child->trade_count;

        store2(&bar->high, (Double2)((Int2)reach ^ second_sign));
        bar->close = child->close;
        bar->last_time = child->last_time;
        bar->last_key_id = child->last_key_id;
        bar->last_id = child->last_id;
        bar->trade_count = trades;
        store2(bar->sums.hi, hi0);
        store2(bar->sums.hi + 2, hi1);
        store2(bar->sums.lo, lo0);
        store2(bar->sums.lo + 2, lo1);
    }
    if (odd != 0 || any_bit(inexact)) [[unlikely]] return nullptr;
    ended = static_cast<std::size_t>(bar - made);
    copy_bar(open, *bar);
    return child;
}

/// Times are merged one by one.
inline const TimeBar* roll_bars(TimeBar&, const FixedGrid&, DurationNs, const TimeBar*,
                                const TimeBar*, TimeBar*, std::size_t, std::size_t&) noexcept {
    return nullptr;
}

}  // namespace klineagg::detail
