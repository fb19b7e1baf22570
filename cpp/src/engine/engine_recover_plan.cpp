// Of an engine that goes on where its log ends: what it begins with, and the intervals and rules
// that it has meanwhile.
#include "klineagg/engine.hpp"

#include <string>

#include "klineagg/engine/journal_records.hpp"
#include "klineagg/engine/past_intervals.hpp"

namespace klineagg {

using engine::PastIntervals;
using engine::PlanGeneration;

void Engine::look_back(const std::optional<std::vector<Interval>>& live) {
    const wal::Log& log = core_->journal->log();
    wal::ReadOptions options;
    options.from = recovery_.checkpoint + recovery_.missing + 1;
    options.is_quiet = true;
    options.salvage = true;  // whoever replays it tells of what is damaged
    past_ = std::make_shared<const PastIntervals>(log, options, live, intervals(), known_tables());
}

std::vector<Interval> Engine::known_tables() const {
    std::vector<Interval> tables = intervals();
    const std::vector<Interval>& past = core_->options.journal.past_tables;
    tables.insert(tables.end(), past.begin(), past.end());
    return tables;
}

void Engine::begin_from(const std::vector<std::byte>& bytes, bool is_new) {
    engine::Journal& journal = *core_->journal;
    const wal::Log& log = journal.log();
    const auto place = engine::get_placed(bytes);
    const bool fits = place && place->log == log.id();
    if (!fits && !is_new)
        throw Error(ErrorCode::recovery_mismatch, "the checkpoint is of another log",
                    {{"path", log.directory()}});
    if (fits && place->position >= log.next_sequence())
        throw Error(ErrorCode::recovery_mismatch,
                    "the checkpoint is ahead of the log, which ends with record " +
                        std::to_string(log.next_sequence() - 1),
                    {{"position", std::to_string(place->position)},
                     {"hint", "a power cut may have taken the end of a log that is never synced "
                              "(fsync \"none\"): move the log's folder away, and begin with the "
                              "checkpoint, as `klineagg run` does with the lake's"}});
    if (fits) recovery_.checkpoint = recovery_.position = place->position;
    recovery_.symbols = restore(bytes);
    // What a new log begins with has to be there after a crash too.
    if (!fits)
        journal.begin_with(engine::put_placed({log.id(), 0, place ? place->checkpoint : bytes}));
}

/// Without a checkpoint the log says how it began.
void Engine::begin_as_before() {
    look_back({});
    const PlanGeneration& now = core_->now();
    if (past_->first() == now.outputs) return;
    auto begin = std::make_unique<PlanGeneration>(
        engine::renumbered(engine::first_generation(RollupPlan(past_->first()), now.options),
                           past_->outputs()));
    begin->number = now.number + 2;  // nothing is carried over
    core_->generations.push_back(std::move(begin));
    follow(*core_->generations.back());
}

void Engine::set_rules(const engine::RulesRecord& record) {
    ConfigChange change;
    if (!record.intervals.empty()) change.intervals = record.intervals;
    change.lateness_ns = record.lateness_ns;
    change.amend_horizon_ns = record.amend_horizon_ns;
    change.gaps = static_cast<GapMode>(record.gaps);
    (void)reconfigure(change);
}

/// What the engine is made with comes last.
void Engine::go_over_to(const std::vector<Interval>& intervals, bool is_empty) {
    engine::Journal& journal = *core_->journal;
    const AggregatorOptions& rules = core_->options.aggregator;
    engine::RulesRecord wanted{intervals, rules.lateness_ns, rules.amend_horizon_ns,
                               static_cast<std::uint8_t>(rules.gaps), {}};
    const PlanGeneration* const before = &core_->now();
    set_rules(wanted);
    journal.set_replaying(false);
    journal.begin_at(highest_watermark_);
    std::vector<std::byte> record;
    engine::ByteWriter to(record);
    const TimeNs now = core_->clock->now() == TIME_MIN ? 0 : core_->clock->now();
    engine::put_record(to, engine::BeginRecord{snapshotter_->epoch()});
    (void)journal.write(record, now);
    // Whoever goes on next has them from the same place on.
    if (!is_empty && before == &core_->now() && !past_->has_new()) return;
    if (past_->has_new()) wanted.since = recovery_.checkpoint;
    record.clear();
    engine::put_record(to, wanted);
    (void)journal.write(record, now);
}

}  // namespace klineagg
