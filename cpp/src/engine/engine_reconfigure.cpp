// Changes of the configuration while trades flow.
#include "klineagg/engine.hpp"

#include "control.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "handover.hpp"
#include "option_error.hpp"
#include "pause.hpp"

namespace klineagg {

using engine::PlanGeneration;
using engine::Worker;
using engine::throw_option;

namespace {

struct Follow final : engine::Command {
    Follow() { runs_halted = false; }
    void run(Worker& worker) override { worker.follow(*generation, left); }
    const PlanGeneration* generation = nullptr;
    std::atomic<int> left{0};
};

const char* name_of(engine::LanePolicy policy) {
    switch (policy) {
        case engine::LanePolicy::block: return "block";
        case engine::LanePolicy::drop_newest: return "drop_newest";
        case engine::LanePolicy::drop_oldest: return "drop_oldest";
    }
    return "?";
}
const char* name_of(GapMode gaps) {
    switch (gaps) {
        case GapMode::none: return "none";
        case GapMode::runs: return "runs";
        case GapMode::flat: return "flat";
    }
    return "?";
}
template <class Number>
std::string name_of(Number number) {
    return std::to_string(number);
}

template <class Value>
void tell(ConfigReport& report, const char* option, const Value& before,
          const std::optional<Value>& wanted) {
    if (wanted && *wanted != before)
        report.changed.push_back({option, name_of(before), name_of(*wanted)});
}

void check_duration(const char* option, const std::optional<DurationNs>& value) {
    if (value && *value < 0)
        throw_option(option, std::string(option) + " = " + std::to_string(*value) +
                                 " ns is negative");
}

void check(const ConfigChange& change) {
    check_duration("lateness", change.lateness_ns);
    check_duration("amend_horizon", change.amend_horizon_ns);
    check_duration("close_delay", change.close_delay_ns);
    if (change.lease_ns && *change.lease_ns <= 0)
        throw_option("lease", "a lease is longer than nothing");
    const std::size_t least = 2 * Producer::STAGE_ROWS;
    if (change.lane_capacity &&
        (*change.lane_capacity < least || *change.lane_capacity > engine::LANE_CAPACITY_MAX))
        throw_option("lane_capacity", "a lane that is changed while it is used has a capacity of " +
                                          std::to_string(least) + " ... " +
                                          std::to_string(engine::LANE_CAPACITY_MAX) + " rows");
}

void note_intervals(ConfigReport& report, const PlanGeneration& now, const PlanGeneration& next) {
    const std::vector<int> before = now.live_outputs();
    const std::vector<int> after = next.live_outputs();
    std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                        std::back_inserter(report.added));
    std::set_difference(before.begin(), before.end(), after.begin(), after.end(),
                        std::back_inserter(report.removed));
    report.has_new_base = next.has_new_base;
}

}  // namespace

void Engine::replace_lanes(std::size_t capacity, DurationNs timeout_ns) {
    auto next = std::make_shared<engine::Handover>();
    engine::Transfer& transfer = next->transfer;
    transfer.parts.resize(workers_.size());
    std::vector<Producer::Lanes> lanes(producers_.size());
    for (std::size_t place = 0; place < workers_.size(); ++place) {
        engine::Transfer::Part& part = transfer.parts[place];
        part.worker = workers_[place].get();
        part.changes_lanes = true;
        for (std::size_t i = 0; i < producers_.size(); ++i) {
            lanes[i].intakes.push_back(producers_[i]->make_intake(place, capacity));
            lanes[i].workers.push_back(part.worker);
            part.lanes.push_back(lanes[i].intakes.back());
        }
    }
    transfer.prepare();
    handover_ = std::move(next);
    flip(timeout_ns, [&] {
        for (std::size_t i = 0; i < producers_.size(); ++i) producers_[i]->install(lanes[i]);
    });
    core_->options.lane_capacity = capacity;
    hand_over(workers_);
}

void Engine::set_policies(engine::LanePolicy policy) {
    const engine::LanePolicy before = core_->options.policy;
    const auto set = [this](engine::LanePolicy to) {
        for (const auto& producer : producers_)
            for (const auto& intake : producer->intakes()) intake->lane.set_policy(to);
    };
    try {
        set(policy);
    } catch (...) {
        set(before);  // whose memory is there
        throw;
    }
    core_->options.policy = policy;
}

