// An engine goes on where another one stood.
#include "control.hpp"
#include "klineagg/engine.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "klineagg/engine/checkpoint.hpp"
#include "klineagg/engine/checkpoint_state.hpp"
#include "klineagg/engine/past_intervals.hpp"
#include "klineagg/engine/replan.hpp"

namespace klineagg {

using engine::Checkpoint;
using engine::PlanGeneration;
using engine::SymbolSlot;
using engine::Worker;

namespace {

/// A slot of its own, whose blocks go back to where they came from.
class LooseSlot {
public:
    LooseSlot(const PlanGeneration& plan, std::size_t keep_bars, BlockPool* pool)
        : slot_(plan, 0, keep_bars), pool_(pool) {}
    ~LooseSlot() {
        slot_.aggregator.release();
        slot_.ids.clear(pool_);
    }
    LooseSlot(const LooseSlot&) = delete;
    LooseSlot& operator=(const LooseSlot&) = delete;
    [[nodiscard]] SymbolSlot& slot() noexcept { return slot_; }

private:
    SymbolSlot slot_;
    BlockPool* pool_;
};

/// The number that an output of `from` has in `to`, or HIDDEN_LEVEL.
std::vector<int> outputs_in(const PlanGeneration& from, const PlanGeneration& to) {
    std::vector<int> numbers;
    for (const Interval& interval : from.outputs) {
        const auto place = std::find(to.outputs.begin(), to.outputs.end(), interval);
        numbers.push_back(place == to.outputs.end() ? HIDDEN_LEVEL
                                                    : static_cast<int>(place - to.outputs.begin()));
    }
    return numbers;
}

/// Makes `slot`, which is empty, what `from` is.
void carry_over(SymbolSlot& from, SymbolSlot& slot, const std::vector<int>& outputs,
                const PlanGeneration& generation, BlockPool* pool) {
    slot.joined = from.joined;
    slot.count_trades(from.trades);
    slot.ids = std::move(from.ids);
    slot.begins.assign(generation.outputs.size(), TIME_NONE);
    // It was made ready for the intervals that are wanted, and there may be others before.
    if (!slot.kept.empty()) slot.kept = slot.kept.grown(generation.outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (outputs[i] == HIDDEN_LEVEL) continue;
        slot.begins[static_cast<std::size_t>(outputs[i])] = from.begin_of(static_cast<int>(i));
        from.kept.each(i, [&](engine::BarRow row) {
            row.symbol = slot.symbol;
            row.interval = static_cast<std::int16_t>(outputs[i]);
            slot.kept.put(row);
        });
    }
    slot.aggregator = engine::Replanned::follow(from.aggregator, generation, pool, slot.begins,
                                                TIME_NONE);
    slot.generation = generation.number;
    // The engine before may have been told a start of the coverage, which this one is not.
    const TimeNs start = slot.aggregator.covered_from();
    if (generation.options.coverage_start == TIME_NONE && start != TIME_NONE) slot.joined = start;
}

/// Bars of times for which no boundaries are worked out would be restored and never be seen.
void check_reach(Span times, Span reach) {
    if (times.open >= times.close || (times.open >= reach.open && times.close <= reach.close)) return;
    throw Error(ErrorCode::checkpoint_mismatch,
                "the boundaries of wall clocks are not worked out for times of the checkpoint",
                {{"low_ns", std::to_string(times.open)},
                 {"high_ns", std::to_string(times.close - 1)}});
}

}  // namespace

void Engine::go_on_from(const Checkpoint& checkpoint, const PlanGeneration& generation) {
    for (const auto& worker : workers_) worker->begin_at(checkpoint.head.watermark);
    follow(generation);
    const std::vector<int> outputs = outputs_in(checkpoint.plan, generation);
    for (const Checkpoint::Symbol& symbol : checkpoint.symbols) {
        const engine::Route route = core_->admit(engine::symbol_of(symbol.name));
        Worker& worker = *workers_[route.worker];
        LooseSlot loose(checkpoint.plan, core_->options.keep_bars, worker.blocks());
        checkpoint.read(symbol, loose.slot(), worker.blocks());
        SymbolSlot& slot = core_->slots[route.slot];
        carry_over(loose.slot(), slot, outputs, generation, worker.blocks());
        worker.adopt(slot);
    }
    for (const auto& worker : workers_) worker->show_rows();
}

std::size_t Engine::restore(std::span<const std::byte> given) {
    const Control lock(*this);
    const std::optional<engine::Placed> place = engine::get_placed(given);
    const std::span<const std::byte> bytes = place ? place->checkpoint : given;
    if (is_journaled())
        throw Error(ErrorCode::engine_state,
                    "an engine with a log is given its checkpoint when it is made");
    core_->failure.check();
    std::size_t known = 0;
    core_->routes.each([&](std::int32_t symbol, engine::Route) {
        if (core_->options.last_prices.count(symbol) == 0) ++known;
    });
    if (state_.load() != EngineState::created || known != 0)
        throw Error(ErrorCode::engine_state,
                    "a checkpoint comes before the engine is started and before its symbols");
    const PlanGeneration& now = core_->now();
    const std::vector<Interval> tables = known_tables();  // read by, as long as it is read
    const Checkpoint checkpoint(bytes, tables);
    AggregatorOptions rules = core_->options.aggregator;
    if (core_->journal) {
        // As they were: what changed them since is in the log, and what is wanted now comes last.
        rules.lateness_ns = checkpoint.plan.options.lateness_ns;
        rules.amend_horizon_ns = checkpoint.plan.options.amend_horizon_ns;
        rules.gaps = checkpoint.plan.options.gaps;
    }
    if (core_->journal) look_back(checkpoint.plan.live_intervals());
    auto next = std::make_unique<PlanGeneration>(engine::generation_after(
        checkpoint.plan, past_ ? past_->first() : now.outputs,
        past_ ? past_->outputs() : now.outputs, rules));
    // Not the next number: slots that there are do not follow from those of the checkpoint.
    next->number = now.number + 2;
    // Everything is read once before anything changes, so that bad bytes change nothing.
    const Span reach = core_->journal
                           ? core_->options.journal.reach
                           : Span{core_->reach_open.load(), core_->reach_close.load()};
    for (const TimeNs time : {checkpoint.head.watermark, checkpoint.head.simulated})
        if (time > TIME_MIN) check_reach({time, time + 1}, reach);
    for (const Checkpoint::Symbol& symbol : checkpoint.symbols) {
        LooseSlot loose(checkpoint.plan, core_->options.keep_bars, nullptr);
        checkpoint.read(symbol, loose.slot(), nullptr);
        check_reach(engine::AggregatorState::trade_times(loose.slot().aggregator), reach);
    }
    core_->generations.push_back(std::move(next));
    go_on_from(checkpoint, *core_->generations.back());
    raise_revisions();

    highest_watermark_ = std::max(highest_watermark_, checkpoint.head.watermark);
    auto* const clock = dynamic_cast<engine::SimulatedClock*>(core_->clock.get());
    if (clock != nullptr && clock->now() < checkpoint.head.simulated)
        clock->advance(checkpoint.head.simulated);
    snapshotter_->rise_above(checkpoint.head.epoch);
    const engine::CheckpointHead& head = checkpoint.head;
    retired_counts_ += {head.applied, head.late, head.beyond_horizon, head.outside,
                        head.duplicates, 0};
    for (const engine::CheckpointHead::Source& source : head.sources)
        core_->sources.make(source.number).add(source.counts);
    if (core_->journal) return checkpoint.symbols.size();  // what comes now may know more symbols
    for (const auto& [symbol, price] : core_->options.last_prices) {
        const auto name = engine::name_of_symbol(symbol);
        const bool is_there =
            std::any_of(checkpoint.symbols.begin(), checkpoint.symbols.end(),
                        [&](const Checkpoint::Symbol& other) { return other.name == name; });
        if (!is_there) seed(symbol, price, core_->options.aggregator.coverage_start);
    }
    return checkpoint.symbols.size();
}

}  // namespace klineagg
