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
/// Rows are passed cell by cell of the base grid: in which span of each level a cell lies is the
/// same for all symbols, and found once. The symbols that open a base bar in the cell are
/// collected, of these the ones that open a coarser bar, and so on, without a branch that
/// depends on which symbol trades. Rows in any other order between symbols are counted as well,
/// with more cells.
class RowCounter {
public:
    static constexpr std::size_t BLOCK_ROWS_MAX = 2048;

    explicit RowCounter(const RollupPlan& plan)
        : plan_(plan.levels().data()),
          levels_(plan.levels().size()),
          base_(plan.levels()[0].interval->cells()),
          period_(static_cast<std::uint64_t>(plan.levels()[0].interval->period())),
          first_opens_(levels_),
          newest_bars_(levels_),
          openings_(levels_ * (BLOCK_ROWS_MAX + 1)),
          spans_(levels_, Span{TIME_NONE, TIME_NONE}) {}

    /// A new symbol; its trades follow `newest` (TIME_NONE: any).
    void add_symbol(TimeNs newest) {
        hot_.push_back({TIME_NONE, std::max(newest, TIME_MIN)});
        for (std::size_t level = 0; level < levels_; ++level) {
            first_opens_[level].push_back(TIME_NONE);
            newest_bars_[level].push_back({TIME_NONE, 0});
        }
    }

    /// Counts rows, at most BLOCK_ROWS_MAX. Returns the first that it does not take: of an
    /// unknown symbol, before the one before it, or out of range.
    template <class Rows>
    std::size_t count(const Rows& rows, SymbolRouter::View router, std::size_t from,
                      std::size_t to) noexcept {
        Hot* const symbols = hot_.data();
        std::uint32_t* const openings = openings_.data();
        std::size_t row = from;
        for (bool taken = true; taken && row < to;) {
            const TimeNs first = rows.time(row);
            if (first < TIME_MIN || first >= TIME_MAX) break;
            const TimeNs open = base_.open_of(first);
            // Unsigned: a time before the cell leaves it too.
            const std::uint64_t length = std::min(period_, distance(open, TIME_MAX));
            std::size_t found = 0;
            for (; row < to; ++row) {
                const TimeNs time = rows.time(row);
                if (distance(open, time) >= length) break;
                const std::int32_t place = router.find(rows.symbol(row));
                taken = place >= 0 && time >= symbols[place].last;
                if (!taken) [[unlikely]] break;
                Hot& symbol = symbols[place];
                symbol.last = time;
                openings[found] = static_cast<std::uint32_t>(place);
                found += open != symbol.base_open ? 1 : 0;
                symbol.base_open = open;
            }
            if (found != 0) count_cell(0, open, openings, found);
        }
        return row;
    }

    /// Counts a trade that is in order and in range.
    void count_one(std::size_t place, TimeNs time) noexcept {
        Hot& symbol = hot_[place];
        symbol.last = time;
        symbol.base_open = base_.open_of(time);
        openings_[0] = static_cast<std::uint32_t>(place);
        count_cell(0, symbol.base_open, openings_.data(), 1);
    }

    [[nodiscard]] TimeNs newest(std::size_t place) const noexcept { return hot_[place].last; }
    [[nodiscard]] OpenedBars opened(std::size_t place, int level) const noexcept {
        const auto at = static_cast<std::size_t>(level);
        const NewestBar& newest = newest_bars_[at][place];
        return {first_opens_[at][place], newest.open, newest.count};
    }

private:
    struct Hot {
        TimeNs base_open;
        TimeNs last;
    };
    struct NewestBar {
        TimeNs open;
        std::int64_t count;  // of all bars up to it
    };
    static std::uint64_t distance(TimeNs from, TimeNs to) noexcept {
        return static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
    }

    /// Of the symbols that open a bar of a finer level in the cell at `time`: counts those that
    /// open one of this level.
    void count_cell(int level, TimeNs time, const std::uint32_t* from, std::size_t count) noexcept {
        Span& span = spans_[static_cast<std::size_t>(level)];
        if (time >= span.close || time < span.open)
            (void)plan_[level].interval->locate(time, span);  // neither periods nor months have holes
        const TimeNs open = span.open;
        NewestBar* const newest = newest_bars_[static_cast<std::size_t>(level)].data();
        std::uint32_t* const to =
            openings_.data() + static_cast<std::size_t>(level) * (BLOCK_ROWS_MAX + 1);
        std::size_t found = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint32_t place = from[i];
            NewestBar& bar = newest[place];
            if (bar.count == 0) [[unlikely]]
                first_opens_[static_cast<std::size_t>(level)][place] = open;
            const bool opens = open != bar.open;
            bar.open = open;
            bar.count += opens ? 1 : 0;
            to[found] = place;  // in place for the base: never ahead of what is read
            found += opens ? 1 : 0;
        }
        if (found == 0) return;
        for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling)
            count_cell(feed, time, to, found);
    }

    const RollupLevel* plan_;
    std::size_t levels_;
    FixedGrid base_;
    std::uint64_t period_;  // of the base
    std::vector<Hot> hot_;
    // By level, then symbol: all that a cell asks of one level lies together.
    std::vector<std::vector<TimeNs>> first_opens_;
    std::vector<std::vector<NewestBar>> newest_bars_;
    // By level: the symbols that open a bar, and a place to write in vain.
    std::vector<std::uint32_t> openings_;
    std::vector<Span> spans_;  // by level: the newest
};

}  // namespace klineagg::detail
