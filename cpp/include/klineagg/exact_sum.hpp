// Exact sums of float64 amounts: the rounding of a sum happens once, when somebody reads it.
//
// Four sums travel together (volume, quote volume and their taker-buy parts), because four
// lanes cost little more than one. Each is held as an unevaluated pair hi + lo, grown with the
// error-free transformation TwoSum (Knuth, TAOCP vol. 2, 4.2.2; Shewchuk 1997). A pair is exact
// while the last error term is zero, which is checked on every addition; real amounts stay
// there. Where it is not, the four sums move to 320-bit integers, which hold every sum of 2^63
// admissible amounts. Both forms have the same rounding, equal to Python's math.fsum.
#pragma once

#include <cstdint>
#include <cstring>

namespace klineagg {

#if !defined(__GNUC__)
#error "klineagg needs the vector extensions of GCC or Clang"
#endif

inline constexpr int SUM_LANES = 4;
enum SumLane : int { VOLUME = 0, QUOTE_VOLUME = 1, TAKER_BUY_VOLUME = 2, TAKER_BUY_QUOTE = 3 };

enum class SumForm : std::uint8_t { pair = 0, wide = 1 };

namespace detail {

using Double2 = double __attribute__((vector_size(16)));
using Int2 = std::int64_t __attribute__((vector_size(16)));

inline Double2 load2(const double* from) noexcept {
    Double2 value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline void store2(double* to, Double2 value) noexcept { std::memcpy(to, &value, sizeof value); }

// Of vectors of any width, which are never passed by value: a function that does has one ABI where
// it is compiled for wide ones and another where it is not.

/// sum + error == a + b exactly, whatever their magnitudes.
template <class Doubles>
[[gnu::always_inline]] inline void two_sum(const Doubles& a, const Doubles& b, Doubles& sum,
                                           Doubles& error) noexcept {
    const Doubles both = a + b;
    const Doubles b_rounded = both - a;
    error = (a - (both - b_rounded)) + (b - b_rounded);
    sum = both;
}

/// Adds the error to low, with bits in `rest` unless that is exact. A zero difference is +0.0
/// whenever the terms are finite, so bits can be compared. One of the two differences is free of
/// rounding (the one from the larger term, Dekker 1971), so both vanish only for an exact sum.
template <class Doubles, class Ints>
[[gnu::always_inline]] inline void add_checked(Doubles& low, const Doubles& error,
                                               Ints& rest) noexcept {
    const Doubles sum = low + error;
    rest |= ((Ints)(sum - low) ^ (Ints)error) | ((Ints)(sum - error) ^ (Ints)low);
    low = sum;
}

inline Double2 checked_sum(Double2 low, Double2 error, Int2& rest) noexcept {
    add_checked(low, error, rest);
    return low;
}

inline bool any_bit(Int2 bits) noexcept { return (bits[0] | bits[1]) != 0; }

}  // namespace detail

/// The storage: 64 bytes that every trade touches and 96 that only the wide form uses.
/// They are apart so that a bar's hot fields share two cache lines.
struct SumPairs {
    double hi[SUM_LANES] = {0, 0, 0, 0};
    double lo[SUM_LANES] = {0, 0, 0, 0};
};
struct SumRest {
    std::uint64_t words[12] = {};
};

namespace detail {

/// What one trade adds to the four sums.
struct Amounts {
    Double2 all;     // quantity, value
    Double2 bought;  // the same where a taker bought, else zeros
};

inline Amounts amounts_of(double quantity, double value, bool taker_buy) noexcept {
    const std::int64_t mask = -static_cast<std::int64_t>(taker_buy);
    const Double2 all = {quantity, value};
    return {all, (Double2)((Int2)all & Int2{mask, mask})};
}

/// Four pairs in registers.
class PairSums {
public:
    /// The sums of one trade.
    explicit PairSums(const Amounts& amounts) noexcept
        : hi0_(amounts.all), hi1_(amounts.bought), lo0_{0.0, 0.0}, lo1_{0.0, 0.0} {}
    explicit PairSums(const SumPairs& from) noexcept
        : hi0_(load2(from.hi)), hi1_(load2(from.hi + 2)), lo0_(load2(from.lo)),
          lo1_(load2(from.lo + 2)) {}

    [[nodiscard]] Double2 all() const noexcept { return hi0_; }

    void store(SumPairs& to) const noexcept {
        store2(to.hi, hi0_);
        store2(to.hi + 2, hi1_);
        store2(to.lo, lo0_);
        store2(to.lo + 2, lo1_);
    }

    /// False, with the sums unchanged, when a pair cannot hold the result exactly.
    bool add(const Amounts& amounts) noexcept {
        Double2 hi0, hi1, error0, error1;
        two_sum(hi0_, amounts.all, hi0, error0);
        two_sum(hi1_, amounts.bought, hi1, error1);
        Int2 rest = {0, 0};
        const Double2 lo0 = checked_sum(lo0_, error0, rest);
        const Double2 lo1 = checked_sum(lo1_, error1, rest);
        if (any_bit(rest)) [[unlikely]] return false;
        hi0_ = hi0;
        hi1_ = hi1;
        lo0_ = lo0;
        lo1_ = lo1;
        return true;
    }

