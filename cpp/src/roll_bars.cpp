#include "klineagg/detail/roll_bars.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace klineagg::detail {

namespace {

using Double4 = double __attribute__((vector_size(32)));
using Int4 = std::int64_t __attribute__((vector_size(32)));

// A bar in halves of cache lines, each of which is one vector here, or two.
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
constexpr std::int64_t SIGN = std::int64_t{1} << 63;

/// Of the vector or vectors that make half a cache line: all bits of the first value, all bits of
/// the last one, and the sign of the third.
template <class Ints, std::size_t PART>
struct Lanes {
    static constexpr Ints FIRST = {PART == 0 ? ALL : 0, 0};
    static constexpr Ints LAST = {0, PART == 1 ? ALL : 0};
    static constexpr Ints THIRD_SIGN = {PART == 1 ? SIGN : 0, 0};
};
template <>
struct Lanes<Int4, 0> {
    static constexpr Int4 FIRST = {ALL, 0, 0, 0};
    static constexpr Int4 LAST = {0, 0, 0, ALL};
    static constexpr Int4 THIRD_SIGN = {0, 0, SIGN, 0};
};

/// Half a cache line, as one vector or as two: which is up to the machine.
template <class Vector>
struct Half {
    static constexpr std::size_t PARTS = 32 / sizeof(Vector);
    Vector part[PARTS];

    // Inlined always, and never by value: a function that passed a wide vector would have one ABI
    // where it is compiled for them and another where it is not. Part by part, which compilers
    // keep in registers.
    [[gnu::always_inline]] void load(const void* from) noexcept {
        const auto* const bytes = static_cast<const std::byte*>(from);
        std::memcpy(&part[0], bytes, sizeof(Vector));
        if constexpr (PARTS == 2) std::memcpy(&part[1], bytes + sizeof(Vector), sizeof(Vector));
    }
    [[gnu::always_inline]] void store(void* to) const noexcept {
        auto* const bytes = static_cast<std::byte*>(to);
        std::memcpy(bytes, &part[0], sizeof(Vector));
        if constexpr (PARTS == 2) std::memcpy(bytes + sizeof(Vector), &part[1], sizeof(Vector));
    }
};

template <std::size_t I>
using Part = std::integral_constant<std::size_t, I>;

template <std::size_t PARTS, class Body>
[[gnu::always_inline]] inline void each_part(Body&& body) noexcept {
    static_assert(PARTS == 1 || PARTS == 2);
    body(Part<0>{});
    if constexpr (PARTS == 2) body(Part<1>{});
}

/// How many finer bars a coarser one has is a coin toss where trades are sparse, and a wrong guess
/// costs more than a merge. So every bar is merged with what goes on, or with nothing.
template <class Doubles, class Ints>
[[gnu::always_inline]] inline const PartialBar* roll(PartialBar& open, const FixedGrid& grid,
                                                     DurationNs period, const PartialBar* child,
                                                     const PartialBar* end, PartialBar* made,
                                                     std::size_t room,
                                                     std::size_t& ended) noexcept {
    constexpr std::size_t PARTS = Half<Ints>::PARTS;
    const FixedGrid cells = grid;  // no store can alias a copy: it stays in registers
    PartialBar* const full = made + room;
    PartialBar* bar = made;
    // close_time, high, low, close; last_time to trade_count; open_time, open, first.
    Half<Ints> front, totals, begun;
    Half<Doubles> hi, lo;
    front.load(&open.close_time);
    totals.load(&open.last_time);
    begun.load(&open.open_time);
    hi.load(open.sums.hi);
    lo.load(open.sums.lo);
    const auto store = [&](PartialBar& to) {
        front.store(&to.close_time);
        totals.store(&to.last_time);
        hi.store(to.sums.hi);
        lo.store(to.sums.lo);
        begun.store(&to.open_time);
        std::memcpy(&to.run_length, &PLAIN_FORM, sizeof PLAIN_FORM);
    };
    store(*bar);
    Half<Doubles> reach;  // high and -low, and two that mean nothing
    each_part<PARTS>([&]<std::size_t I>(Part<I>) {
        reach.part[I] = (Doubles)(front.part[I] ^ Lanes<Ints, I>::THIRD_SIGN);
    });
    TimeNs bar_opens = open.open_time;
    TimeNs last = open.last_time;
    Ints opened = Ints{} + bar_opens;
    Ints inexact{};
    const Form form = form_of(open);
    std::uint64_t odd = (form.kind ^ PLAIN_FORM.kind) | (form.run ^ PLAIN_FORM.run);

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

        const Ints its_open = Ints{} + opens;
        const Ints keep = its_open == opened;  // all bits while the bar goes on
        opened = its_open;
        Half<Ints> its_front, its_totals, its_begin;
        Half<Doubles> its_hi, its_lo;
        its_front.load(&child->close_time);
        its_totals.load(&child->last_time);
        its_begin.load(&child->open_time);
        its_hi.load(child->sums.hi);
        its_lo.load(child->sums.lo);
        each_part<PARTS>([&]<std::size_t I>(Part<I>) {
            using Of = Lanes<Ints, I>;
            const Ints begin = Of::FIRST ? its_open : its_begin.part[I];
            begun.part[I] = keep ? begun.part[I] : begin;

            const Doubles its_reach = (Doubles)(its_front.part[I] ^ Of::THIRD_SIGN);
            const Doubles before = keep ? reach.part[I] : its_reach;
            reach.part[I] = before < its_reach ? its_reach : before;
            const Ints range = (Ints)reach.part[I] ^ Of::THIRD_SIGN;
            const Ints prices = Of::LAST ? its_front.part[I] : range;  // the close is the newest
            front.part[I] = Of::FIRST ? its_open + period : prices;

            totals.part[I] = its_totals.part[I] + (totals.part[I] & keep & Of::LAST);

            const Doubles sum = (Doubles)((Ints)hi.part[I] & keep);
            Doubles error;
            two_sum(sum, its_hi.part[I], hi.part[I], error);
            lo.part[I] = (Doubles)((Ints)lo.part[I] & keep);
            add_checked(lo.part[I], its_lo.part[I], inexact);
            add_checked(lo.part[I], error, inexact);
        });
        store(*bar);
    }
    std::int64_t bits[sizeof(Ints) / 8];
    std::memcpy(bits, &inexact, sizeof bits);
    for (const std::int64_t some : bits) odd |= static_cast<std::uint64_t>(some);
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
    return roll<Double4, Int4>(open, grid, period, child, end, made, room, ended);
}
#endif

}  // namespace

const PartialBar* roll_bars_portably(PartialBar& open, const FixedGrid& grid, DurationNs period,
                                     const PartialBar* child, const PartialBar* end,
                                     PartialBar* made, std::size_t room,
                                     std::size_t& ended) noexcept {
    return roll<Double2, Int2>(open, grid, period, child, end, made, room, ended);
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
