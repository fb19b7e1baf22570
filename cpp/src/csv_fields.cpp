#include "klineagg/detail/csv_fields.hpp"

#include <locale.h>
#if defined(__APPLE__)
#include <xlocale.h>
#endif

#include <array>
#include <cerrno>
#include <cfloat>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include "klineagg/detail/csv_text.hpp"

namespace klineagg::detail {
namespace {

// Powers of ten that a double holds exactly: dividing or multiplying an exact integer by one of
// them rounds once, which is the correct rounding (valid only without extended precision).
constexpr std::array<double, 23> EXACT_POWERS{
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int EXACT_POWER_MAX = 22;
constexpr std::uint64_t EXACT_INTEGER_MAX = std::uint64_t{1} << 53U;
constexpr std::ptrdiff_t UINT64_DIGITS = 19;  // any number of 19 digits fits 64 bits

const char* read_special(const char* at, const char* end, bool negative, double& value) noexcept {
    struct Word {
        std::string_view text;
        double value;
    };
    constexpr std::array<Word, 3> words{{{"infinity", std::numeric_limits<double>::infinity()},
                                         {"inf", std::numeric_limits<double>::infinity()},
                                         {"nan", std::numeric_limits<double>::quiet_NaN()}}};
    for (const Word& word : words) {
        if (static_cast<std::size_t>(end - at) < word.text.size()) continue;
        std::size_t same = 0;
        while (same < word.text.size() && lower(at[same]) == word.text[same]) ++same;
        if (same < word.text.size()) continue;
        value = negative ? -word.value : word.value;
        return at + word.text.size();
    }
    return nullptr;
}

/// Correct rounding of any decimal without sign, by the library. False: no double is near.
bool convert_double(const char* at, const char* end, double& value) noexcept {
#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L
    const auto result = std::from_chars(at, end, value);
    return result.ec == std::errc{} && result.ptr == end;
#else
    return convert_double_strtod(at, end, value);
#endif
}

bool fast_double(std::uint64_t mantissa, std::int64_t exponent, double& value) noexcept {
#if FLT_EVAL_METHOD != 0
    return false;  // a second rounding would follow
#endif
    // "42500.1000000000000000" is exact once its trailing zeros are gone.
    while (mantissa > EXACT_INTEGER_MAX && exponent < 0 && mantissa % 10 == 0) {
        mantissa /= 10;
        ++exponent;
    }
    if (mantissa > EXACT_INTEGER_MAX || exponent < -EXACT_POWER_MAX || exponent > EXACT_POWER_MAX) {
        return false;
    }
    const auto exact = static_cast<double>(mantissa);
    value = exponent < 0 ? exact / EXACT_POWERS[static_cast<std::size_t>(-exponent)]
                         : exact * EXACT_POWERS[static_cast<std::size_t>(exponent)];
    return true;
}

}  // namespace

bool convert_double_strtod(const char* at, const char* end, double& value) noexcept {
    // The user's locale may write decimals with a comma.
    static const locale_t c_locale = newlocale(LC_ALL_MASK, "C", nullptr);
    constexpr std::size_t room = 512;
    const auto size = static_cast<std::size_t>(end - at);
    std::array<char, room> local{};
    std::string large;  // strtod needs a terminator, which the field does not have
    char* text = local.data();
    if (size >= room) {
        large.resize(size);
        text = large.data();
    }
    for (std::size_t i = 0; i < size; ++i) text[i] = at[i];
    text[size] = '\0';
    char* stop = nullptr;
    errno = 0;
    value = strtod_l(text, &stop, c_locale);
    return errno != ERANGE && stop == text + size;
}

const char* read_double(const char* at, const char* end, double& value, bool& overflow) noexcept {
    const char* p = at;
    const bool negative = p != end && *p == '-';
    if (p != end && is_sign(*p)) ++p;
    const char* const number = p;
    std::uint64_t mantissa = 0;  // wraps when long; such numbers go another way
    p = read_digits(p, end, mantissa);
    std::ptrdiff_t digits = p - number;
    std::int64_t exponent = 0;
    if (p != end && *p == '.') {
        const char* const fraction = ++p;
        p = read_digits(p, end, mantissa);
        exponent = fraction - p;
        digits += p - fraction;
    }
    if (digits == 0) return read_special(number, end, negative, value);
    exponent += read_exponent(p, end);
    if (digits > UINT64_DIGITS || !fast_double(mantissa, exponent, value)) {
        if (!convert_double(number, p, value)) {
            overflow = true;
            return nullptr;
        }
    }
    if (negative) value = -value;
    return p;
}

const char* read_int64(const char* at, const char* end, std::int64_t& value) noexcept {
    const bool negative = at != end && *at == '-';
    const char* const number = at != end && is_sign(*at) ? at + 1 : at;
    std::uint64_t digits = 0;
    const char* const stop = read_digits(number, end, digits);
    if (stop == number) return nullptr;
    if (stop - number >= UINT64_DIGITS) {
        // Long enough to overflow, or to have wrapped.
        const auto result = std::from_chars(negative ? at : number, stop, value);
        return result.ec == std::errc{} ? result.ptr : nullptr;
    }
    value = negative ? -static_cast<std::int64_t>(digits) : static_cast<std::int64_t>(digits);
    return stop;
}

bool parse_side(std::string_view text, CsvSideRule rule, std::int8_t& value) noexcept {
    struct Word {
        std::string_view text;
        std::int8_t taker;
        std::int8_t maker;
    };
    constexpr std::int8_t unknown_word = 2;
    constexpr std::array<Word, 24> words{{
        {"true", 1, -1},
        {"false", -1, 1},
        {"buy", 1, unknown_word},
        {"sell", -1, unknown_word},
        {"b", 1, unknown_word},
        {"s", -1, unknown_word},
        {"1", 1, -1},
        {"+1", 1, unknown_word},
        {"-1", -1, unknown_word},
        {"0", 0, 1},
        {"bid", 1, unknown_word},
        {"ask", -1, unknown_word},
        {"a", -1, unknown_word},
        {"buyer", 1, unknown_word},
        {"seller", -1, unknown_word},
        {"t", unknown_word, -1},
        {"f", unknown_word, 1},
        {"", 0, 0},
        {"unknown", 0, 0},
        {"none", 0, 0},
        {"n", 0, 0},
        {"n/a", 0, 0},
        {"null", 0, 0},
        {"nan", 0, 0},
    }};
    std::array<char, 8> letters{};
    if (text.size() >= letters.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) letters[i] = lower(text[i]);
    const std::string_view word(letters.data(), text.size());
    for (const Word& known : words) {
        if (known.text != word) continue;
        value = rule == CsvSideRule::taker ? known.taker : known.maker;
        return value != unknown_word;
    }
    return false;
}

}  // namespace klineagg::detail