    /// As add, but whether the sums are still exact is told afterwards, by bits in `rest`.
    void add_unchecked(const Amounts& amounts, Int2& rest) noexcept {
        Double2 error0, error1;
        two_sum(hi0_, amounts.all, hi0_, error0);
        two_sum(hi1_, amounts.bought, hi1_, error1);
        lo0_ = checked_sum(lo0_, error0, rest);
        lo1_ = checked_sum(lo1_, error1, rest);
    }

    /// As add, but asks nothing: see stays_exact.
    void add_blindly(const Amounts& amounts) noexcept {
        Double2 error0, error1;
        two_sum(hi0_, amounts.all, hi0_, error0);
        two_sum(hi1_, amounts.bought, hi1_, error1);
        lo0_ += error0;
        lo1_ += error1;
    }

    /// Whether sums of `count` trades, added blindly to the first of them, are exact, when the
    /// smallest amounts were `least`. They are if the least are above zero and the sums not so
    /// much larger: all amounts, sums and errors are multiples of u = 2^(e - 52) where
    /// 2^e <= least, no error exceeds half an ulp of the last sum, so lo stays below 2^53 u, where
    /// it cannot round. A least below zero says no: the sum is at most `count` times as large.
    [[nodiscard]] bool stays_exact(std::int64_t count, Double2 least) const noexcept {
        const Double2 bound = least * 0x1p50;  // 2^53 would do
        const double n = static_cast<double>(count);
        return n * hi0_[0] <= bound[0] && n * hi0_[1] <= bound[1];
    }

    /// Adds the sums of another bar; false, with nothing changed, when a pair cannot hold the
    /// result exactly.
    bool merge(const SumPairs& other) noexcept {
        Double2 hi0, hi1, error0, error1;
        two_sum(hi0_, load2(other.hi), hi0, error0);
        two_sum(hi1_, load2(other.hi + 2), hi1, error1);
        Int2 rest = {0, 0};
        const Double2 lo0 = checked_sum(checked_sum(lo0_, load2(other.lo), rest), error0, rest);
        const Double2 lo1 = checked_sum(checked_sum(lo1_, load2(other.lo + 2), rest), error1, rest);
        if (any_bit(rest)) [[unlikely]] return false;
        hi0_ = hi0;
        hi1_ = hi1;
        lo0_ = lo0;
        lo1_ = lo1;
        return true;
    }

private:
    Double2 hi0_, hi1_, lo0_, lo1_;
};

}  // namespace detail

/// As detail::PairSums::add, on sums in memory.
inline bool add_pair(SumPairs& sums, double quantity, double value, bool taker_buy) noexcept {
    detail::PairSums next(sums);
    if (!next.add(detail::amounts_of(quantity, value, taker_buy))) [[unlikely]] return false;
    next.store(sums);
    return true;
}

/// As detail::PairSums::merge, on sums in memory.
inline bool merge_pairs(SumPairs& sums, const SumPairs& other) noexcept {
    detail::PairSums next(sums);
    if (!next.merge(other)) [[unlikely]] return false;
    next.store(sums);
    return true;
}

/// hi becomes the correctly rounded sum and lo the exact rest: one bit pattern for each value.
inline void normalize_pairs(SumPairs& sums) noexcept {
    using namespace detail;
    for (int lane = 0; lane < SUM_LANES; lane += 2) {
        Double2 hi, lo;
        two_sum(load2(sums.hi + lane), load2(sums.lo + lane), hi, lo);
        // + 0.0 turns -0.0 into 0.0: equal sums must have equal bytes.
        store2(sums.hi + lane, hi + Double2{0.0, 0.0});
        store2(sums.lo + lane, lo + Double2{0.0, 0.0});
    }
}

/// A 320-bit two's complement multiple of 2^-152. Off the hot path: see exact_sum.cpp.
class WideSum {
public:
    void add(double amount) noexcept;
    void add(const WideSum& other) noexcept;
    [[nodiscard]] double round() const noexcept;

    std::uint64_t limbs[5] = {0, 0, 0, 0, 0};
};

struct WideSums {
    WideSum lanes[SUM_LANES];
};
static_assert(sizeof(WideSums) == sizeof(SumPairs) + sizeof(SumRest));

WideSums load_wide(SumForm form, const SumPairs& pairs, const SumRest& rest) noexcept;
/// Stores in the canonical form: pairs where they are exact, else wide. Returns the form.
SumForm store_canonical(const WideSums& sums, SumPairs& pairs, SumRest& rest) noexcept;
void store_wide(const WideSums& sums, SumPairs& pairs, SumRest& rest) noexcept;

}  // namespace klineagg
