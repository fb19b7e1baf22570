// Time stamps of trade dumps, read exactly to the nanosecond.
#pragma once

#include <cstdint>
#include <string_view>

#include "klineagg/time.hpp"

namespace klineagg {

/// What a number without further marks counts. `detect` goes by its size, which tells the four
/// apart for every time between 1973 and 5138; `milli_or_micro` tells only these two apart, for
/// dumps that went from one to the other.
enum class CsvTimeUnit : std::uint8_t {
    detect, seconds, milliseconds, microseconds, nanoseconds, milli_or_micro,
};

namespace detail {

/// A stamp as a number ("1616663618123", "1616663618.1234", "1.6166636181234e9") or, when a '-'
/// follows four digits, in ISO 8601. Nothing is rounded: digits below a nanosecond must be zero.
/// `stop` is the delimiter that ends a text, or NO_STOP. `overflow` as above: outside int64 ns.
const char* read_time(const char* at, const char* end, int stop, CsvTimeUnit unit, TimeNs& value,
                      bool& overflow) noexcept;

/// "2021-03-25", "2021-03-25T09:13:38.1234Z", "2021-03-25 09:13:38+01:00", "2021-03-25D09:13:38";
/// UTC without an offset. All of `text` must be the stamp. Years outside 1700 to 2250 give the
/// smallest or the largest int64.
bool parse_iso_time(std::string_view text, TimeNs& value) noexcept;

}  // namespace detail
}  // namespace klineagg
