// From rows in any order to a table: by interval, symbol and time, newest revisions only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "klineagg/bar_table.hpp"
#include "klineagg/detail/symbol_router.hpp"
#include "klineagg/engine/bar_row.hpp"

namespace klineagg::engine {

/// Gathers rows and makes the table of them. A reader's tool: it allocates, and runs on the
/// thread that asked for the rows.
class TableBuilder {
public:
    /// For at most `rows_max` rows of so many intervals. Throws std::bad_alloc.
    TableBuilder(std::size_t rows_max, std::size_t intervals);

    /// The row must stay where it is until build(). Reads the row once, as rows lie in memory: by
    /// series they are far from one another. Throws std::bad_alloc.
    void add(const BarRow& row) {
        std::int32_t place = row.symbol == last_symbol_ ? last_place_ : places_.find(row.symbol);
        if (place < 0) [[unlikely]] place = see(row.symbol);
        last_symbol_ = row.symbol;
        last_place_ = place;
        const auto interval = static_cast<std::size_t>(row.interval);
        const std::size_t number = static_cast<std::size_t>(place) * intervals_ + interval;
        Series& series = series_[number];
        ++series.rows;
        series.last_open = series.last_open < row.open_time ? row.open_time : DISORDERED;
        rows_[size_++] = {&row, number};
    }
    [[nodiscard]] std::size_t rows() const noexcept { return size_; }

    /// Of rows over the same span of one series the newest revision stays: a bar that closed and
    /// was amended since the last snapshot is one row. Once. Throws std::bad_alloc.
    [[nodiscard]] BarTable build(ArenaKind memory = ArenaKind::own);

private:
    struct Added {
        const BarRow* row;
        std::size_t series;
    };
    struct Series {
        std::size_t rows = 0;
        TimeNs last_open = std::numeric_limits<TimeNs>::min();
    };
    // Of a series whose rows did not come in order of time. No time is behind it: it stays.
    static constexpr TimeNs DISORDERED = std::numeric_limits<TimeNs>::max();

    /// A new symbol, with series of its own.
    std::int32_t see(std::int32_t symbol);
    /// Orders rows of one series by time and drops superseded ones; returns how many are left.
    static std::size_t settle(std::span<const BarRow*> rows);
    /// The rows of all series, one behind the other; `begins`: where those of each are in `sorted`.
    static void write(const BarColumns& to, const std::vector<BarSeries>& all,
                      const std::vector<std::size_t>& begins, const BarRow* const* sorted);

    // Scratch memory from the cache of arenas: fresh pages for it take longer than the sorting.
    Arena added_;
    Added* rows_;
    std::size_t size_ = 0;
    std::size_t intervals_;
    std::vector<Series> series_;  // by place of the symbol, and interval
    detail::SymbolRouter places_;
    std::vector<std::int32_t> symbols_;  // by place
    std::int32_t last_symbol_ = -1;
    std::int32_t last_place_ = -1;
};

}  // namespace klineagg::engine
