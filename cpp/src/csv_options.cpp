// Names of roles and faults, and the check of the options.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/csv.hpp"
#include "klineagg/error.hpp"

namespace klineagg {
namespace {

constexpr std::uint8_t role_of(CsvRole role) { return static_cast<std::uint8_t>(role); }

}  // namespace

std::string_view csv_role_name(CsvRole role) noexcept {
    constexpr std::array<std::string_view, CSV_ROLE_COUNT> names{
        "time", "price", "quantity", "side", "trade_id", "last_trade_id", "symbol", "flags",
        "conditions"};
    return names[role_of(role)];
}

std::string_view csv_fault_name(CsvFault fault) noexcept {
    constexpr std::array<std::string_view, CSV_FAULT_COUNT> names{
        "field_count",       "quoting",           "line_too_long",
        "time_unreadable",   "time_out_of_range", "price_unreadable",
        "price_out_of_range", "quantity_unreadable", "quantity_out_of_range",
        "side_unreadable",   "id_unreadable",     "symbol_missing",
        "symbol_too_long",   "flags_unreadable",  "conditions_too_long"};
    return names[static_cast<std::size_t>(fault)];
}

std::string_view csv_fault_text(CsvFault fault) noexcept {
    switch (fault) {
        case CsvFault::field_count: return "another number of fields than the first record";
        case CsvFault::quoting: return "a quote that is not closed, or text behind a closing quote";
        case CsvFault::line_too_long: return "the line is too long";
        case CsvFault::time_unreadable: return "not a time stamp";
        case CsvFault::price_unreadable:
        case CsvFault::quantity_unreadable: return "not a number";
        case CsvFault::time_out_of_range:
        case CsvFault::price_out_of_range:
        case CsvFault::quantity_out_of_range: return "out of range";
        case CsvFault::side_unreadable: return "not a side";
        case CsvFault::id_unreadable: return "not an integer id";
        case CsvFault::symbol_missing: return "no symbol";
        case CsvFault::symbol_too_long: return "a symbol of more than 256 bytes";
        case CsvFault::flags_unreadable: return "not a number from 0 to 255";
        case CsvFault::conditions_too_long: return "conditions of more than 256 bytes";
    }
    return "";
}

void csv_refuse_options(const std::string& reason) {
    throw Error(ErrorCode::invalid_option, "CSV options: " + reason, {{"reason", reason}});
}

std::vector<std::uint8_t> csv_plan(const CsvOptions& options) {
    if (options.field_count == 0 || options.field_count > CSV_FIELDS_MAX) {
        csv_refuse_options("the number of fields must be 1 to 4096");
    }
    if (std::string_view(",;\t| ").find(options.delimiter) == std::string_view::npos) {
        csv_refuse_options("the delimiter must be ',', ';', '|', a tab or a space");
    }
    if (options.line_bytes_max == 0 || options.line_bytes_max > (std::size_t{1} << 24U)) {
        csv_refuse_options("a line may hold 1 to 16777216 bytes");
    }
    std::vector<std::uint8_t> plan;
    std::array<bool, CSV_ROLE_COUNT> seen{};
    for (const CsvColumn& column : options.columns) {
        const std::uint8_t role = role_of(column.role);
        if (role >= CSV_ROLE_COUNT || seen[role]) csv_refuse_options("a role is given twice");
        if (column.index >= options.field_count) csv_refuse_options("a column is beyond the last field");
        seen[role] = true;
        if (plan.size() <= column.index) plan.resize(column.index + 1, CSV_SKIP);
        if (plan[column.index] != CSV_SKIP) csv_refuse_options("a column has two roles");
        plan[column.index] = role;
    }
    for (const CsvRole role : {CsvRole::time, CsvRole::price, CsvRole::quantity}) {
        if (!seen[role_of(role)]) csv_refuse_options("time, price and quantity are needed");
    }
    return plan;
}

}  // namespace klineagg
