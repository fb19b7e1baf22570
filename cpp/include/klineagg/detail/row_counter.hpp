// Counts the bars of plain streams: strict order, no gap rows, no seeds, no tables.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/detail/symbol_router.hpp"
#include "klineagg/rollup.hpp"

namespace klineagg::detail {

/// The bars of one symbol and level that a slice opened.
struct OpenedBars {
    TimeNs first_open = TIME_NONE;
    TimeNs last_open = TIME_NONE;
    std::int64_t count = 0;
};

/// Where every span that has a trade is a bar, rows can be counted by the spans that open, which
/// takes a fraction of what running the aggregator over times does. Only how many rows there
/// will be is decided here; what is in them stays the aggregator's alone.
///
/// Up to 64 cells of the base grid are a window, and a symbol has a bit for each cell in which it
/// traded. A trade sets its bit; when the symbol comes to another window, the bars of all levels
/// whose spans divide the window are counted by the bits of one word at once, and a coarser level
/// is asked whether a bar of it opens. Rows are passed cell by cell, since that of a row is nearly
/// always that of the row before; in any other order between symbols they are counted as well.
class RowCounter {
public:
    explicit RowCounter(const RollupPlan& plan);

    /// A new symbol; its trades follow `newest` (TIME_NONE: any).
    void add_symbol(TimeNs newest);

    /// Counts rows. Returns the first that it does not take: of an unknown symbol, before the one
    /// before it, or out of range.
    template <class Rows>
    std::size_t count(const Rows& rows, SymbolRouter::View router, std::size_t from,
                      std::size_t to) {
        Symbol* const symbols = symbols_.data();
        std::size_t row = from;
        for (bool taken = true; taken && row < to;) {
            const TimeNs first = rows.time(row);
            if (first < TIME_MIN || first >= TIME_MAX) break;
            const TimeNs open = base_.open_of(first);
            // Unsigned: a time before the cell leaves it too.
            const std::uint64_t length = std::min(period_, distance(open, TIME_MAX));
            const TimeNs window = windows_.open_of(open);
            const std::uint64_t cell = cell_in(window, open);
            for (; row < to; ++row) {
                const TimeNs time = rows.time(row);
                if (distance(open, time) >= length) break;
                const std::int32_t place = router.find(rows.symbol(row));
                taken = place >= 0 && time >= symbols[place].last;
                if (!taken) [[unlikely]] break;
                Symbol& symbol = symbols[place];
                symbol.last = time;
                if (symbol.window != window) [[unlikely]]
                    move_to(window, static_cast<std::size_t>(place));
                symbol.cells |= cell;
            }
        }
        return row;
    }

    /// Counts a trade that is in order and in range.
    void count_one(std::size_t place, TimeNs time);
    /// Behind the last row, and before `opened` is asked.
    void finish();

    [[nodiscard]] TimeNs newest(std::size_t place) const noexcept { return symbols_[place].last; }
    [[nodiscard]] OpenedBars opened(std::size_t place, int level) const noexcept;

private:
    struct Symbol {
        TimeNs window;        // where the newest one opens
        std::uint64_t cells;  // of it, those with trades, that bars_ does not have yet
        TimeNs last;
        TimeNs first_open;    // of base cells
    };
    struct Bars {
        TimeNs newest_open;  // of levels that do not divide windows
        std::int64_t count;
    };
    /// A level of which a window has a whole number of bars.
    struct InnerLevel {
        std::size_t level;
        unsigned cells;         // of a bar
        std::uint64_t leaders;  // the first cell of each bar
    };

    static std::uint64_t distance(TimeNs from, TimeNs to) noexcept {
        return static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
    }
    [[nodiscard]] std::uint64_t cell_in(TimeNs window, TimeNs open) const noexcept {
        return std::uint64_t{1} << (base_.periods_in(open - window) & 63);
    }
    [[nodiscard]] TimeNs open_of_cell(TimeNs window, int cell) const noexcept {
        return window + cell * static_cast<DurationNs>(period_);
    }
    void move_to(TimeNs window, std::size_t place);
    void count_cells(std::size_t place);
    void count_outer(int level, TimeNs window, std::uint64_t cells, Bars* bars);

    const RollupLevel* plan_;
    std::size_t levels_;
    FixedGrid base_;
    std::uint64_t period_;  // of the base
    FixedGrid windows_;
    std::vector<InnerLevel> inner_;
    std::vector<int> outer_;  // that an inner one feeds
    std::vector<Span> spans_;  // by level: the newest that was looked up
    std::vector<Symbol> symbols_;
    std::vector<Bars> bars_;  // by symbol, then level
};

}  // namespace klineagg::detail
