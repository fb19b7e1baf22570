#include "klineagg/rollup.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include "klineagg/error.hpp"

namespace klineagg {

namespace {

void check(const std::vector<Interval>& intervals) {
    if (intervals.empty()) {
        throw Error(ErrorCode::invalid_interval, "no interval was given");
    }
    if (intervals.size() > INTERVALS_MAX) {
        throw Error(ErrorCode::invalid_interval,
                    std::to_string(intervals.size()) + " intervals were given, the limit is " +
                        std::to_string(INTERVALS_MAX));
    }
    for (std::size_t i = 0; i < intervals.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            // Equal spans under two names are no mistake: hours of two time zones are.
            if (intervals[i].name() != intervals[j].name()) continue;
            throw Error(ErrorCode::duplicate_interval,
                        "the interval '" + intervals[i].name() + "' is given twice",
                        {{"interval", intervals[i].name()}});
        }
    }
}

/// The coarsest grid on which every boundary of every interval lies.
Interval common_grid(const std::vector<Interval>& intervals) {
    const Interval::Grid first = intervals.front().grid();
    DurationNs period = first.period;
    for (const Interval& interval : intervals) {
        const Interval::Grid grid = interval.grid();
        period = std::gcd(period, grid.period);
        const DurationNs shift = grid.phase - first.phase;
        if (shift != 0) period = std::gcd(period, shift < 0 ? -shift : shift);
    }
    const DurationNs phase = ((first.phase % period) + period) % period;
    return Interval::fixed("base", period, phase);
}

bool is_fixed(const Interval& interval) { return interval.kind() == IntervalKind::fixed; }

}  // namespace

RollupPlan::RollupPlan(const std::vector<Interval>& intervals)
    : intervals_(intervals), output_count_(intervals.size()) {
    check(intervals);
    std::vector<int> outputs(intervals.size());
    std::iota(outputs.begin(), outputs.end(), 0);
    const auto base =
        std::find_if(intervals.begin(), intervals.end(), [&](const Interval& candidate) {
            return is_fixed(candidate) &&
                   std::all_of(intervals.begin(), intervals.end(), [&](const Interval& interval) {
                       return candidate.refines(interval);
                   });
        });
    if (base == intervals.end()) {
        intervals_.insert(intervals_.begin(), common_grid(intervals));
        outputs.insert(outputs.begin(), HIDDEN_LEVEL);
    } else {
        const auto place = base - intervals.begin();
        std::rotate(intervals_.begin(), intervals_.begin() + place, intervals_.begin() + place + 1);
        std::rotate(outputs.begin(), outputs.begin() + place, outputs.begin() + place + 1);
    }
    for (std::size_t level = 0; level < intervals_.size(); ++level) {
        const Interval& interval = intervals_[level];
        levels_.push_back({&interval, is_fixed(interval) ? interval.period() : 0, outputs[level],
                           NO_LEVEL, NO_LEVEL});
    }
    for (std::size_t level = 1; level < levels_.size(); ++level) {
        std::size_t source = 0;
        for (std::size_t candidate = 1; candidate < levels_.size(); ++candidate) {
            // Of two levels with equal spans the earlier one feeds the later, never both each other.
            const bool finer = levels_[candidate].period_ns != levels_[level].period_ns ||
                               candidate < level;
            if (candidate != level && finer &&
                levels_[candidate].period_ns > levels_[source].period_ns &&
                intervals_[candidate].refines(intervals_[level])) {
                source = candidate;
            }
        }
        levels_[level].sibling = levels_[source].first_feed;
        levels_[source].first_feed = static_cast<int>(level);
    }
}

RollupPlan::RollupPlan(const std::vector<Node>& nodes, std::size_t output_count)
    : output_count_(output_count) {
    intervals_.reserve(nodes.size());
    for (const Node& node : nodes) intervals_.push_back(node.interval);
    for (std::size_t level = 0; level < nodes.size(); ++level) {
        const Interval& interval = intervals_[level];
        levels_.push_back({&interval, is_fixed(interval) ? interval.period() : 0,
                           nodes[level].output, NO_LEVEL, NO_LEVEL});
    }
    for (std::size_t level = 0; level < nodes.size(); ++level) {
        if (nodes[level].source == NO_LEVEL) continue;
        RollupLevel& source = levels_.at(static_cast<std::size_t>(nodes[level].source));
        levels_[level].sibling = source.first_feed;
        source.first_feed = static_cast<int>(level);
    }
}

std::vector<RollupPlan::Node> RollupPlan::nodes() const {
    std::vector<Node> nodes;
    for (std::size_t level = 0; level < levels_.size(); ++level)
        nodes.push_back({intervals_[level], levels_[level].output, NO_LEVEL});
    for (std::size_t level = 0; level < levels_.size(); ++level) {
        for (int feed = levels_[level].first_feed; feed != NO_LEVEL;
             feed = levels_[static_cast<std::size_t>(feed)].sibling)
            nodes[static_cast<std::size_t>(feed)].source = static_cast<int>(level);
    }
    return nodes;
}

void RollupPlan::replace_tables(const std::vector<Interval>& intervals) {
    std::vector<Interval> next = intervals_;
    for (std::size_t source = 0; source < levels_.size(); ++source) {
        for (int feed = levels_[source].first_feed; feed != NO_LEVEL;
             feed = levels_[static_cast<std::size_t>(feed)].sibling) {
            const auto level = static_cast<std::size_t>(feed);
            const Interval& table = intervals.at(static_cast<std::size_t>(levels_[level].output));
            if (table.kind() != IntervalKind::table) continue;
            // Bars of the level that feeds it would straddle its boundaries.
            if (!intervals_[source].refines(table)) {
                throw Error(ErrorCode::invalid_interval,
                            "the longer table of '" + table.name() + "' leaves the grid of '" +
                                intervals_[source].name() + "', which it is made from",
                            {{"interval", table.name()}});
            }
            next[level] = table;
        }
    }
    for (std::size_t level = 0; level < levels_.size(); ++level) intervals_[level] = next[level];
}

}  // namespace klineagg
