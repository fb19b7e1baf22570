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
    using Bits2 = std::uint64_t __attribute__((vector_size(16)));
    // Positive doubles order as their bits do; for all else (negative, NaN, infinite, too small,
    // too large) one of the two differences wraps into the sign bit.
    constexpr std::uint64_t low = 0x3CD0000000000000;   // 2^-50
    constexpr std::uint64_t high = 0x4310000000000000;  // 2^50
    const Bits2 low2 = {low, low};
    const Bits2 high2 = {high, high};
    Bits2 outside = {0, 0};
    const auto test = [&](double first, double second) {
        const detail::Double2 pair = {first, second};
        const auto bits = (Bits2)pair;
        outside |= (bits - low2) | (high2 - bits);
    };
    std::size_t row = begin;
    for (; row + 1 < end; row += 2) {
        test(rows.price(row), rows.price(row + 1));
        test(rows.quantity(row), rows.quantity(row + 1));
    }
    if (row < end) test(rows.price(row), rows.quantity(row));
    return ((outside[0] | outside[1]) >> 63) == 0;
}

}  // namespace klineagg
