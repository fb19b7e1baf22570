// From rows in any order to a table: by interval, symbol and time, newest revisions only.
#pragma once

#include <cstddef>
#include <cstdint>
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
    /// For at most `rows_max` rows. Throws std::bad_alloc.
    explicit TableBuilder(std::size_t rows_max);

    /// The row must stay where it is until build(). Reads the row once, as rows lie in memory: by
    /// series they are far from one another.
    void add(const BarRow& row) {
        std::int32_t place = row.symbol == last_symbol_ ? last_place_ : seen_.find(row.symbol);
        if (place < 0) [[unlikely]] place = see(row.symbol);
        last_symbol_ = row.symbol;
        last_place_ = place;
        rows_[size_++] = {&row, row.open_time, place, row.interval};
    }
    [[nodiscard]] std::size_t rows() const noexcept { return size_; }

    /// Of rows over the same span of one series the newest revision stays: a bar that closed and
    /// was amended since the last snapshot is one row. Once. Throws std::bad_alloc.
    [[nodiscard]] BarTable build(std::size_t intervals, ArenaKind memory = ArenaKind::own);

private:
    struct Added {
        const BarRow* row;
        TimeNs open_time;
        std::int32_t place;  // of its symbol among those seen
        std::int16_t interval;
    };
    struct Sorted {
        const BarRow* row;
        TimeNs open_time;
    };
    struct Series {
        std::int32_t symbol;
        std::int16_t interval;
        std::size_t begin;
        std::size_t end;
    };

    std::int32_t see(std::int32_t symbol);
    [[nodiscard]] std::vector<Series> sort_by_series(std::size_t intervals,
                                                     std::span<Sorted> sorted) const;
    /// Orders one series by time and drops superseded rows; returns the new end.
    static std::size_t settle(std::span<Sorted> rows, const Series& series);
    static void write(const BarColumns& to, const std::vector<Series>& all,
                      std::span<const Sorted> sorted);

    // Scratch memory from the cache of arenas: fresh pages for it take longer than the sorting.
    Arena added_;
    Added* rows_;
    std::size_t size_ = 0;
    detail::SymbolRouter seen_;
    std::vector<std::int32_t> symbols_;  // by place
    std::int32_t last_symbol_ = -1;
    std::int32_t last_place_ = -1;
};

}  // namespace klineagg::engine
