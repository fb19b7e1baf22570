// What encoder and decoder of trades agree on.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "klineagg/file.hpp"
#include "klineagg/trade.hpp"

namespace klineagg::wal::codec {

struct BlockHeader {
    std::uint32_t count = 0;
    std::uint8_t unit = 0;  // of UNITS
    std::array<std::uint8_t, 3> unused{};
    std::int64_t time = 0;  // what the first row's step goes from
};
static_assert(sizeof(BlockHeader) == 16);

inline constexpr std::array<std::int64_t, 4> UNITS{1, 1'000, 1'000'000, 1'000'000'000};

// The word of sizes: symbol 2 bits, time 3, price 3, quantity 3, id 2, taker_buy 1, extra 1.
inline constexpr unsigned TIME_SHIFT = 2;
inline constexpr unsigned PRICE_SHIFT = 5;
inline constexpr unsigned QUANTITY_SHIFT = 8;
inline constexpr unsigned ID_SHIFT = 11;
inline constexpr unsigned TAKER_SHIFT = 13;
inline constexpr unsigned EXTRA_SHIFT = 14;

inline constexpr std::array<std::uint8_t, 8> SIZES{0, 1, 2, 3, 4, 5, 6, 8};
inline constexpr unsigned RAW = 7;  // of price and quantity: the double itself

enum SymbolCode : unsigned { SAME_SYMBOL, SYMBOL_8, SYMBOL_16, NEW_SYMBOL };
enum IdCode : unsigned { ID_EXPECTED, ID_8, ID_32, ID_64 };
inline constexpr std::array<std::uint8_t, 4> ID_SIZES{0, 1, 4, 8};

// The byte of extras.
inline constexpr unsigned HAS_FLAGS = 1;
inline constexpr unsigned HAS_MORE_8 = 2;
inline constexpr unsigned HAS_MORE_32 = 4;
inline constexpr unsigned HAS_SOURCE = 8;
inline constexpr unsigned HAS_SCALES = 16;
inline constexpr unsigned EXTRAS_ALL = 31;

inline constexpr std::size_t ROW_BYTES_MAX = 64;  // with room for stores of 8 bytes

inline constexpr int SCALE_MAX = 14;
// Powers of ten up to 10^22 are doubles, so a quotient by one is rounded once: the double that is
// nearest to the decimal, which is what parsers of decimals give.
inline constexpr std::array<double, SCALE_MAX + 1> POWERS{
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
inline constexpr double MANTISSA_LIMIT = 0x1p46;  // steps of two stay within 48 bits

inline unsigned size_code(std::uint64_t value) noexcept {
    const auto bytes = static_cast<unsigned>(std::bit_width(value) + 7) / 8;
    return bytes < RAW ? bytes : RAW;
}
inline std::uint64_t zigzag(std::int64_t value) noexcept {
    return (static_cast<std::uint64_t>(value) << 1U) ^ static_cast<std::uint64_t>(value >> 63);
}
inline std::int64_t unzigzag(std::uint64_t value) noexcept {
    return static_cast<std::int64_t>((value >> 1U) ^ (0 - (value & 1U)));
}
// Differences and sums that wrap, so that any times and ids come back.
inline std::int64_t minus(std::int64_t a, std::int64_t b) noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
inline std::int64_t plus(std::int64_t a, std::int64_t b) noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
inline std::int64_t times(std::int64_t a, std::int64_t b) noexcept {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}
/// The id after one that ended with `last`; a stream without ids goes on without.
inline std::int64_t expected_id(std::int64_t last) noexcept {
    return last == NO_TRADE_ID ? NO_TRADE_ID : plus(last, 1);
}

/// The integer whose quotient by POWERS[scale] is exactly `value`.
inline bool mantissa(double value, int scale, std::int64_t& to) noexcept {
    const double scaled = value * POWERS[static_cast<std::size_t>(scale)];
    if (!(std::abs(scaled) < MANTISSA_LIMIT)) return false;  // NaN too
    // Rounds to the nearest: behind 2^52 doubles have no fractions.
    constexpr double MAGIC = 0x1.8p52;
    const double rounded = (scaled + MAGIC) - MAGIC;
    const double back = rounded / POWERS[static_cast<std::size_t>(scale)];
    to = static_cast<std::int64_t>(rounded);
    // By bits: -0.0 is not 0.0. The integer has no sign of its own for zero.
    return std::bit_cast<std::uint64_t>(back) == std::bit_cast<std::uint64_t>(value) &&
           (to != 0 || !std::signbit(value));
}
inline double amount(std::int64_t mantissa, int scale) noexcept {
    return static_cast<double>(mantissa) / POWERS[static_cast<std::size_t>(scale)];
}

inline void store(std::byte* to, std::uint64_t value) noexcept {
    std::memcpy(to, &value, sizeof value);
}
inline std::uint64_t load(const std::byte* from, unsigned bytes) noexcept {
    std::uint64_t value;
    std::memcpy(&value, from, sizeof value);
    return bytes >= 8 ? value : value & ((std::uint64_t{1} << (8 * bytes)) - 1);
}

}  // namespace klineagg::wal::codec
