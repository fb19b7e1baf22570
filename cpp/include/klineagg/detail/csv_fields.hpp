// One field of a trade dump: numbers and sides, read exactly.
//
// Every reader takes [at, end) and returns where its text ends, or null when there is none; the
// caller checks that a delimiter follows.
#pragma once

#include <cstdint>
#include <string_view>

namespace klineagg {

/// What a side column tells: whether the taker bought, or whether the buyer was the maker.
enum class CsvSideRule : std::uint8_t { taker, buyer_is_maker };

namespace detail {

/// The double nearest to a decimal such as "0.25", "-3", "1.5e-7", "nan" or "-inf".
/// `overflow` is set when it has none; the result is null then too.
const char* read_double(const char* at, const char* end, double& value, bool& overflow) noexcept;

/// The same for a decimal without sign that fills [at, end), where the library lacks from_chars.
bool convert_double_strtod(const char* at, const char* end, double& value) noexcept;

const char* read_int64(const char* at, const char* end, std::int64_t& value) noexcept;

/// +1 the taker bought, -1 sold, 0 not known. False when the text is none of the known ones.
bool parse_side(std::string_view text, CsvSideRule rule, std::int8_t& value) noexcept;

}  // namespace detail
}  // namespace klineagg
