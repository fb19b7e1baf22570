#include "klineagg/detail/row_counter.hpp"

#include <bit>
#include <numeric>
#include <utility>

namespace klineagg::detail {

namespace {

constexpr std::int64_t CELLS_MAX = 64;
constexpr DurationNs WINDOW_MAX = NS_PER_DAY;  // of several cells

/// How many base cells a window has: whole bars of as many levels as it can have.
std::int64_t cells_of_window(const RollupPlan& plan) {
    const DurationNs base = plan.levels()[0].interval->period();
    std::int64_t cells = 1;
    for (const RollupLevel& level : plan.levels()) {
        if (level.interval->kind() != IntervalKind::fixed) continue;
        const std::int64_t both = std::lcm(cells, level.interval->period() / base);
        if (both <= CELLS_MAX && both * base <= WINDOW_MAX) cells = both;
    }
    const std::int64_t most = std::min(CELLS_MAX, std::max<std::int64_t>(WINDOW_MAX / base, 1));
    return cells * (most / cells);
}

/// One bit for each group of cells that has any, at its first cell.
std::uint64_t groups_with_any(std::uint64_t cells, unsigned size, std::uint64_t leaders) noexcept {
    unsigned seen = 1;
    for (; 2 * seen <= size; seen *= 2) cells |= cells >> seen;
    if (seen < size) cells |= cells >> (size - seen);
    return cells & leaders;
}

}  // namespace

RowCounter::RowCounter(const RollupPlan& plan)
    : plan_(plan.levels().data()),
      levels_(plan.levels().size()),
      base_(plan.levels()[0].interval->cells()),
      period_(static_cast<std::uint64_t>(plan.levels()[0].interval->period())),
      spans_(levels_, Span{TIME_NONE, TIME_NONE}) {
    const std::int64_t cells = cells_of_window(plan);
    const Interval& base = *plan.levels()[0].interval;
    const DurationNs window = cells * base.period();
    windows_ = FixedGrid(window, base.phase());
    std::vector<bool> is_inner(levels_, false);
    for (std::size_t level = 0; level < levels_; ++level) {
        const Interval& interval = *plan_[level].interval;
        if (interval.kind() != IntervalKind::fixed || window % interval.period() != 0) continue;
        const TimeNs any = windows_.open_of(0);
        if (interval.cells().open_of(any) != any) continue;
        is_inner[level] = true;
        const auto size = static_cast<unsigned>(interval.period() / base.period());
        std::uint64_t leaders = 0;
        for (unsigned cell = 0; cell < cells; cell += size) leaders |= std::uint64_t{1} << cell;
        inner_.push_back({level, size, leaders});
    }
    // What divides a window is fed by what does: its bars begin where those of its source do.
    for (std::size_t level = 0; level < levels_; ++level) {
        if (!is_inner[level]) continue;
        for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling)
            if (!is_inner[static_cast<std::size_t>(feed)]) outer_.push_back(feed);
    }
}

void RowCounter::add_symbol(TimeNs newest) {
    symbols_.push_back({TIME_NONE, 0, std::max(newest, TIME_MIN), TIME_NONE});
    bars_.resize(bars_.size() + levels_, Bars{TIME_NONE, 0});
}

void RowCounter::count_one(std::size_t place, TimeNs time) {
    Symbol& symbol = symbols_[place];
    const TimeNs open = base_.open_of(time);
    const TimeNs window = windows_.open_of(open);
    symbol.last = time;
    if (symbol.window != window) move_to(window, place);
    symbol.cells |= cell_in(window, open);
}

void RowCounter::finish() {
    for (std::size_t place = 0; place < symbols_.size(); ++place) count_cells(place);
}

OpenedBars RowCounter::opened(std::size_t place, int level) const noexcept {
    const std::int64_t count = bars_[place * levels_ + static_cast<std::size_t>(level)].count;
    if (count == 0) return {};
    Span first, last;  // neither periods nor months have holes
    (void)plan_[level].interval->locate(symbols_[place].first_open, first);
    (void)plan_[level].interval->locate(base_.open_of(symbols_[place].last), last);
    return {first.open, last.open, count};
}

void RowCounter::move_to(TimeNs window, std::size_t place) {
    count_cells(place);
    symbols_[place].window = window;
}

void RowCounter::count_cells(std::size_t place) {
    Symbol& symbol = symbols_[place];
    const std::uint64_t cells = std::exchange(symbol.cells, 0);
    if (cells == 0) return;
    if (symbol.first_open == TIME_NONE)
        symbol.first_open = open_of_cell(symbol.window, std::countr_zero(cells));
    Bars* const bars = bars_.data() + place * levels_;
    for (const InnerLevel& inner : inner_)
        bars[inner.level].count +=
            std::popcount(groups_with_any(cells, inner.cells, inner.leaders));
    for (const int level : outer_) count_outer(level, symbol.window, cells, bars);
}

/// `cells`: those of a window in which a bar of the level that feeds this one opened, or may have.
void RowCounter::count_outer(int level, TimeNs window, std::uint64_t cells, Bars* bars) {
    Span& span = spans_[static_cast<std::size_t>(level)];
    Bars& own = bars[level];
    std::uint64_t opened = 0;
    for (std::uint64_t left = cells; left != 0; left &= left - 1) {
        const TimeNs time = open_of_cell(window, std::countr_zero(left));
        if (time >= span.close || time < span.open) (void)plan_[level].interval->locate(time, span);
        if (span.open != own.newest_open) {
            own.newest_open = span.open;
            ++own.count;
            opened |= left & (~left + 1);
        }
        // Nearly always all of the window lies in one bar.
        if (open_of_cell(window, 63 - std::countl_zero(left)) < span.close) break;
    }
    if (opened == 0) return;
    for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling)
        count_outer(feed, window, opened, bars);
}

}  // namespace klineagg::detail
