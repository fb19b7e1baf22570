// Which rows are trades: every rule about a single row, with a stable name for each reason.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "klineagg/exact_sum.hpp"
#include "klineagg/trade_columns.hpp"

namespace klineagg {

#define KLINEAGG_REJECT_TABLE(X)                                                                   \
    X(symbol_missing, "symbol") X(time_missing, "time") X(time_out_of_range, "time")               \
    X(price_not_finite, "price") X(price_not_positive, "price") X(price_out_of_range, "price")     \
    X(quantity_not_finite, "quantity") X(quantity_not_positive, "quantity")                        \
    X(quantity_out_of_range, "quantity") X(value_out_of_range, "price * quantity")                 \
    X(id_invalid, "trade_id") X(count_overflow, "last_trade_id") X(flags_invalid, "flags")

enum class RejectReason : std::uint8_t {
#define KLINEAGG_ENUM(name, column) name,
    KLINEAGG_REJECT_TABLE(KLINEAGG_ENUM)
#undef KLINEAGG_ENUM
        none
};
inline constexpr std::size_t REJECT_REASONS = static_cast<std::size_t>(RejectReason::none);

std::string_view reason_name(RejectReason reason) noexcept;
std::string_view reason_column(RejectReason reason) noexcept;

using RejectCounts = std::array<std::int64_t, REJECT_REASONS>;

/// An aggregated trade stands for at most this many trades: sums of counts stay in int64.
inline constexpr std::int64_t AGGREGATED_COUNT_MAX = std::int64_t{1} << 32;

/// Why a row is not a trade, or `none`.
RejectReason judge_row(const TradeColumns& columns, std::size_t row,
                       bool allow_nonpositive_prices) noexcept;

/// The offending value as text, for the error's message.
std::string row_value(const TradeColumns& columns, std::size_t row, RejectReason reason);

/// True when the amounts of all rows in [begin, end) are certainly admissible, in one pass
/// without branches. False asks for judge_row, row by row. Prices and quantities in
/// 2^-50 ... 2^50 have admissible products, so these need no test of their own.
template <class Rows>
bool amounts_plain(const Rows& rows, std::size_t begin, std::size_t end) noexcept {
    using detail::Double2;
    using detail::Int2;
    constexpr double low = 0x1p-50;
    constexpr double high = 0x1p+50;
    Int2 plain = {-1, -1};
    for (std::size_t row = begin; row < end; row += 2) {
        const std::size_t next = row + 1 < end ? row + 1 : row;
        const Double2 price = {rows.price(row), rows.price(next)};
        const Double2 quantity = {rows.quantity(row), rows.quantity(next)};
        plain &= (price >= low) & (price <= high) & (quantity >= low) & (quantity <= high);
    }
    return (plain[0] & plain[1]) != 0;
}

}  // namespace klineagg
