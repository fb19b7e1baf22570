#include "klineagg/detail/csv_time.hpp"

#include <array>
#include <cstddef>
#include <limits>
#include <string_view>

#include "klineagg/detail/csv_text.hpp"

namespace klineagg::detail {
namespace {

constexpr std::int64_t INT64_DIGITS = 18;  // any number of 18 digits fits 63 bits

/// Decimal digits of a nanosecond count in one unit: value * 10^scale_of(unit) is in ns.
int scale_of(CsvTimeUnit unit, std::int64_t integer_digits) noexcept {
    switch (unit) {
        case CsvTimeUnit::seconds: return 9;
        case CsvTimeUnit::milliseconds: return 6;
        case CsvTimeUnit::microseconds: return 3;
        case CsvTimeUnit::nanoseconds: return 0;
        case CsvTimeUnit::milli_or_micro: return integer_digits <= 14 ? 6 : 3;
        case CsvTimeUnit::detect: break;
    }
    if (integer_digits <= 11) return 9;
    if (integer_digits <= 14) return 6;
    return integer_digits <= 17 ? 3 : 0;
}

constexpr std::array<std::int64_t, 10> INTEGER_POWERS{
    1, 10, 100, 1'000, 10'000, 100'000, 1'000'000, 10'000'000, 100'000'000, 1'000'000'000};

enum class Exactness : std::uint8_t { exact, inexact, overflow };

/// The integer of the first `keep` digits of a decimal (its point is skipped, zeros follow its
/// end), when all other digits are zero.
Exactness leading_digits(const char* at, const char* end, std::int64_t keep,
                         std::int64_t& value) noexcept {
    constexpr std::int64_t limit = std::numeric_limits<std::int64_t>::max();
    value = 0;
    for (; at != end; ++at) {
        if (*at == '.') continue;
        const std::int64_t digit = digit_of(*at);
        if (keep <= 0) {
            if (digit != 0) return Exactness::inexact;
            continue;
        }
        --keep;
        if (value > (limit - digit) / 10) return Exactness::overflow;
        value = value * 10 + digit;
    }
    for (; keep > 0 && value != 0; --keep) {
        if (value > limit / 10) return Exactness::overflow;
        value *= 10;
    }
    return Exactness::exact;
}

/// Two digits as a number, or a number above every limit.
int two_digits(const char* at) noexcept {
    if (!is_digit(at[0]) || !is_digit(at[1])) return 1000;
    return static_cast<int>(digit_of(at[0]) * 10 + digit_of(at[1]));
}

std::int64_t days_from_civil(int year, int month, int day) noexcept {
    // Years from March, so that the leap day is the last of its year.
    const int shifted = year - (month <= 2 ? 1 : 0);
    const int era = shifted / 400;
    const int year_of_era = shifted - era * 400;
    const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return static_cast<std::int64_t>(era) * 146'097 + day_of_era - 719'468;
}

int days_in_month(int year, int month) noexcept {
    constexpr std::array<int, 12> days{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[static_cast<std::size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

bool read_date(const char*& at, const char* end, std::int64_t& days, int& year) noexcept {
    if (end - at < 10 || at[4] != '-' || at[7] != '-') return false;
    const int century = two_digits(at);
    const int month = two_digits(at + 5);
    const int day = two_digits(at + 8);
    year = century * 100 + two_digits(at + 2);
    if (year > 9999 || month < 1 || month > 12) return false;
    if (day < 1 || day > days_in_month(year, month)) return false;
    days = days_from_civil(year, month, day);
    at += 10;
    return true;
}

/// ".123456789" or ",5" after the seconds; digits behind the ninth must be zero.
bool read_fraction(const char*& at, const char* end, std::int64_t& nanoseconds) noexcept {
    nanoseconds = 0;
    if (at == end || (*at != '.' && *at != ',')) return true;
    const char* digits = ++at;
    for (; at != end && is_digit(*at); ++at) {
        if (at - digits < 9) {
            nanoseconds += digit_of(*at) * INTEGER_POWERS[static_cast<std::size_t>(8 - (at - digits))];
        } else if (*at != '0') {
            return false;
        }
    }
    return at != digits;
}

/// "HH:MM[:SS[.fraction]]".
bool read_clock(const char*& at, const char* end, std::int64_t& nanoseconds) noexcept {
    if (end - at < 5 || at[2] != ':') return false;
    const int hour = two_digits(at);
    const int minute = two_digits(at + 3);
    int second = 0;
    std::int64_t fraction = 0;
    at += 5;
    if (at != end && *at == ':') {
        if (end - at < 3) return false;
        second = two_digits(at + 1);
        at += 3;
        if (!read_fraction(at, end, fraction)) return false;
    }
    if (hour > 23 || minute > 59 || second > 59) return false;
    nanoseconds = hour * NS_PER_HOUR + minute * NS_PER_MINUTE + second * NS_PER_SECOND + fraction;
    return true;
}

/// "", "Z", "UTC", "+HH", "+HHMM", "+HH:MM", each after an optional space.
bool read_offset(const char*& at, const char* end, std::int64_t& nanoseconds) noexcept {
    nanoseconds = 0;
    if (at != end && *at == ' ') ++at;
    const std::string_view rest(at, static_cast<std::size_t>(end - at));
    if (rest.empty()) return true;
    if (rest == "Z" || rest == "z" || rest == "UTC" || rest == "GMT") {
        at = end;
        return true;
    }
    if (!is_sign(*at) || end - at < 3) return false;
    const bool west = *at == '-';
    const int hours = two_digits(at + 1);
    int minutes = 0;
    at += 3;
    if (at != end) {
        if (*at == ':') ++at;
        if (end - at != 2) return false;
        minutes = two_digits(at);
        at += 2;
    }
    if (hours > 23 || minutes > 59) return false;
    nanoseconds = (hours * NS_PER_HOUR + minutes * NS_PER_MINUTE) * (west ? -1 : 1);
    return true;
}

/// "2021-": a number has its only '-' in front or in its exponent ("1.1e-8").
bool looks_like_date(const char* at, const char* end) noexcept {
    return end - at >= 10 && at[4] == '-' && two_digits(at) < 100 && two_digits(at + 2) < 100;
}

}  // namespace

const char* read_time(const char* at, const char* end, int stop, CsvTimeUnit unit, TimeNs& value,
                      bool& overflow) noexcept {
    if (looks_like_date(at, end)) {
        const char* p = at;
        while (p != end && *p != stop) ++p;
        const char* last = p;
        while (last != at && last[-1] == ' ') --last;
        TimeNs time = 0;
        const std::string_view text(at, static_cast<std::size_t>(last - at));
        if (!parse_iso_time(text, time)) return nullptr;
        // Years beyond the range of int64 nanoseconds come back as the limits.
        overflow = time == std::numeric_limits<TimeNs>::min() ||
                   time == std::numeric_limits<TimeNs>::max();
        value = time;
        return overflow ? nullptr : p;
    }
    const char* p = at;
    const bool negative = p != end && *p == '-';
    if (p != end && is_sign(*p)) ++p;
    while (p != end && *p == '0') ++p;
    const bool zeros = p != at && p[-1] == '0';
    const char* const number = p;
    std::uint64_t mantissa = 0;  // wraps when long; such numbers go another way
    p = read_digits(p, end, mantissa);
    const std::int64_t integer_digits = p - number;
    std::int64_t fraction_digits = 0;
    if (p != end && *p == '.') {
        const char* const fraction = ++p;
        p = read_digits(p, end, mantissa);
        fraction_digits = p - fraction;
    }
    if (integer_digits + fraction_digits == 0 && !zeros) return nullptr;
    const char* const number_end = p;
    const std::int64_t point = integer_digits + read_exponent(p, end);
    const int scale = scale_of(unit, point);
    if (p == number_end && fraction_digits <= scale && integer_digits + scale <= INT64_DIGITS) {
        const auto scaled = static_cast<std::int64_t>(mantissa) *
                            INTEGER_POWERS[static_cast<std::size_t>(scale - fraction_digits)];
        value = negative ? -scaled : scaled;
        return p;
    }
    std::int64_t time = 0;
    switch (leading_digits(number, number_end, point + scale, time)) {
        case Exactness::exact: break;
        case Exactness::inexact: return nullptr;
        case Exactness::overflow: overflow = true; return nullptr;
    }
    value = negative ? -time : time;
    return p;
}

bool parse_iso_time(std::string_view text, TimeNs& value) noexcept {
    const char* at = text.data();
    const char* const end = at + text.size();
    std::int64_t days = 0;
    std::int64_t clock = 0;
    std::int64_t offset = 0;
    int year = 0;
    if (!read_date(at, end, days, year)) return false;
    if (at != end) {
        const char separator = lower(*at);
        if (separator != 't' && separator != ' ' && separator != 'd') return false;
        ++at;
        if (!read_clock(at, end, clock) || !read_offset(at, end, offset) || at != end) return false;
    }
    if (year < 1700 || year > 2250) {
        value = year < 1700 ? std::numeric_limits<TimeNs>::min() : std::numeric_limits<TimeNs>::max();
        return true;
    }
    value = days * NS_PER_DAY + clock - offset;
    return true;
}

}  // namespace klineagg::detail
