// The types of the Arrow C data interface, read from their format strings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "klineagg/arrow_c.hpp"

namespace klineagg::arrow {

enum class Kind : std::uint8_t {
    null,
    boolean,
    integer,
    floating,
    decimal,
    text,        // offsets and bytes; binary data has the same layout
    text_view,   // 16-byte views
    text_fixed,  // every value equally wide
    date,
    time_of_day,
    timestamp,
    duration,
    list,
    structure,
    other,
};

struct Type {
    Kind kind = Kind::other;
    bool is_signed = false;         // integer
    int bits = 0;                   // width of a value; of an offset for text and list
    char unit = ' ';                // of a time: D(ays), s, m(illi), u, n
    std::int32_t scale = 0;         // decimal: the value is the integer times 10^-scale
    std::int32_t width = 0;         // text_fixed: bytes
    std::string_view time_zone{};   // timestamp: points into the format
};

/// The type that a format string names; `Kind::other` for what klineagg does not read.
Type parse_type(std::string_view format);

/// For error messages: "timestamp[ms, UTC]", "dictionary<string>", ...
std::string type_name(const Schema& schema);

}  // namespace klineagg::arrow
