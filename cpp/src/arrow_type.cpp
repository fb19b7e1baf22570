#include "klineagg/arrow_type.hpp"

#include <charconv>

namespace klineagg::arrow {
namespace {

bool parse_int(std::string_view text, std::int32_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && end == text.data() + text.size();
}

Type integer(bool is_signed, int bits) {
    return {.kind = Kind::integer, .is_signed = is_signed, .bits = bits};
}

Type parse_single(char code) {
    switch (code) {
        case 'n': return {.kind = Kind::null};
        case 'b': return {.kind = Kind::boolean, .bits = 1};
        case 'c': return integer(true, 8);
        case 'C': return integer(false, 8);
        case 's': return integer(true, 16);
        case 'S': return integer(false, 16);
        case 'i': return integer(true, 32);
        case 'I': return integer(false, 32);
        case 'l': return integer(true, 64);
        case 'L': return integer(false, 64);
        case 'e': return {.kind = Kind::floating, .bits = 16};
        case 'f': return {.kind = Kind::floating, .bits = 32};
        case 'g': return {.kind = Kind::floating, .bits = 64};
        case 'u':
        case 'z': return {.kind = Kind::text, .bits = 32};
        case 'U':
        case 'Z': return {.kind = Kind::text, .bits = 64};
        default: return {};
    }
}

// "d:precision,scale" with 128 bits, or "d:precision,scale,bits".
Type parse_decimal(std::string_view arguments) {
    Type type{.kind = Kind::decimal, .bits = 128};
    const std::size_t comma = arguments.find(',');
    if (comma == std::string_view::npos) return {};
    std::string_view scale = arguments.substr(comma + 1);
    if (const std::size_t second = scale.find(','); second != std::string_view::npos) {
        std::int32_t bits = 0;
        if (!parse_int(scale.substr(second + 1), bits)) return {};
        if (bits != 32 && bits != 64 && bits != 128 && bits != 256) return {};
        type.bits = bits;
        scale = scale.substr(0, second);
    }
    return parse_int(scale, type.scale) ? type : Type{};
}

// "t" and a letter for the kind of time, one for the unit, and for a timestamp ":zone".
Type parse_temporal(std::string_view format) {
    if (format.size() < 3) return {};
    const char unit = format[2];
    const bool is_clock_unit = unit == 's' || unit == 'm' || unit == 'u' || unit == 'n';
    switch (format[1]) {
        case 'd':
            if (unit == 'D') return {.kind = Kind::date, .bits = 32, .unit = 'D'};
            if (unit == 'm') return {.kind = Kind::date, .bits = 64, .unit = 'm'};
            return {};
        case 't':
            if (!is_clock_unit) return {};
            return {.kind = Kind::time_of_day,
                    .bits = unit == 's' || unit == 'm' ? 32 : 64,
                    .unit = unit};
        case 's':
            if (!is_clock_unit || format.size() < 4 || format[3] != ':') return {};
            return {.kind = Kind::timestamp,
                    .bits = 64,
                    .unit = unit,
                    .time_zone = format.substr(4)};
        case 'D':
            if (!is_clock_unit) return {};
            return {.kind = Kind::duration, .bits = 64, .unit = unit};
        default: return {};
    }
}

std::string_view unit_name(char unit) {
    switch (unit) {
        case 'D': return "day";
        case 's': return "s";
        case 'm': return "ms";
        case 'u': return "us";
        default: return "ns";
    }
}

std::string with_unit(std::string_view name, char unit, std::string_view extra = {}) {
    std::string text{name};
    text.append("[").append(unit_name(unit));
    if (!extra.empty()) text.append(", ").append(extra);
    return text.append("]");
}

std::string other_name(std::string_view format) {
    if (format == "+r") return "run-end encoded";
    if (format == "+m") return "map";
    if (format.starts_with("+u")) return "union";
    if (format.starts_with("+w")) return "fixed-size list";
    if (format.starts_with("+v")) return "list view";
    return "the Arrow type '" + std::string(format) + "'";
}

}  // namespace

Type parse_type(std::string_view format) {
    if (format.size() == 1) return parse_single(format.front());
    if (format.starts_with("d:")) return parse_decimal(format.substr(2));
    if (format.starts_with("t")) return parse_temporal(format);
    if (format == "vu" || format == "vz") return {.kind = Kind::text_view, .bits = 128};
    if (format == "+s") return {.kind = Kind::structure};
    if (format == "+l") return {.kind = Kind::list, .bits = 32};
    if (format == "+L") return {.kind = Kind::list, .bits = 64};
    if (format.starts_with("w:")) {
        Type type{.kind = Kind::text_fixed};
        if (parse_int(format.substr(2), type.width) && type.width >= 0) return type;
    }
    return {};
}

std::string type_name(const Schema& schema) {
    const std::string_view format = schema.format != nullptr ? schema.format : "";
    if (schema.dictionary != nullptr) return "dictionary<" + type_name(*schema.dictionary) + ">";
    const Type type = parse_type(format);
    switch (type.kind) {
        case Kind::null: return "null";
        case Kind::boolean: return "bool";
        case Kind::integer: return (type.is_signed ? "int" : "uint") + std::to_string(type.bits);
        case Kind::floating: return "float" + std::to_string(type.bits);
        case Kind::decimal: return "decimal" + std::to_string(type.bits);
        case Kind::text:
        case Kind::text_view: return format.ends_with('z') || format == "Z" ? "binary" : "string";
        case Kind::text_fixed: return "fixed-size binary";
        case Kind::date: return "date" + std::to_string(type.bits);
        case Kind::time_of_day: return with_unit("time of day", type.unit);
        case Kind::timestamp: return with_unit("timestamp", type.unit, type.time_zone);
        case Kind::duration: return with_unit("duration", type.unit);
        case Kind::list: return "list";
        case Kind::structure: return "struct";
        case Kind::other: break;
    }
    return other_name(format);
}

}  // namespace klineagg::arrow
