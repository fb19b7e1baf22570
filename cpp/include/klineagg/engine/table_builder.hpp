// From rows in any order to a table: by interval, symbol and time, newest revisions only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/bar_table.hpp"
#include "klineagg/engine/bar_row.hpp"

namespace klineagg::engine {

/// Gathers rows and makes the table of them. A reader's tool: it allocates, and runs on the
/// thread that asked for the rows.
class TableBuilder {
public:
    /// The row must stay where it is until build().
    void add(const BarRow& row) { rows_.push_back(&row); }
    [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }

    /// Of rows over the same span of one series the newest revision stays: a bar that closed and
    /// was amended since the last snapshot is one row. Throws std::bad_alloc.
    [[nodiscard]] BarTable build(std::size_t intervals, ArenaKind memory = ArenaKind::own);

private:
    struct Series {
        std::int32_t symbol;
        std::int16_t interval;
        std::size_t begin;
        std::size_t end;
    };

    [[nodiscard]] std::vector<Series> sort_by_series(std::size_t intervals,
                                                     std::vector<const BarRow*>& sorted) const;
    /// Orders one series by time and drops superseded rows; returns the new end.
    static std::size_t settle(std::vector<const BarRow*>& rows, const Series& series);

    std::vector<const BarRow*> rows_;
};

}  // namespace klineagg::engine
