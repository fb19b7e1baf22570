// The fields of one record: cut, read, and stored as a row.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/csv.hpp"
#include "klineagg/detail/csv_text.hpp"
#include "klineagg/error.hpp"
#include "klineagg/symbol_table.hpp"
#include "klineagg/trade.hpp"

namespace klineagg {

using detail::between;
using detail::find_byte;
using detail::trimmed;

/// Reads a record without quotes in place. False: it is bad, or (`quoted`) must be read the other
/// way.
bool CsvParser::fields_fast(const char* begin, const char* end, bool& quoted) {
    if (batch_.rows == capacity_) grow();
    const char delimiter = options_.delimiter;
    const char* p = begin;
    std::size_t field = 0;
    for (;; ++field, ++p) {
        while (p != end && *p == ' ' && delimiter != ' ') ++p;
        if (p != end && *p == '"') {
            quoted = true;
            return false;
        }
        if (field == plan_.size() && find_byte(p, end, '"') == nullptr) {
            // Nothing behind is read: only the number of fields matters.
            field += static_cast<std::size_t>(std::count(p, end, delimiter));
            break;
        }
        const char* const field_begin = p;
        const std::uint8_t role = field < plan_.size() ? plan_[field] : SKIP;
        if (role == SKIP) {
            while (p != end && *p != delimiter) ++p;
        } else {
            p = read(role, p, end, delimiter);
            while (p != nullptr && p != end && *p == ' ' && delimiter != ' ') ++p;
            if (p == nullptr || (p != end && *p != delimiter)) {
                // A quote further on may hold the line end that cut this record short.
                quoted = find_byte(field_begin, end, '"') != nullptr;
                if (quoted) return false;
                const auto behind = std::count(field_begin, end, delimiter);
                if (field + 1 + static_cast<std::size_t>(behind) != options_.field_count) {
                    return refuse(CsvFault::field_count, SKIP, between(begin, end));
                }
                const char* stop = find_byte(field_begin, end, delimiter);
                return refuse(field_fault_, role, between(field_begin, stop ? stop : end));
            }
        }
        if (p == end) break;
    }
    if (field + 1 == options_.field_count) return true;
    return refuse(CsvFault::field_count, SKIP, between(begin, end));
}

/// Cuts a record with quotes into fields_, unescaped. False: it is bad, and counted.
bool CsvParser::fields_split(const char* begin, const char* end) {
    fields_.clear();
    scratch_.clear();
    scratch_.reserve(static_cast<std::size_t>(end - begin));  // views into it must stay valid
    const char delimiter = options_.delimiter;
    const char* p = begin;
    for (;; ++p) {
        const char* field_begin = p;
        while (p != end && *p == ' ' && delimiter != ' ') ++p;
        if (p != end && *p == '"') {
            const std::size_t scratch_begin = scratch_.size();
            for (++p; p != end; ++p) {
                if (*p == '"') {
                    if (p + 1 == end || p[1] != '"') break;
                    ++p;
                }
                scratch_ += *p;
            }
            if (p != end) ++p;
            while (p != end && *p == ' ' && delimiter != ' ') ++p;
            if (p != end && *p != delimiter) {
                return refuse(CsvFault::quoting, SKIP, between(field_begin, end));
            }
            fields_.push_back(std::string_view(scratch_).substr(scratch_begin));
        } else {
            while (p != end && *p != delimiter) ++p;
            fields_.push_back(trimmed(between(field_begin, p)));
        }
        if (p == end) return true;
    }
}

bool CsvParser::store(const std::vector<std::string_view>& fields, const char* begin,
                      const char* end) {
    if (fields.size() != options_.field_count) {
        return refuse(CsvFault::field_count, SKIP, between(begin, end));
    }
    if (batch_.rows == capacity_) grow();
    for (std::size_t i = 0; i < plan_.size(); ++i) {
        if (plan_[i] == SKIP) continue;
        const char* const field_end = fields[i].data() + fields[i].size();
        if (read(plan_[i], fields[i].data(), field_end, detail::NO_STOP) != field_end) {
            return refuse(field_fault_, plan_[i], fields[i]);
        }
    }
    return true;
}

// ---- reading fields -----------------------------------------------------------------------

/// Reads one field into the row after the last one; null and field_fault_ when it is bad.
const char* CsvParser::read(std::uint8_t role, const char* at, const char* end, int stop) {
    const std::size_t row = batch_.rows;
    bool overflow = false;
    const char* next = nullptr;
    std::int64_t number = NO_TRADE_ID;
    switch (static_cast<CsvRole>(role)) {
        case CsvRole::time:
            next = detail::read_time(at, end, stop, options_.unit, batch_.time[row], overflow);
            field_fault_ = overflow ? CsvFault::time_out_of_range : CsvFault::time_unreadable;
            return next;
        case CsvRole::price:
            next = detail::read_double(at, end, batch_.price[row], overflow);
            field_fault_ = overflow ? CsvFault::price_out_of_range : CsvFault::price_unreadable;
            return next;
        case CsvRole::quantity:
            next = detail::read_double(at, end, batch_.quantity[row], overflow);
            field_fault_ = overflow ? CsvFault::quantity_out_of_range
                                    : CsvFault::quantity_unreadable;
            return next;
        case CsvRole::side:
            next = at;
            while (next != end && *next != stop) ++next;
            field_fault_ = CsvFault::side_unreadable;
            return detail::parse_side(trimmed(between(at, next)), options_.side, batch_.side[row])
                       ? next
                       : nullptr;
        case CsvRole::trade_id:
        case CsvRole::last_trade_id:
            field_fault_ = CsvFault::id_unreadable;
            next = at == end || *at == stop ? at : detail::read_int64(at, end, number);
            (static_cast<CsvRole>(role) == CsvRole::trade_id ? batch_.trade_id
                                                             : batch_.last_trade_id)[row] = number;
            return next;
        case CsvRole::symbol:
        case CsvRole::conditions:
            return read_text(static_cast<CsvRole>(role), at, end, stop);
        case CsvRole::flags:
            field_fault_ = CsvFault::flags_unreadable;
            next = detail::read_int64(at, end, number);
            batch_.flags[row] = static_cast<std::uint8_t>(number);
            return number < 0 || number > 255 ? nullptr : next;
    }
    return nullptr;
}

/// Reads a symbol or a code of conditions as its place among the texts of its column.
const char* CsvParser::read_text(CsvRole role, const char* at, const char* end, int stop) {
    const bool is_symbol = role == CsvRole::symbol;
    const char* next = at;
    while (next != end && *next != stop) ++next;
    const std::string_view text = trimmed(between(at, next));
    if (text.empty() && is_symbol) {
        field_fault_ = CsvFault::symbol_missing;
        return nullptr;
    }
    if (text.size() > SYMBOL_NAME_MAX) {
        field_fault_ = is_symbol ? CsvFault::symbol_too_long : CsvFault::conditions_too_long;
        return nullptr;
    }
    const std::int32_t code = (is_symbol ? symbols_ : conditions_).code_of(text);
    if (code < 0) {
        const std::string column(csv_role_name(role));
        throw Error(ErrorCode::column_type,
                    "line " + std::to_string(line_) + ": more than " +
                        std::to_string(CSV_TEXTS_MAX) + " different " + column +
                        (is_symbol ? "s" : "") + "; is it the right column?",
                    {{"column", column}, {"row", std::to_string(line_)}});
    }
    (is_symbol ? batch_.symbol : batch_.conditions)[batch_.rows] = code;
    return next;
}

std::int32_t CsvTexts::code_of(std::string_view text) {
    if (last_ >= 0 && texts_[static_cast<std::size_t>(last_)] == text) return last_;
    const auto found = codes_.find(text);
    if (found != codes_.end()) {
        last_ = found->second;
        return last_;
    }
    if (texts_.size() == CSV_TEXTS_MAX) return -1;
    last_ = static_cast<std::int32_t>(texts_.size());
    texts_.emplace_back(text);
    codes_.emplace(text, last_);
    return last_;
}

}  // namespace klineagg
