#include "klineagg/arrow_decimal.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace klineagg::arrow {
namespace {

static_assert(std::endian::native == std::endian::little, "Arrow buffers are read as they are");

constexpr int LIMBS = 8;  // 32 bits each
constexpr std::uint64_t EXACT_INTEGERS = std::uint64_t{1} << 53;
constexpr std::array<double, 23> POWERS_OF_TEN = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// The magnitude of a decimal, least significant limb first.
struct Magnitude {
    std::array<std::uint32_t, LIMBS> limbs{};
    int used = 0;  // limbs below the highest that is not zero
    bool negative = false;

    void trim() {
        while (used > 0 && limbs[static_cast<std::size_t>(used - 1)] == 0) --used;
    }

    // Divides in place and returns the remainder.
    std::uint32_t divide(std::uint32_t divisor) {
        std::uint64_t remainder = 0;
        for (int i = used - 1; i >= 0; --i) {
            std::uint32_t& limb = limbs[static_cast<std::size_t>(i)];
            const std::uint64_t part = (remainder << 32) | limb;
            limb = static_cast<std::uint32_t>(part / divisor);
            remainder = part % divisor;
        }
        trim();
        return static_cast<std::uint32_t>(remainder);
    }
};

Magnitude load(const void* value, int bytes) {
    Magnitude out;
    out.used = bytes / 4;
    std::memcpy(out.limbs.data(), value, static_cast<std::size_t>(bytes));
    out.negative = (out.limbs[static_cast<std::size_t>(out.used - 1)] >> 31) != 0;
    if (out.negative) {
        std::uint64_t carry = 1;
        for (int i = 0; i < out.used; ++i) {
            std::uint32_t& limb = out.limbs[static_cast<std::size_t>(i)];
            carry += static_cast<std::uint32_t>(~limb);
            limb = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
    }
    out.trim();
    return out;
}

// A decimal of a wide type often is a short number with zeros behind it: 42.5 at scale 18.
// Without them it is small enough for the exact division.
void strip_zeros(Magnitude& magnitude, std::int32_t& scale) {
    for (const std::uint32_t step : {1'000'000'000U, 10'000U, 10U}) {
        const std::int32_t digits = step == 10U ? 1 : step == 10'000U ? 4 : 9;
        while (scale >= digits && magnitude.used > 0) {
            Magnitude shorter = magnitude;
            if (shorter.divide(step) != 0) break;
            magnitude = shorter;
            scale -= digits;
        }
    }
}

// The digits as text and strtod, which rounds correctly. There is no decimal point in the text,
// so the C locale's does not matter.
double parse_digits(Magnitude magnitude, std::int32_t scale) {
    std::array<char, 96> text{};  // 2^256 has 78 digits
    char* const end = text.data() + 80;
    char* begin = end;
    while (magnitude.used > 0) {
        std::uint32_t group = magnitude.divide(1'000'000'000U);
        for (int i = 0; i < 9 && (group != 0 || magnitude.used > 0); ++i) {
            *--begin = static_cast<char>('0' + group % 10);
            group /= 10;
        }
    }
    *end = 'e';
    const auto [last, error] = std::to_chars(end + 1, text.data() + text.size() - 1,
                                             -static_cast<std::int64_t>(scale));
    *last = '\0';
    return std::strtod(begin, nullptr);
}

}  // namespace

double decimal_to_double(const void* value, int bytes, std::int32_t scale) {
    Magnitude magnitude = load(value, bytes);
    if (magnitude.used == 0) return 0.0;
    if (magnitude.used > 1) strip_zeros(magnitude, scale);
    double result = 0.0;
    const std::uint64_t low =
        magnitude.limbs[0] | (static_cast<std::uint64_t>(magnitude.limbs[1]) << 32);
    if (magnitude.used <= 2 && low <= EXACT_INTEGERS && scale >= 0 &&
        scale < static_cast<std::int32_t>(POWERS_OF_TEN.size())) {
        // Both are exact as float64, so the one division rounds the true quotient.
        result = static_cast<double>(low) / POWERS_OF_TEN[static_cast<std::size_t>(scale)];
    } else {
        result = parse_digits(magnitude, scale);
    }
    return magnitude.negative ? -result : result;
}

}  // namespace klineagg::arrow
