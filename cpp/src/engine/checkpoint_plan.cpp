// The intervals and rules of an engine, as they stand in a checkpoint.
#include <algorithm>
#include <limits>
#include <utility>

#include "klineagg/engine/checkpoint_records.hpp"
#include "klineagg/engine/checkpoint_slot.hpp"

namespace klineagg::engine {

namespace {

constexpr std::size_t LEVELS_MAX = INTERVALS_MAX + 1;

/// Bars would straddle its boundaries: a calendar of that name that has changed since.
[[noreturn]] void refuse(const Interval& table) {
    throw Error(ErrorCode::checkpoint_mismatch,
                "the boundaries of '" + table.name() + "' are others than when the checkpoint was made",
                {{"interval", table.name()}});
}

/// Whether each level is made from one that refines it, down to the base.
bool is_tree(const std::vector<RollupPlan::Node>& nodes) {
    for (std::size_t level = 0; level < nodes.size(); ++level) {
        std::size_t at = level;
        for (std::size_t steps = 0; at != 0; ++steps) {
            const int source = nodes[at].source;
            if (steps > nodes.size() || source < 0 ||
                static_cast<std::size_t>(source) >= nodes.size())
                return false;
            const Interval& finer = nodes[static_cast<std::size_t>(source)].interval;
            const Interval& interval = nodes[at].interval;
            if (finer.kind() != IntervalKind::fixed) return false;
            if (!finer.refines(interval) && !is_unwanted(interval)) {
                if (interval.kind() == IntervalKind::table) refuse(interval);
                return false;
            }
            at = static_cast<std::size_t>(source);
        }
    }
    return nodes.front().source == NO_LEVEL && nodes.front().interval.kind() == IntervalKind::fixed;
}

AggregatorOptions get_rules(ByteReader& from) {
    AggregatorOptions rules;
    const auto late = from.get<std::uint8_t>();
    const auto gaps = from.get<std::uint8_t>();
    from.check(late == static_cast<std::uint8_t>(LatePolicy::drop) ||
                   late == static_cast<std::uint8_t>(LatePolicy::amend),
               "an unknown rule for late trades");
    from.check(gaps <= static_cast<std::uint8_t>(GapMode::flat), "an unknown rule for gaps");
    rules.late = static_cast<LatePolicy>(late);
    rules.gaps = static_cast<GapMode>(gaps);
    rules.lateness_ns = from.get<DurationNs>();
    rules.amend_horizon_ns = from.get<DurationNs>();
    constexpr DurationNs LONGEST = TIME_MAX;
    from.check(rules.lateness_ns >= 0 && rules.lateness_ns <= LONGEST, "a lateness out of range");
    from.check(rules.amend_horizon_ns >= 0 && (rules.amend_horizon_ns <= LONGEST ||
                                               rules.amend_horizon_ns == HORIZON_UNLIMITED),
               "a horizon out of range");
    return rules;
}

}  // namespace

void put_interval(ByteWriter& to, const Interval& interval) {
    to.put_text(interval.name());
    to.put(interval.kind());
    if (interval.kind() == IntervalKind::table) return;
    to.put(interval.period());
    to.put(interval.phase());
    to.put(interval.month_phase());
}

Interval get_interval(ByteReader& from, const std::vector<Interval>& tables) {
    const std::string name = from.get_text(INTERVAL_NAME_MAX);
    const auto kind = from.get<std::uint8_t>();
    from.check(kind <= static_cast<std::uint8_t>(IntervalKind::table), "an unknown kind of interval");
    if (kind == static_cast<std::uint8_t>(IntervalKind::table)) {
        for (const Interval& table : tables)
            if (table.kind() == IntervalKind::table && table.name() == name) return table;
        return unwanted_table(name);
    }
    const auto period = from.get<DurationNs>();
    const auto phase = from.get<DurationNs>();
    const auto month_phase = from.get<std::int64_t>();
    try {
        if (kind == static_cast<std::uint8_t>(IntervalKind::fixed))
            return Interval::fixed(name, period, phase);
        return Interval::months(name, period, phase, month_phase);
    } catch (const Error&) {
        from.fail("an interval that there is not");
    }
}

void put_plan(ByteWriter& to, const PlanGeneration& generation) {
    const AggregatorOptions& rules = generation.options;
    to.put(rules.late);
    to.put(rules.gaps);
    to.put(rules.lateness_ns);
    to.put(rules.amend_horizon_ns);
    const std::vector<int> live = generation.live_outputs();
    to.put(static_cast<std::uint32_t>(live.size()));
    for (const int output : live)
        put_interval(to, generation.outputs[static_cast<std::size_t>(output)]);
    const std::vector<RollupPlan::Node> nodes = generation.plan.nodes();
    to.put(static_cast<std::uint32_t>(nodes.size()));
    for (const RollupPlan::Node& node : nodes) {
        const auto place = std::find(live.begin(), live.end(), node.output);
        const bool is_hidden = node.output == HIDDEN_LEVEL;
        to.put(static_cast<std::int32_t>(is_hidden ? HIDDEN_LEVEL : place - live.begin()));
        to.put(static_cast<std::int32_t>(node.source));
        if (is_hidden) put_interval(to, node.interval);
    }
}

PlanGeneration get_plan(ByteReader& from, const std::vector<Interval>& tables) {
    const AggregatorOptions rules = get_rules(from);
    std::vector<Interval> outputs;
    for (std::size_t count = from.get_count(5); count != 0; --count) {
        from.check(outputs.size() < LEVELS_MAX, "too many intervals");
        outputs.push_back(get_interval(from, tables));
    }
    std::vector<RollupPlan::Node> nodes;
    std::vector<bool> seen(outputs.size(), false);
    for (std::size_t count = from.get_count(8); count != 0; --count) {
        from.check(nodes.size() < LEVELS_MAX, "too many levels");
        const auto output = from.get<std::int32_t>();
        const auto source = from.get<std::int32_t>();
        from.check(output >= HIDDEN_LEVEL && output < static_cast<std::int32_t>(outputs.size()),
                   "a level of an unknown interval");
        if (output != HIDDEN_LEVEL) {
            const auto at = static_cast<std::size_t>(output);
            from.check(!seen[at], "two levels of one interval");
            seen[at] = true;
            nodes.push_back({outputs[at], output, source});
        } else {
            nodes.push_back({get_interval(from, tables), output, source});
        }
    }
    from.check(!nodes.empty() && std::find(seen.begin(), seen.end(), false) == seen.end(),
               "intervals without a level");
    from.check(is_tree(nodes), "intervals that do not refine each other");
    const std::size_t count = outputs.size();
    return {RollupPlan(nodes, count), rules, std::move(outputs)};
}

}  // namespace klineagg::engine
