// A closed or open bar as the row that people read, before rows become columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "klineagg/bar_table.hpp"
#include "klineagg/builder.hpp"

namespace klineagg::engine {

/// One row of the result, already rounded: workers append these, takers turn them into columns.
/// Half of what the partial record takes, so that the log of closed bars costs half as much.
struct BarRow {
    TimeNs open_time;
    TimeNs close_time;
    Ohlc prices;
    double sums[SUM_LANES];
    std::int64_t trade_count;
    std::int64_t first_trade_id;
    std::int64_t last_trade_id;
    TimeNs first_trade_time;
    TimeNs last_trade_time;
    std::int32_t symbol;
    std::int32_t run_length;
    std::int32_t revision;
    std::int16_t interval;
    std::uint16_t flags;
};
static_assert(std::is_trivially_copyable_v<BarRow> && sizeof(BarRow) == 136);

inline void fill_row(BarRow& row, std::int32_t symbol, std::int16_t interval,
                     const PartialBar& bar, double previous_close) noexcept {
    row.open_time = bar.open_time;
    row.close_time = bar.close_time;
    row.prices = round_prices(bar, previous_close);
    round_sums(bar, row.sums);
    row.trade_count = bar.trade_count;
    row.first_trade_id = bar.first.id;
    row.last_trade_id = bar.last_id;
    row.first_trade_time = bar.first.time;
    row.last_trade_time = bar.last_time;
    row.symbol = symbol;
    row.run_length = bar.run_length;
    row.revision = bar.revision;
    row.interval = interval;
    row.flags = bar.flags;
}

/// The row of flat_bar at a price, without the bar between.
inline void fill_flat_row(BarRow& row, std::int32_t symbol, std::int16_t interval, Span range,
                          std::int64_t bars, double price, std::uint16_t flags,
                          std::int32_t revision) noexcept {
    row.open_time = range.open;
    row.close_time = range.close;
    row.prices = {price, price, price, price};
    for (double& sum : row.sums) sum = 0.0;
    row.trade_count = 0;
    row.first_trade_id = NO_TRADE_ID;
    row.last_trade_id = NO_TRADE_ID;
    row.first_trade_time = TIME_NONE;
    row.last_trade_time = TIME_NONE;
    row.symbol = symbol;
    row.run_length = run_length_of(bars);
    row.revision = revision;
    row.interval = interval;
    row.flags = flags;
}

/// Writes rows to their places from `place` on, one column after the other; symbol, interval, run
/// length and revision included. Call publish_rows before another thread reads them.
void write_rows(const BarColumns& to, std::int64_t place, const BarRow* const* rows,
                std::size_t count) noexcept;
/// The same without vectors of 32 bytes, as on a processor that has none.
void write_rows_portably(const BarColumns& to, std::int64_t place, const BarRow* const* rows,
                         std::size_t count) noexcept;

}  // namespace klineagg::engine
