// Which bar is rolled up from which: the tree of intervals over one base.
#pragma once

#include <cstddef>
#include <vector>

#include "klineagg/interval.hpp"

namespace klineagg {

inline constexpr int HIDDEN_LEVEL = -1;
inline constexpr std::size_t INTERVALS_MAX = 64;

inline constexpr int NO_LEVEL = -1;

/// A node of the tree, small because every closed bar reads it. The levels that a level feeds
/// form a list: `first_feed`, then `sibling` of each.
struct RollupLevel {
    const Interval* interval = nullptr;
    DurationNs period_ns = 0;  // 0: not a fixed one
    int output = HIDDEN_LEVEL;  // place among the configured intervals
    int first_feed = NO_LEVEL;
    int sibling = NO_LEVEL;
};

/// Level 0 is the base: the configured interval that refines all others, else a hidden grid
/// that does. Every other level is fed by the coarsest level that refines it. A trade touches
/// the base only, so intervals cost nothing until a bar closes, and adding or removing one
/// changes no other one's bars.
class RollupPlan {
public:
    /// A level, and the one that feeds it (NO_LEVEL: it is the base, and the first).
    struct Node {
        Interval interval;
        int output;
        int source;
    };

    /// Throws Error(invalid_interval) for none or too many, Error(duplicate_interval).
    explicit RollupPlan(const std::vector<Interval>& intervals);

    /// A tree as it is given: every source refines what it feeds. Outputs are below
    /// `output_count`, and some of them may have no level.
    RollupPlan(const std::vector<Node>& nodes, std::size_t output_count);
    [[nodiscard]] std::vector<Node> nodes() const;

    RollupPlan(RollupPlan&&) noexcept = default;  // levels point into intervals_
    RollupPlan& operator=(RollupPlan&&) noexcept = default;

    [[nodiscard]] const std::vector<RollupLevel>& levels() const noexcept { return levels_; }
    [[nodiscard]] std::size_t output_count() const noexcept { return output_count_; }

    /// Puts longer tables in the place of those it was made with (time zones in a stream that
    /// goes on). Throws Error(invalid_interval) when the base does not refine a new one.
    void replace_tables(const std::vector<Interval>& intervals);

private:
    std::vector<Interval> intervals_;  // by level
    std::vector<RollupLevel> levels_;
    std::size_t output_count_;
};

}  // namespace klineagg
