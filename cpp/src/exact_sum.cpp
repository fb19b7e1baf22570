#include "klineagg/exact_sum.hpp"

#include <bit>
#include <cmath>

namespace klineagg {

namespace {

// Admissible amounts are at least 2^-100, so their last bit is at least 2^-152, and the error
// terms of their sums are multiples of the same unit.
constexpr int UNIT_EXPONENT = 152;
constexpr int LIMBS = 5;
constexpr int MANTISSA_BITS = 53;

void negate(std::uint64_t* limbs) noexcept {
    std::uint64_t carry = 1;
    for (int i = 0; i < LIMBS; ++i) {
        limbs[i] = ~limbs[i] + carry;
        carry = (carry != 0 && limbs[i] == 0) ? 1 : 0;
    }
}

bool bit_at(const std::uint64_t* limbs, int position) noexcept {
    return (limbs[position / 64] >> (position % 64)) & 1U;
}

bool any_bit_below(const std::uint64_t* limbs, int position) noexcept {
    for (int i = 0; i < position / 64; ++i) {
        if (limbs[i] != 0) return true;
    }
    const std::uint64_t mask = (std::uint64_t{1} << (position % 64)) - 1;
    return (limbs[position / 64] & mask) != 0;
}

}  // namespace

void WideSum::add(const WideSum& other) noexcept {
    std::uint64_t carry = 0;
    for (int i = 0; i < LIMBS; ++i) {
        const std::uint64_t partial = limbs[i] + carry;
        const std::uint64_t carry_in = partial < carry ? 1 : 0;
        limbs[i] = partial + other.limbs[i];
        carry = carry_in | (limbs[i] < partial ? 1 : 0);
    }
}

void WideSum::add(double amount) noexcept {
    if (amount == 0.0) return;
    int exponent = 0;
    const double fraction = std::frexp(std::fabs(amount), &exponent);
    const auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, MANTISSA_BITS));
    int shift = exponent - MANTISSA_BITS + UNIT_EXPONENT;
    std::uint64_t value = mantissa;
    if (shift < 0) {
        // An error term may be small, but it is a multiple of the unit: these bits are zero.
        value >>= -shift;
        shift = 0;
    }
    WideSum term;
    const int limb = shift / 64;
    const int bits = shift % 64;
    term.limbs[limb] = value << bits;
    if (bits != 0 && limb + 1 < LIMBS) term.limbs[limb + 1] = value >> (64 - bits);
    if (amount < 0.0) negate(term.limbs);
    add(term);
}

double WideSum::round() const noexcept {
    std::uint64_t magnitude[LIMBS];
    std::memcpy(magnitude, limbs, sizeof magnitude);
    const bool negative = (magnitude[LIMBS - 1] >> 63) != 0;
    if (negative) negate(magnitude);
    int top = LIMBS * 64 - 1;
    while (top >= 0 && !bit_at(magnitude, top)) --top;
    if (top < 0) return 0.0;

    const int lowest = top - MANTISSA_BITS + 1;  // position of the last bit that is kept
    std::uint64_t mantissa = 0;
    for (int position = top; position >= lowest; --position) {
        mantissa = (mantissa << 1) | (position >= 0 && bit_at(magnitude, position) ? 1U : 0U);
    }
    if (lowest > 0 && bit_at(magnitude, lowest - 1)) {
        // Half way rounds to even, as the hardware and math.fsum do.
        if (any_bit_below(magnitude, lowest - 1) || (mantissa & 1U) != 0) ++mantissa;
    }
    const double value = std::ldexp(static_cast<double>(mantissa), lowest - UNIT_EXPONENT);
    return negative ? -value : value;
}

WideSums load_wide(SumForm form, const SumPairs& pairs, const SumRest& rest) noexcept {
    WideSums sums;
    if (form == SumForm::wide) {
        std::memcpy(static_cast<void*>(&sums), &pairs, sizeof pairs);
        std::memcpy(reinterpret_cast<char*>(&sums) + sizeof pairs, &rest, sizeof rest);
        return sums;
    }
    for (int lane = 0; lane < SUM_LANES; ++lane) {
        sums.lanes[lane].add(pairs.hi[lane]);
        sums.lanes[lane].add(pairs.lo[lane]);
    }
    return sums;
}

void store_wide(const WideSums& sums, SumPairs& pairs, SumRest& rest) noexcept {
    std::memcpy(static_cast<void*>(&pairs), &sums, sizeof pairs);
    std::memcpy(&rest, reinterpret_cast<const char*>(&sums) + sizeof pairs, sizeof rest);
}

SumForm store_canonical(const WideSums& sums, SumPairs& pairs, SumRest& rest) noexcept {
    SumPairs candidate{};
    for (int lane = 0; lane < SUM_LANES; ++lane) {
        WideSum remainder = sums.lanes[lane];
        candidate.hi[lane] = remainder.round();
        remainder.add(-candidate.hi[lane]);
        candidate.lo[lane] = remainder.round();
        remainder.add(-candidate.lo[lane]);
        for (const std::uint64_t limb : remainder.limbs) {
            if (limb != 0) {
                store_wide(sums, pairs, rest);
                return SumForm::wide;
            }
        }
    }
    pairs = candidate;
    rest = SumRest{};
    return SumForm::pair;
}

}  // namespace klineagg
