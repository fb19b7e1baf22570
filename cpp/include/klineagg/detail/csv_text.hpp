// Characters and ranges of them, as the parts of the CSV parser share them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace klineagg::detail {

inline std::string_view between(const char* begin, const char* end) {
    return {begin, static_cast<std::size_t>(end - begin)};
}

inline const char* find_byte(const char* begin, const char* end, char letter) {
    if (begin == end) return nullptr;  // memchr must not see the null of an empty range
    return static_cast<const char*>(
        std::memchr(begin, letter, static_cast<std::size_t>(end - begin)));
}

inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

// No char equals it, so only the end of the range ends a text.
inline constexpr int NO_STOP = 256;

inline bool is_digit(char letter) noexcept { return letter >= '0' && letter <= '9'; }

inline constexpr std::int64_t EXPONENT_LIMIT = 99'999;  // beyond every double; keeps sums small

inline unsigned digit_of(char letter) noexcept { return static_cast<unsigned>(letter - '0'); }

inline bool is_sign(char letter) noexcept { return letter == '-' || letter == '+'; }

inline char lower(char letter) noexcept {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

/// True when all eight bytes are digits; the bytes are those of a text in memory order.
inline bool is_eight_digits(std::uint64_t bytes) noexcept {
    constexpr std::uint64_t high = 0xF0F0F0F0F0F0F0F0U;
    const std::uint64_t above_nine = (bytes + 0x0606060606060606U) & high;
    return ((bytes & high) | (above_nine >> 4U)) == 0x3333333333333333U;
}

/// The number that eight digits stand for, in three multiplications instead of eight that wait for
/// one another. Neighbours are joined to pairs, pairs to fours, fours to eights.
inline std::uint64_t eight_digits(std::uint64_t bytes) noexcept {
    bytes -= 0x3030303030303030U;
    bytes = (bytes * 10 + (bytes >> 8U)) & 0x00FF00FF00FF00FFU;
    bytes = (bytes * 100 + (bytes >> 16U)) & 0x0000FFFF0000FFFFU;
    return (bytes * 10'000 + (bytes >> 32U)) & 0xFFFFFFFFU;
}

/// Appends the digits at `at` to `number` and moves `at` behind them. Wraps beyond 64 bits.
inline const char* read_digits(const char* at, const char* end, std::uint64_t& number) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
        while (end - at >= 8) {
            std::uint64_t bytes = 0;
            std::memcpy(&bytes, at, 8);
            if (!is_eight_digits(bytes)) break;
            number = number * 100'000'000 + eight_digits(bytes);
            at += 8;
        }
    }
    while (at != end && is_digit(*at)) number = number * 10 + digit_of(*at++);
    return at;
}

/// Moves `at` behind "e[+-]digits" and returns the exponent; without digits nothing moves.
inline std::int64_t read_exponent(const char*& at, const char* end) noexcept {
    if (at == end || lower(*at) != 'e') return 0;
    const char* p = at + 1;
    const bool negative = p != end && *p == '-';
    if (p != end && is_sign(*p)) ++p;
    const char* digits = p;
    std::int64_t exponent = 0;
    for (; p != end && is_digit(*p); ++p) {
        if (exponent < EXPONENT_LIMIT) exponent = exponent * 10 + digit_of(*p);
    }
    if (p == digits) return 0;
    at = p;
    return negative ? -exponent : exponent;
}

}  // namespace klineagg::detail
