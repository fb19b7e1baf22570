#include "klineagg/admission.hpp"

#include <charconv>
#include <cmath>

namespace klineagg {

namespace {

constexpr std::string_view NAMES[] = {
#define KLINEAGG_NAME(name, column) #name,
    KLINEAGG_REJECT_TABLE(KLINEAGG_NAME)
#undef KLINEAGG_NAME
        "none"};
constexpr std::string_view COLUMNS[] = {
#define KLINEAGG_COLUMN(name, column) column,
    KLINEAGG_REJECT_TABLE(KLINEAGG_COLUMN)
#undef KLINEAGG_COLUMN
        ""};

RejectReason judge_time(std::int64_t raw, std::int64_t scale_ns) noexcept {
    if (raw == TIME_NONE) return RejectReason::time_missing;
    // Divided instead of multiplied: a product could overflow before it is compared.
    if (raw < TIME_MIN / scale_ns || raw >= TIME_MAX / scale_ns)
        return RejectReason::time_out_of_range;
    return RejectReason::none;
}

RejectReason judge_amounts(double price, double quantity, bool allow_nonpositive) noexcept {
    if (!std::isfinite(price)) return RejectReason::price_not_finite;
    if (!allow_nonpositive && price <= 0.0) return RejectReason::price_not_positive;
    const double price_size = std::fabs(price);
    if (price_size > AMOUNT_MAX || (price_size < AMOUNT_MIN && price != 0.0))
        return RejectReason::price_out_of_range;
    if (!std::isfinite(quantity)) return RejectReason::quantity_not_finite;
    if (quantity <= 0.0) return RejectReason::quantity_not_positive;
    if (quantity < AMOUNT_MIN || quantity > AMOUNT_MAX) return RejectReason::quantity_out_of_range;
    const double value = std::fabs(price * quantity);
    if (value > AMOUNT_MAX || (value < AMOUNT_MIN && price != 0.0))
        return RejectReason::value_out_of_range;
    return RejectReason::none;
}

RejectReason judge_ids(const TradeColumns& columns, std::size_t row) noexcept {
    if (!columns.last_trade_id.present()) return RejectReason::none;
    const auto last = columns.last_trade_id.get<std::int64_t>(row);
    const auto first = columns.trade_id.present() ? columns.trade_id.get<std::int64_t>(row) : last;
    if (first < NO_TRADE_ID || last < first) return RejectReason::id_invalid;
    if ((first == NO_TRADE_ID) != (last == NO_TRADE_ID)) return RejectReason::id_invalid;
    if (last - first >= AGGREGATED_COUNT_MAX) return RejectReason::count_overflow;
    return RejectReason::none;
}

std::string text_of(double value) {
    char buffer[64];
    const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
    return {buffer, result.ptr};
}

}  // namespace

std::string_view reason_name(RejectReason reason) noexcept {
    return NAMES[static_cast<std::size_t>(reason)];
}

std::string_view reason_column(RejectReason reason) noexcept {
    return COLUMNS[static_cast<std::size_t>(reason)];
}

RejectReason judge_row(const TradeColumns& columns, std::size_t row,
                       bool allow_nonpositive_prices) noexcept {
    if (columns.symbol.get<std::int32_t>(row) < 0) return RejectReason::symbol_missing;
    RejectReason reason = judge_time(columns.time.get<std::int64_t>(row), columns.time_scale_ns);
    if (reason != RejectReason::none) return reason;
    reason = judge_amounts(columns.price.get<double>(row), columns.quantity.get<double>(row),
                           allow_nonpositive_prices);
    if (reason != RejectReason::none) return reason;
    reason = judge_ids(columns, row);
    if (reason != RejectReason::none) return reason;
    if (columns.flags.present() && columns.flags.get<std::uint8_t>(row) > TRADE_FLAGS_ALL)
        return RejectReason::flags_invalid;
    return RejectReason::none;
}

std::string row_value(const TradeColumns& columns, std::size_t row, RejectReason reason) {
    const std::string_view column = reason_column(reason);
    if (column == "symbol") return std::to_string(columns.symbol.get<std::int32_t>(row));
    if (column == "time") return std::to_string(columns.time.get<std::int64_t>(row));
    if (column == "price") return text_of(columns.price.get<double>(row));
    if (column == "quantity") return text_of(columns.quantity.get<double>(row));
    if (column == "price * quantity")
        return text_of(columns.price.get<double>(row) * columns.quantity.get<double>(row));
    if (column == "flags") return std::to_string(columns.flags.get<std::uint8_t>(row));
    const auto last = columns.last_trade_id.get<std::int64_t>(row);
    const auto first = columns.trade_id.present() ? columns.trade_id.get<std::int64_t>(row) : last;
    return std::to_string(first) + ".." + std::to_string(last);
}

}  // namespace klineagg
