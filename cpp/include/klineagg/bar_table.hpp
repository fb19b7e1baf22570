// The result as columns: every row is written once, where it stays.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "klineagg/arena.hpp"
#include "klineagg/builder.hpp"
#include "klineagg/rollup.hpp"

namespace klineagg {

// X(type, name), in the order of the result. The columns from open_time to last_trade_time have
// 8 bytes each and lie at one distance from each other, so that writing a row needs one pointer.
#define KLINEAGG_BAR_COLUMNS(X)                                                                    \
    X(std::int32_t, symbol) X(std::int16_t, interval) X(TimeNs, open_time) X(TimeNs, close_time)   \
    X(double, open) X(double, high) X(double, low) X(double, close) X(double, volume)              \
    X(double, quote_volume) X(std::int64_t, trade_count) X(double, taker_buy_volume)               \
    X(double, taker_buy_quote_volume) X(std::int64_t, first_trade_id)                              \
    X(std::int64_t, last_trade_id) X(TimeNs, first_trade_time) X(TimeNs, last_trade_time)          \
    X(std::int32_t, run_length) X(std::int32_t, revision) X(std::uint16_t, flags)

inline constexpr std::size_t EIGHT_BYTE_COLUMNS = 15;

struct BarColumns {
#define KLINEAGG_POINTER(type, name) type* name = nullptr;
    KLINEAGG_BAR_COLUMNS(KLINEAGG_POINTER)
#undef KLINEAGG_POINTER
    PartialBar* partials = nullptr;  // beside the columns, when asked for
    std::size_t stride = 0;          // from one 8-byte column to the next, in values
};

/// The rows of one symbol and interval are contiguous and in order of time.
struct BarSeries {
    std::int32_t symbol;
    std::int16_t interval;
    std::int64_t begin;
    std::int64_t end;
};

class BarTable {
public:
    BarTable() = default;
    BarTable(std::int64_t rows, bool with_partials, ArenaKind kind = ArenaKind::own);

    [[nodiscard]] std::int64_t rows() const noexcept { return rows_; }
    [[nodiscard]] const BarColumns& columns() const noexcept { return columns_; }
    [[nodiscard]] const std::vector<BarSeries>& series() const noexcept { return series_; }
    /// The memory that all columns lie in.
    [[nodiscard]] const Arena& memory() const noexcept { return arena_; }
    /// No row changes any more; see Arena::freeze.
    bool freeze() noexcept { return arena_.freeze(); }

    /// Names the rows [begin, end), which follow those of the series before.
    void name_series(const BarSeries& series) { series_.push_back(series); }
    /// Fills what is the same in all rows of a series, for rows [begin, end) of any; before
    /// write_row. Several threads may fill rows of their own at once.
    void fill_series(std::int64_t begin, std::int64_t end) const noexcept;
    /// Both.
    void add_series(const BarSeries& series) {
        name_series(series);
        fill_series(series.begin, series.end);
    }
    /// Names all rows at once, for a writer that fills every column itself.
    void set_series(std::vector<BarSeries> series) noexcept { series_ = std::move(series); }

    std::vector<std::int64_t> outside_trades;  // for each interval: in no session

private:
    std::int64_t rows_ = 0;
    Arena arena_;
    BarColumns columns_;
    std::vector<BarSeries> series_;
};

/// Rounds bars into the rows from `row` on, one column after the other. A bar without a price for
/// open and close keeps the close of the one before it, the first that of `close_before`.
/// Call publish_rows before another thread reads them.
void write_rows(const BarColumns& to, std::int64_t row, const PartialBar* bars, std::size_t count,
                double close_before) noexcept;
/// The same, bit for bit, with the vectors that every machine has.
void write_rows_portably(const BarColumns& to, std::int64_t row, const PartialBar* bars,
                         std::size_t count, double close_before) noexcept;
/// Asks for the memory where `count` rows begin and end in the midst of a cache line: write_rows
/// writes only whole lines past the caches, and would wait longer for the others than it takes to
/// write all rows.
void prefetch_rows(const BarColumns& to, std::int64_t row, std::size_t count) noexcept;
/// Rows go past the caches, and such stores are in no order with those of a lock or a flag.
void publish_rows() noexcept;

inline void write_row(const BarColumns& to, std::int64_t row, const PartialBar& bar,
                      double close_before) noexcept {
    write_rows(to, row, &bar, 1, close_before);
}

/// The length of a run of so many bars, as rows have it.
[[nodiscard]] inline std::int32_t run_length_of(std::int64_t bars) noexcept {
    constexpr std::int64_t run_max = std::numeric_limits<std::int32_t>::max();
    return static_cast<std::int32_t>(std::min(bars, run_max));  // a day has 86,400
}

/// A bar, or a run of bars, in which nobody traded: flat at a price once it is rounded.
PartialBar flat_bar(Span range, std::int64_t bars, std::uint16_t flags) noexcept;

}  // namespace klineagg
