#include "klineagg/detail/roll_bars.hpp"

#include <bit>
#include <cstdint>
#include <cstring>

#include "klineagg/detail/four_lanes.hpp"

namespace klineagg::detail {

namespace {

// A bar in halves of cache lines, each of which is one vector here.
static_assert(offsetof(PartialBar, close_time) == 0 && offsetof(PartialBar, high) == 8 &&
              offsetof(PartialBar, low) == 16 && offsetof(PartialBar, close) == 24);
static_assert(offsetof(PartialBar, last_time) == 32 && offsetof(PartialBar, trade_count) == 56);
static_assert(offsetof(SumPairs, lo) == 32);
static_assert(offsetof(PartialBar, open) == 136 && offsetof(PartialBar, first) == 144);

/// What a bar that says nothing special has from `run_length` on, up to the sums' rest: one span,
/// no revision, no flags, pair sums, keys that are those of the first and last trade.
struct Form {
    std::uint64_t run;
    std::uint64_t kind;
};
constexpr Form PLAIN_FORM = {1, std::uint64_t{PARTIAL_BAR_VERSION} << 16};
static_assert(std::endian::native == std::endian::little);
static_assert(offsetof(PartialBar, run_length) == 160 && offsetof(PartialBar, revision) == 164 &&
              offsetof(PartialBar, flags) == 168 && offsetof(PartialBar, version) == 170 &&
              offsetof(PartialBar, sum_form) == 172 && offsetof(PartialBar, keys_split) == 173 &&
              offsetof(PartialBar, reserved) == 174);

[[gnu::always_inline]] inline Form form_of(const PartialBar& bar) noexcept {
    Form form;
    std::memcpy(&form, &bar.run_length, sizeof form);
    return form;
}

constexpr std::int64_t ALL = -1;
constexpr Int4 LOW_SIGN = {0, 0, std::int64_t{1} << 63, 0};
constexpr Int4 FIRST_LANE = {ALL, 0, 0, 0};
constexpr Int4 LAST_LANE = {0, 0, 0, ALL};

/// low + error, with bits in `rest` unless that is exact: as checked_sum of exact_sum.hpp.
[[gnu::always_inline]] inline void add_checked(Double4& low, const Double4& error,
                                               Int4& rest) noexcept {
    const Double4 sum = low + error;
    rest |= ((Int4)(sum - low) ^ (Int4)error) | ((Int4)(sum - error) ^ (Int4)low);
    low = sum;
}

/// How many finer bars a coarser one has is a coin toss where trades are sparse, and a wrong guess
/// costs more than a merge. So every bar is merged with what goes on, or with nothing.
[[gnu::always_inline]] inline const PartialBar* roll(PartialBar& open, const FixedGrid& grid,
                                                     DurationNs period, const PartialBar* child,
                                                     const PartialBar* end, PartialBar* made,
                                                     std::size_t room,
                                                     std::size_t& ended) noexcept {
    const FixedGrid cells = grid;  // no store can alias a copy: it stays in registers
    PartialBar* const full = made + room;
    PartialBar* bar = made;
    TimeNs last = open.last_time;
    Int4 opened = {open.open_time, open.open_time, open.open_time, open.open_time};
    const Int4 length = {period, period, period, period};
    Int4 front, totals, begun;  // close_time to close; last_time to trade_count; open_time to first
    Double4 hi, lo;
    load4(front, &open.close_time);
    load4(totals, &open.last_time);
    load4(hi, open.sums.hi);
    load4(lo, open.sums.lo);
    load4(begun, &open.open_time);
    const auto store = [&](PartialBar& to) {
        store4(&to.close_time, front);
        store4(&to.last_time, totals);
        store4(to.sums.hi, hi);
        store4(to.sums.lo, lo);
        store4(&to.open_time, begun);
        std::memcpy(&to.run_length, &PLAIN_FORM, sizeof PLAIN_FORM);
    };
    store(*bar);
    Double4 reach = (Double4)(front ^ LOW_SIGN);  // of high and -low
    Int4 inexact = {0, 0, 0, 0};
    const Form form = form_of(open);
    std::uint64_t odd = (form.kind ^ PLAIN_FORM.kind) | (form.run ^ PLAIN_FORM.run);

    TimeNs bar_opens = open.open_time;
    for (; child != end && bar != full; ++child) {
        const TimeNs opens = cells.open_of(child->open_time);
        const bool begins = opens != bar_opens;
        bar_opens = opens;
        bar += begins ? 1 : 0;
        odd |= form_of(*child).kind ^ PLAIN_FORM.kind;
        odd |= child->last_time == TIME_NONE ? 1 : 0;
        // Where a finer base came while a coarser one's bar was open, that bar closes behind bars
        // with later trades: what comes first and last is then for merge_into to say.
        odd |= (!begins & (child->first.time <= last)) ? 1 : 0;
        last = child->last_time;

        const Int4 its_open = {opens, opens, opens, opens};
        const Int4 keep = its_open == opened;  // all bits while the bar goes on
        opened = its_open;

        Int4 its_begin;
        load4(its_begin, &child->open_time);
        its_begin = FIRST_LANE ? its_open : its_begin;
        begun = keep ? begun : its_begin;

        Int4 its_front;
        load4(its_front, &child->close_time);
        const Double4 its_reach = (Double4)(its_front ^ LOW_SIGN);
        reach = keep ? reach : its_reach;
        reach = reach < its_reach ? its_reach : reach;
        front = LAST_LANE ? its_front : (Int4)reach ^ LOW_SIGN;  // the close is the newest
        front = FIRST_LANE ? its_open + length : front;

        Int4 its_totals;
        load4(its_totals, &child->last_time);
        totals = its_totals + (totals & keep & LAST_LANE);

        Double4 its_hi, its_lo;
        load4(its_hi, child->sums.hi);
        load4(its_lo, child->sums.lo);
        const Double4 before = (Double4)((Int4)hi & keep);
        hi = before + its_hi;
        const Double4 rounded = hi - before;
        const Double4 error = (before - (hi - rounded)) + (its_hi - rounded);
        lo = (Double4)((Int4)lo & keep);
        add_checked(lo, its_lo, inexact);
        add_checked(lo, error, inexact);
        store(*bar);
    }
    for (int lane = 0; lane < 4; ++lane) odd |= static_cast<std::uint64_t>(inexact[lane]);
    if (odd != 0) [[unlikely]] return nullptr;
    ended = static_cast<std::size_t>(bar - made);
    store(open);
    return child;
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] const PartialBar* roll_widely(PartialBar& open, const FixedGrid& grid,
                                                      DurationNs period, const PartialBar* child,
                                                      const PartialBar* end, PartialBar* made,
                                                      std::size_t room,
                                                      std::size_t& ended) noexcept {
    return roll(open, grid, period, child, end, made, room, ended);
}
#endif

}  // namespace

const PartialBar* roll_bars_portably(PartialBar& open, const FixedGrid& grid, DurationNs period,
                                     const PartialBar* child, const PartialBar* end,
                                     PartialBar* made, std::size_t room,
                                     std::size_t& ended) noexcept {
    return roll(open, grid, period, child, end, made, room, ended);
}

const PartialBar* roll_bars(PartialBar& open, const FixedGrid& grid, DurationNs period,
                            const PartialBar* child, const PartialBar* end, PartialBar* made,
                            std::size_t room, std::size_t& ended) noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) [[likely]]
        return roll_widely(open, grid, period, child, end, made, room, ended);
#endif
    return roll_bars_portably(open, grid, period, child, end, made, room, ended);
}

}  // namespace klineagg::detail
