// Rows that are rounded already become rows of a coarser interval.
#pragma once

#include <cstdint>
#include <span>

#include "klineagg/bar_table.hpp"

namespace klineagg {

/// The bar that a row tells of, as far as a row can: its sums are the rounded ones, and its prices
/// count as those of trades.
[[nodiscard]] PartialBar bar_of_row(const BarColumns& from, std::int64_t row) noexcept;

/// The bars over `spans`, which are in order and apart, made of the rows of one series, which are
/// in order; runs of gap bars may be among them. Each bar is what merge_into makes of its rows.
/// It is CLOSED when all of its rows are, PARTIAL when one is, and flat at the close of its last
/// row when nobody traded in it. Spans without a row have no bar.
/// Throws Error(merge_mismatch) for rows out of order, and for a row with trades that lies in a
/// span in part only.
[[nodiscard]] BarTable roll_rows(const BarTable& finer, std::span<const Span> spans);

}  // namespace klineagg
