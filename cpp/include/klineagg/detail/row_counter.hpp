// Counts the bars of plain streams: strict order, no gap rows, no seeds, no tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/rollup.hpp"

namespace klineagg::detail {

/// The bars of one symbol and level that a slice opened.
struct OpenedBars {
    TimeNs close_time = TIME_NONE;  // end of the newest one
    TimeNs first_open = TIME_NONE;
    TimeNs last_open = TIME_NONE;
    std::int64_t count = 0;
};

/// Where every span that has a trade is a bar, rows can be counted by the spans that open, which
/// takes a fraction of what running the aggregator over times does. Only how many rows there
/// will be is decided here; what is in them stays the aggregator's alone.
class RowCounter {
public:
    explicit RowCounter(const RollupPlan& plan)
        : plan_(plan.levels().data()), levels_(plan.levels().size()) {}

    /// A new symbol.
    void add_symbol() {
        hot_.push_back({});
        opened_.resize(opened_.size() + levels_);
    }

    /// False when `time` opens a base bar or is out of order; then see add_slow.
    bool try_add(std::size_t place, TimeNs time) noexcept {
        Hot& hot = hot_[place];
        const bool inside = time < hot.base_close && time >= hot.last;
        if (inside) hot.last = time;
        return inside;
    }

    /// False, with nothing changed, when `time` lies before `newest`.
    bool add_slow(std::size_t place, TimeNs time) noexcept {
        Hot& hot = hot_[place];
        if (time < hot.last) return false;
        hot.last = time;
        if (time >= hot.base_close) {
            open(place, 0, time);
            hot.base_close = opened(place, 0).close_time;
        }
        return true;
    }

    [[nodiscard]] TimeNs newest(std::size_t place) const noexcept { return hot_[place].last; }
    [[nodiscard]] const OpenedBars& opened(std::size_t place, int level) const noexcept {
        return opened_[place * levels_ + static_cast<std::size_t>(level)];
    }
    /// Symbols before the slice: order goes on behind this time.
    void start_behind(std::size_t place, TimeNs newest) noexcept { hot_[place].last = newest; }

private:
    struct Hot {
        TimeNs base_close = TIME_NONE;
        TimeNs last = TIME_NONE;
    };

    void open(std::size_t place, int level, TimeNs time) noexcept {
        OpenedBars& bars = opened_[place * levels_ + static_cast<std::size_t>(level)];
        const DurationNs period = plan_[level].period_ns;
        Span span;
        // The next span is the usual one, and a division costs more than two comparisons.
        if (bars.close_time != TIME_NONE && time - bars.close_time < period) {
            span = {bars.close_time, bars.close_time + period};
        } else {
            (void)plan_[level].interval->locate(time, span);  // fixed and months have no holes
        }
        bars.close_time = span.close;
        bars.last_open = span.open;
        if (bars.count++ == 0) bars.first_open = span.open;
        for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
            // A coarser span can begin only where a finer one does.
            const OpenedBars& coarser = opened_[place * levels_ + static_cast<std::size_t>(feed)];
            if (coarser.close_time == TIME_NONE || time >= coarser.close_time)
                open(place, feed, time);
        }
    }

    const RollupLevel* plan_;
    std::size_t levels_;
    std::vector<Hot> hot_;
    std::vector<OpenedBars> opened_;
};

}  // namespace klineagg::detail
