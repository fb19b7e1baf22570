#include "klineagg/engine/past_intervals.hpp"

#include <algorithm>
#include <limits>

#include "klineagg/engine/checkpoint.hpp"
#include "klineagg/engine/checkpoint_records.hpp"
#include "klineagg/engine/journal.hpp"
#include "klineagg/engine/journal_records.hpp"

namespace klineagg::engine {

namespace {

bool holds(const std::vector<Interval>& all, const Interval& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
}

void add(std::vector<Interval>& all, const std::vector<Interval>& more) {
    for (const Interval& each : more)
        if (!holds(all, each)) all.push_back(each);
}

/// Nobody has the boundaries of tables that are not wanted any more.
std::vector<Interval> known(const std::vector<Interval>& all) {
    std::vector<Interval> list;
    for (const Interval& each : all)
        if (!is_unwanted(each)) list.push_back(each);
    return list;
}

wal::ReadOptions of_commands(wal::ReadOptions options) {
    options.topics = 1U << static_cast<unsigned>(wal::Topic::command);
    return options;
}

bool is_of_engine(const wal::FrameHeader& header) noexcept {
    return (header.flags & JOURNAL_FRAME) != 0 && header.schema == JOURNAL_SCHEMA;
}

std::optional<RulesRecord> rules_of(const wal::Reader::Frame& frame,
                                    const std::vector<Interval>& tables) {
    ByteReader bytes(frame.view.payload);
    if (static_cast<JournalKind>(bytes.get<std::uint8_t>()) != JournalKind::rules) return {};
    return get_rules_record(bytes, tables);
}

void add_names(const std::vector<Interval>& intervals, std::vector<std::string>& names) {
    for (const Interval& each : intervals)
        if (is_unwanted(each) && std::find(names.begin(), names.end(), each.name()) == names.end())
            names.push_back(each.name());
}

}  // namespace

PastIntervals::PastIntervals(const wal::Log& log, const wal::ReadOptions& options,
                             const std::optional<std::vector<Interval>>& live,
                             const std::vector<Interval>& wanted,
                             const std::vector<Interval>& tables) {
    if (live) first_ = ever_ = known(*live);
    wal::Reader reader(log.files(), log.directory(), of_commands(options));
    wal::Reader::Frame frame;
    while (reader.next(frame)) {
        const wal::FrameHeader& header = frame.view.header;
        if (!is_of_engine(header)) continue;
        take(header.sequence, frame, options.from, tables);
    }
    if (first_.empty()) first_ = ever_ = wanted;
    for (const Interval& each : wanted) {
        if (holds(ever_, each)) continue;
        early_.push_back({each, std::numeric_limits<std::uint64_t>::max()});
        has_new_ = true;
    }
    for (const Early& each : early_) add(first_, {each.interval});
    outputs_ = wanted;
    add(outputs_, first_);
}

void PastIntervals::take(std::uint64_t position, const wal::Reader::Frame& frame,
                         std::uint64_t from, const std::vector<Interval>& tables) {
    const std::optional<RulesRecord> rules = rules_of(frame, tables);
    if (!rules) return;
    const RulesRecord& record = *rules;
    const std::vector<Interval> recorded = known(record.intervals);
    if (first_.empty()) first_ = ever_ = recorded;
    for (const Interval& each : recorded) {
        const bool is_early = record.since && *record.since < from && !holds(ever_, each);
        if (is_early) early_.push_back({each, position});
    }
    add(ever_, recorded);
}

std::vector<Interval> PastIntervals::at(std::uint64_t position,
                                        const std::vector<Interval>& recorded) const {
    std::vector<Interval> all = known(recorded);
    for (const Early& each : early_)
        if (each.until > position) add(all, {each.interval});
    return all;
}

std::vector<std::string> past_tables(const wal::Log& log,
                                     const std::optional<std::span<const std::byte>>& checkpoint) {
    std::vector<std::string> names;
    const std::vector<std::byte> file =
        checkpoint ? std::vector<std::byte>{} : first_checkpoint(*log.files(), log.directory());
    const std::span<const std::byte> bytes = checkpoint ? *checkpoint : file;
    wal::ReadOptions options;
    options.is_quiet = true;
    options.salvage = true;  // whoever replays it tells of what is damaged
    if (!bytes.empty()) {
        const std::optional<Placed> place = get_placed(bytes);
        add_names(Checkpoint(place ? place->checkpoint : bytes, {}).plan.live_intervals(), names);
        if (place && place->log == log.id()) options.from = place->position + 1;
    }
    wal::Reader reader(log.files(), log.directory(), of_commands(options));
    wal::Reader::Frame frame;
    while (reader.next(frame)) {
        if (!is_of_engine(frame.view.header)) continue;
        if (const auto rules = rules_of(frame, {})) add_names(rules->intervals, names);
    }
    return names;
}

}  // namespace klineagg::engine
