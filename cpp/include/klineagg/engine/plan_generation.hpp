// The intervals and rules by which bars are made, and how they follow from those before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/aggregator.hpp"
#include "klineagg/rollup.hpp"

namespace klineagg::engine {

/// Never changed once it is made, and kept as long as the engine: any slot may still be of it.
///
/// Outputs are numbered in the order in which their intervals came, and a number is never given
/// to another interval, so rows that are on their way stay valid. A tree is changed as little as
/// can be: what one level has taken from another is not taken twice. So an interval that goes
/// but feeds others stays without output; one that comes is a leaf, fed by the coarsest level
/// that refines it; and when the base does not refine it, a finer base is put below.
struct PlanGeneration {
    PlanGeneration(RollupPlan made, AggregatorOptions chosen, std::vector<Interval> names);

    RollupPlan plan;
    AggregatorOptions options;
    std::vector<Interval> outputs;  // by number, those that went included
    std::vector<int> sources;        // by level: which feeds it
    std::vector<int> levels_before;  // by level: which it was in the generation before, or NO_LEVEL
    std::uint32_t number = 0;
    bool has_new_base = false;

    [[nodiscard]] std::vector<int> live_outputs() const;
    [[nodiscard]] std::vector<Interval> live_intervals() const;  // in the same order
};

PlanGeneration first_generation(RollupPlan plan, const AggregatorOptions& options);
/// The same levels and rules, with outputs by the numbers that their intervals have in `outputs`.
PlanGeneration renumbered(const PlanGeneration& from, const std::vector<Interval>& outputs);
/// The generation that follows, with these intervals (those that are in `from` already by name
/// and spans keep their numbers). Throws Error(invalid_interval), Error(duplicate_interval).
PlanGeneration next_generation(const PlanGeneration& from, const std::vector<Interval>& intervals,
                               const AggregatorOptions& options);
/// The generation that follows, of the same tree, with longer tables in the place of those that
/// bear their names, of intervals that went too. Throws Error(invalid_interval) when a table leaves
/// the grid that its bars are made on.
PlanGeneration extended_generation(const PlanGeneration& from, const std::vector<Interval>& tables);

}  // namespace klineagg::engine
