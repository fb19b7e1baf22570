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
/// Level by level: the trades that open a base bar are collected, of these the ones that open a
/// coarser bar, and so on. No step has a branch that depends on the data.
class RowCounter {
public:
    static constexpr std::size_t BLOCK_ROWS_MAX = 2048;

    explicit RowCounter(const RollupPlan& plan)
        : plan_(plan.levels().data()),
          levels_(plan.levels().size()),
          base_(plan.levels()[0].interval->cells()),
          openings_(levels_ * (BLOCK_ROWS_MAX + 1)) {}

    /// A new symbol; its trades follow `newest` (TIME_NONE: any).
    void add_symbol(TimeNs newest) {
        hot_.push_back({TIME_NONE, std::max(newest, TIME_MIN)});
        opened_.resize(opened_.size() + levels_);
    }

    /// Counts rows, at most BLOCK_ROWS_MAX. Returns the first that it does not take: of an
    /// unknown symbol, before the one before it, or out of range.
    template <class Rows>
    std::size_t count(const Rows& rows, SymbolRouter::View router, std::size_t from,
                      std::size_t to) noexcept {
        const FixedGrid base = base_;
        Hot* const symbols = hot_.data();
        Opening* const openings = openings_.data();
        std::size_t found = 0;
        std::size_t row = from;
        for (; row < to; ++row) {
            const std::int32_t place = router.find(rows.symbol(row));
            if (place < 0) [[unlikely]] break;
            Hot& symbol = symbols[place];
            const TimeNs time = rows.time(row);
            if (time < symbol.last || time >= TIME_MAX) [[unlikely]] break;
            symbol.last = time;
            const TimeNs open = base.open_of(time);
            openings[found] = {time, static_cast<std::size_t>(place)};
            found += open != symbol.base_open ? 1 : 0;
            symbol.base_open = open;
        }
        count_level(0, openings, found);
        return row;
    }

    /// Counts a trade that is in order and in range.
    void count_one(std::size_t place, TimeNs time) noexcept {
        Hot& symbol = hot_[place];
        symbol.last = time;
        symbol.base_open = base_.open_of(time);
        const Opening opening{time, place};
        count_level(0, &opening, 1);
    }

    [[nodiscard]] TimeNs newest(std::size_t place) const noexcept { return hot_[place].last; }
    [[nodiscard]] const OpenedBars& opened(std::size_t place, int level) const noexcept {
        return opened_[place * levels_ + static_cast<std::size_t>(level)];
    }

private:
    struct Hot {
        TimeNs base_open;
        TimeNs last;
    };
    /// A trade that opens a bar.
    struct Opening {
        TimeNs time;
        std::size_t place;
    };

    /// Of the trades that open a bar of a finer level: counts those that open one of this level.
    void count_level(int level, const Opening* from, std::size_t count) noexcept {
        const Interval& interval = *plan_[level].interval;
        const bool fixed = plan_[level].period_ns != 0;
        const FixedGrid cells = interval.cells();
        OpenedBars* const opened = opened_.data() + level;
        Opening* const to = openings_.data() + static_cast<std::size_t>(level) * (BLOCK_ROWS_MAX + 1);
        std::size_t found = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Opening opening = from[i];
            OpenedBars& bars = opened[opening.place * levels_];
            TimeNs open;
            if (fixed) {
                open = cells.open_of(opening.time);
            } else {
                Span span;
                (void)interval.locate(opening.time, span);  // months have no holes
                open = span.open;
            }
            const bool opens = open != bars.last_open;
            bars.first_open = bars.count == 0 ? open : bars.first_open;
            bars.last_open = open;
            bars.count += opens ? 1 : 0;
            to[found] = opening;  // in place for the base: never ahead of what is read
            found += opens ? 1 : 0;
        }
        for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
            count_level(feed, to, found);
        }
    }

    const RollupLevel* plan_;
    std::size_t levels_;
    FixedGrid base_;
    std::vector<Hot> hot_;
    std::vector<OpenedBars> opened_;
    std::vector<Opening> openings_;  // by level: BLOCK_ROWS_MAX and a place to write in vain
};

}  // namespace klineagg::detail
