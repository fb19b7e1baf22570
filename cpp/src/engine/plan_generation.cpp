#include "klineagg/engine/plan_generation.hpp"

#include <algorithm>
#include <string>
#include <tuple>

#include "klineagg/error.hpp"

namespace klineagg::engine {

namespace {

struct Draft {
    RollupPlan::Node node;
    int before;
};

/// The number of an interval, a new one when it was never there.
int output_of(std::vector<Interval>& outputs, const Interval& interval) {
    const auto place = std::find(outputs.begin(), outputs.end(), interval);
    if (place != outputs.end()) return static_cast<int>(place - outputs.begin());
    outputs.push_back(interval);
    return static_cast<int>(outputs.size()) - 1;
}

/// Levels without output that feed nobody go, and what only fed them.
void prune(std::vector<Draft>& drafts) {
    for (std::size_t i = drafts.size(); i-- > 1;) {
        const int level = static_cast<int>(i);
        const bool feeds = std::any_of(drafts.begin(), drafts.end(), [level](const Draft& other) {
            return other.node.source == level;
        });
        if (drafts[i].node.output != HIDDEN_LEVEL || feeds) continue;
        drafts.erase(drafts.begin() + level);
        for (Draft& other : drafts)
            if (other.node.source > level) --other.node.source;
        i = drafts.size();  // what fed it may be in a place behind it
    }
}

/// Puts a finer base below; the level that was it is fed by the new one.
void put_base(std::vector<Draft>& drafts, const Interval& base, int output) {
    for (Draft& draft : drafts) ++draft.node.source;  // NO_LEVEL becomes the base
    static_assert(NO_LEVEL == -1);
    drafts.insert(drafts.begin(), {{base, output, NO_LEVEL}, NO_LEVEL});
}

int coarsest_source(const std::vector<Draft>& drafts, const Interval& interval) {
    int source = NO_LEVEL;
    DurationNs period = 0;
    for (std::size_t i = 0; i < drafts.size(); ++i) {
        const Interval& candidate = drafts[i].node.interval;
        if (candidate.kind() != IntervalKind::fixed || !candidate.refines(interval)) continue;
        if (source != NO_LEVEL && candidate.period() <= period) continue;
        source = static_cast<int>(i);
        period = candidate.period();
    }
    return source;
}

/// The interval itself when it refines the base that there is, else a grid that refines both.
bool is_base(const Interval& interval, const Interval& base) {
    return interval.kind() == IntervalKind::fixed && interval.refines(base);
}

void add(std::vector<Draft>& drafts, const Interval& interval, int output) {
    for (Draft& draft : drafts) {
        if (draft.node.output == HIDDEN_LEVEL && draft.node.interval.same_spans(interval)) {
            draft.node.output = output;  // it went some time ago, and has gone on unseen
            return;
        }
    }
    const int source = coarsest_source(drafts, interval);
    if (source != NO_LEVEL) {
        drafts.push_back({{interval, output, source}, NO_LEVEL});
        return;
    }
    const Interval& base = drafts.front().node.interval;
    if (is_base(interval, base)) {
        put_base(drafts, interval, output);
        return;
    }
    // What a plan of both would be based on.
    const RollupPlan both({base, interval});
    put_base(drafts, both.nodes().front().interval, HIDDEN_LEVEL);
    drafts.push_back({{interval, output, 0}, NO_LEVEL});
}

}  // namespace

PlanGeneration::PlanGeneration(RollupPlan made, AggregatorOptions chosen,
                               std::vector<Interval> names)
    : plan(std::move(made)), options(chosen), outputs(std::move(names)) {
    for (const RollupPlan::Node& node : plan.nodes()) sources.push_back(node.source);
}

std::vector<int> PlanGeneration::live_outputs() const {
    std::vector<int> live;
    for (const RollupLevel& level : plan.levels())
        if (level.output != HIDDEN_LEVEL) live.push_back(level.output);
    std::sort(live.begin(), live.end());
    return live;
}

std::vector<Interval> PlanGeneration::live_intervals() const {
    std::vector<Interval> live;
    for (const int output : live_outputs())
        live.push_back(outputs[static_cast<std::size_t>(output)]);
    return live;
}

PlanGeneration first_generation(RollupPlan plan, const AggregatorOptions& options) {
    std::vector<const Interval*> by_output(plan.output_count(), nullptr);
    for (const RollupLevel& level : plan.levels()) {
        if (level.output != HIDDEN_LEVEL)
            by_output[static_cast<std::size_t>(level.output)] = level.interval;
    }
    std::vector<Interval> outputs;
    for (const Interval* interval : by_output) outputs.push_back(*interval);
    return {std::move(plan), options, std::move(outputs)};
}

PlanGeneration renumbered(const PlanGeneration& from, const std::vector<Interval>& outputs) {
    std::vector<RollupPlan::Node> nodes = from.plan.nodes();
    for (RollupPlan::Node& node : nodes) {
        if (node.output == HIDDEN_LEVEL) continue;
        const Interval& interval = from.outputs[static_cast<std::size_t>(node.output)];
        const auto place = std::find(outputs.begin(), outputs.end(), interval);
        node.output = static_cast<int>(place - outputs.begin());
    }
    return {RollupPlan(nodes, outputs.size()), from.options, outputs};
}

PlanGeneration next_generation(const PlanGeneration& from, const std::vector<Interval>& intervals,
                               const AggregatorOptions& options) {
    (void)RollupPlan(intervals);  // refuses what a new engine refuses
    std::vector<Interval> outputs = from.outputs;
    std::vector<Draft> drafts;
    for (const RollupPlan::Node& node : from.plan.nodes())
        drafts.push_back({node, static_cast<int>(drafts.size())});
    std::vector<bool> there(outputs.size(), false);
    std::vector<Interval> coming;
    for (const Interval& interval : intervals) {
        const auto place = std::find_if(drafts.begin(), drafts.end(), [&](const Draft& draft) {
            return draft.node.output != HIDDEN_LEVEL &&
                   outputs[static_cast<std::size_t>(draft.node.output)] == interval;
        });
        if (place == drafts.end()) coming.push_back(interval);
        else there[static_cast<std::size_t>(place->node.output)] = true;
    }
    bool is_same = coming.empty();
    for (Draft& draft : drafts) {
        if (draft.node.output == HIDDEN_LEVEL || there[static_cast<std::size_t>(draft.node.output)])
            continue;
        draft.node.output = HIDDEN_LEVEL;
        is_same = false;
    }
    // With the same intervals it is the same tree: an engine that goes on has that of a checkpoint.
    if (!is_same) prune(drafts);
    // Finer ones first: they may feed the others, and of one grid only fixed ones may. An engine
    // that follows its log is told of them in another order, and has to have the same tree.
    std::sort(coming.begin(), coming.end(), [](const Interval& a, const Interval& b) {
        const auto key = [](const Interval& each) {
            return std::tuple(each.grid().period, each.kind() != IntervalKind::fixed, each.name());
        };
        return key(a) < key(b);
    });
    for (const Interval& interval : coming) add(drafts, interval, output_of(outputs, interval));
    if (drafts.size() > INTERVALS_MAX + 1 || outputs.size() > 30'000)
        throw Error(ErrorCode::invalid_interval, "too many intervals came and went");
    std::vector<RollupPlan::Node> nodes;
    for (const Draft& draft : drafts) nodes.push_back(draft.node);
    PlanGeneration next(RollupPlan(nodes, outputs.size()), options, outputs);
    for (const Draft& draft : drafts) next.levels_before.push_back(draft.before);
    next.has_new_base = next.levels_before.front() == NO_LEVEL;
    next.number = from.number + 1;
    return next;
}

PlanGeneration extended_generation(const PlanGeneration& from,
                                   const std::vector<Interval>& tables) {
    std::vector<Interval> outputs = from.outputs;
    for (Interval& output : outputs) {
        for (const Interval& table : tables) {
            const bool both = output.kind() == IntervalKind::table && table.kind() == output.kind();
            if (both && table.name() == output.name()) output = table;
        }
    }
    std::vector<RollupPlan::Node> nodes = from.plan.nodes();
    std::vector<int> levels;
    for (RollupPlan::Node& node : nodes) {
        levels.push_back(static_cast<int>(levels.size()));
        if (node.output == HIDDEN_LEVEL || node.interval.kind() != IntervalKind::table) continue;
        node.interval = outputs[static_cast<std::size_t>(node.output)];
        const Interval& source = nodes[static_cast<std::size_t>(node.source)].interval;
        if (source.refines(node.interval)) continue;
        throw Error(ErrorCode::invalid_interval,
                    "the longer table of '" + node.interval.name() + "' leaves the grid of '" +
                        source.name() + "', which its bars are made on",
                    {{"interval", node.interval.name()}});
    }
    PlanGeneration next(RollupPlan(nodes, outputs.size()), from.options, outputs);
    next.levels_before = std::move(levels);
    next.number = from.number + 1;
    return next;
}

}  // namespace klineagg::engine