void Engine::follow(const PlanGeneration& generation) {
    core_->generation.store(&generation);
    core_->slots.follow(generation);
    const auto command = std::make_shared<Follow>();
    command->generation = &generation;
    if (is_journaled()) {
        engine::RulesRecord rules{generation.live_intervals(), generation.options.lateness_ns,
                                  generation.options.amend_horizon_ns,
                                  static_cast<std::uint8_t>(generation.options.gaps), {}};
        std::vector<std::byte> record;
        engine::ByteWriter to(record);
        engine::put_record(to, rules);
        enter(*command, std::move(record));
    }
    command->left.store(static_cast<int>(workers_.size()));
    following_ = command;  // as long as a worker may look at it, after a failure too
    cut(*command);
    engine::Pause pause;
    while (command->left.load(std::memory_order_acquire) > 0) {
        core_->failure.check();
        if (state_.load() == EngineState::running) pause();
        else for (const auto& worker : workers_) (void)worker->advance_follow();
    }
}

void Engine::replace_tables(const std::vector<Interval>& tables, Span reach) {
    const Control lock(*this);
    core_->failure.check();
    if (state_.load() == EngineState::stopped)
        throw Error(ErrorCode::engine_state, "the engine has stopped");
    if (!tables.empty()) {
        auto next = std::make_unique<const PlanGeneration>(
            engine::extended_generation(core_->now(), tables));
        core_->generations.push_back(std::move(next));
        follow(*core_->generations.back());
    }
    core_->reach_open.store(reach.open);
    core_->reach_close.store(reach.close);
}

ConfigReport Engine::reconfigure(const ConfigChange& change, DurationNs timeout_ns) {
    const Control lock(*this);
    core_->failure.check();
    if (state_.load() == EngineState::stopped)
        throw Error(ErrorCode::engine_state, "the engine has stopped");
    check(change);
    check_journal();
    const PlanGeneration& now = core_->now();
    EngineOptions& options = core_->options;
    ConfigReport report;
    tell(report, "lateness_ns", now.options.lateness_ns, change.lateness_ns);
    tell(report, "amend_horizon_ns", now.options.amend_horizon_ns, change.amend_horizon_ns);
    tell(report, "gaps", now.options.gaps, change.gaps);
    const bool new_rules = !report.changed.empty();
    tell(report, "close_delay_ns", core_->close_delay_ns.load(), change.close_delay_ns);
    tell(report, "lease_ns", options.lease_ns, change.lease_ns);
    tell(report, "policy", options.policy, change.policy);
    tell(report, "lane_capacity", options.lane_capacity, change.lane_capacity);

    AggregatorOptions rules = now.options;
    rules.lateness_ns = change.lateness_ns.value_or(rules.lateness_ns);
    rules.amend_horizon_ns = change.amend_horizon_ns.value_or(rules.amend_horizon_ns);
    rules.gaps = change.gaps.value_or(rules.gaps);
    auto next = std::make_unique<const PlanGeneration>(engine::next_generation(
        now, change.intervals ? *change.intervals : now.live_intervals(), rules));
    note_intervals(report, now, *next);
    const bool new_plan = new_rules || !report.added.empty() || !report.removed.empty();
    core_->generations.reserve(core_->generations.size() + 1);

    // What can fail comes first, and is undone when what comes behind it fails.
    const engine::LanePolicy policy_before = options.policy;
    if (change.policy) set_policies(*change.policy);
    try {
        if (change.lane_capacity && *change.lane_capacity != options.lane_capacity)
            replace_lanes(*change.lane_capacity, timeout_ns);
    } catch (...) {
        set_policies(policy_before);
        throw;
    }
    options.lease_ns = change.lease_ns.value_or(options.lease_ns);
    core_->close_delay_ns.store(change.close_delay_ns.value_or(core_->close_delay_ns.load()));
    if (new_plan) {
        core_->generations.push_back(std::move(next));
        follow(*core_->generations.back());
    }
    return report;
}

}  // namespace klineagg
