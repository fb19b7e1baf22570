// An engine goes on where its log ends.
#include "klineagg/engine.hpp"

#include <algorithm>
#include <utility>

#include "control.hpp"
#include "cut_wait.hpp"
#include "klineagg/engine/journal_records.hpp"
#include "klineagg/engine/past_intervals.hpp"
#include "klineagg/wal/reader.hpp"
#include "klineagg/wal/segment.hpp"
#include "klineagg/wal/trade_codec.hpp"

namespace klineagg {

using engine::ByteReader;
using engine::JournalKind;
using engine::LaneRecord;

namespace {

constexpr std::uint32_t KEEP_FRAMES = 16;  // between turns of the keeper, who does not run yet
// 200 MiB: whoever reads a source on leaves a note more often.
constexpr std::size_t TAIL_MAX = std::size_t{1} << 22U;
constexpr std::uint32_t TOPICS = 1U << static_cast<unsigned>(wal::Topic::trade) |
                                 1U << static_cast<unsigned>(wal::Topic::clock) |
                                 1U << static_cast<unsigned>(wal::Topic::command);

wal::ReadOptions read_options(const wal::Log& log, std::uint64_t from) {
    wal::ReadOptions options;
    options.from = from;
    options.topics = TOPICS;
    options.is_quiet = true;
    options.salvage = log.salvages();
    return options;
}

}  // namespace

/// Does everything that the log says, in its order, on one thread.
class Engine::Replay {
public:
    Replay(Engine& engine, wal::Log& log, std::uint64_t from)
        : engine_(&engine),
          reader_(log.files(), log.directory(), read_options(log, from)),
          parts_(engine.workers_.size()),
          has_lost_(engine.recovery_.missing != 0) {}

    void run(Recovery& report) {
        wal::Reader::Frame frame;
        for (std::uint32_t frames = 0; reader_.next(frame); ++frames) {
            if ((frame.view.header.flags & engine::JOURNAL_FRAME) == 0) continue;
            time_ = engine::clock_time(frame.view.header);
            mark_damage(time_);
            position_ = frame.view.header.sequence;
            for (const auto& worker : engine_->workers_) worker->replay_at(position_);
            try {
                take(frame, report);
            } catch (const Error& error) {
                if (error.code() == ErrorCode::checkpoint_format) fail(error.what());
                throw;
            }
            last_time_ = engine::clock_time(frame.view.header);
            if (frames % KEEP_FRAMES == 0) (void)engine_->keep();
        }
        if (has_lost_ && newest_ != TIME_NONE) mark_all(newest_, newest_);
        report.position = std::max(report.position, reader_.position() - 1);
        for (const auto& worker : engine_->workers_) worker->show_rows();
    }

private:
    struct Place {
        bool is_known = false;
        std::uint32_t slot = 0;
        std::uint16_t worker = 0;
    };

    [[noreturn]] void fail(const std::string& reason) const {
        throw Error(ErrorCode::journal_record,
                    "record " + std::to_string(position_) + " of the log: " + reason,
                    {{"position", std::to_string(position_)}});
    }

    void take(const wal::Reader::Frame& frame, Recovery& report) {
        const auto topic = frame.view.header.topic;
        if (topic == wal::Topic::trade) {
            take_trades(frame, report);
            report.trades += frame.count;
            return;
        }
        ByteReader from(frame.view.payload);
        if (frame.view.header.schema != engine::JOURNAL_SCHEMA) fail("of another version");
        ++report.records;
        if (topic == wal::Topic::clock) take_clock(engine::get_clock(from));
        else take_command(from, report);
    }

    void take_clock(const engine::ClockRecord& record) {
        engine_->highest_watermark_ = std::max(engine_->highest_watermark_, record.watermark);
        auto* const clock =
            dynamic_cast<engine::SimulatedClock*>(engine_->core_->clock.get());
        if (clock != nullptr && clock->now() < record.simulated) clock->advance(record.simulated);
        for (const auto& worker : engine_->workers_) worker->replay_clock(record.watermark);
    }

    void take_trades(const wal::Reader::Frame& frame, Recovery& report) {
        records_.clear();
        if (!decoder_.decode(frame.view.payload, records_) ||
            records_.size() != frame.view.header.count)
            fail("no block of trades");
        learn_names();
        skipped_ = frame.skip;
        keep_tail(report);
        for (auto& part : parts_) part.clear();
        TimeNs first = TIME_MAX;
        TimeNs last = TIME_NONE;
        for (std::size_t i = frame.skip; i < records_.size(); ++i) {
            LaneRecord& record = records_[i];
            first = std::min(first, record.time);
            last = std::max(last, record.time);
            if (record.source != source_) learn_source(record.source);
            const Place& place = find(record.symbol);
            record.symbol = static_cast<std::int32_t>(place.slot);
            if (parts_.size() > 1) parts_[place.worker].push_back(record);
        }
        check_reach(first, last);
        if (std::exchange(has_lost_, false)) {
            const TimeNs before = newest_ == TIME_NONE ? first : newest_;
            mark_all(std::min(before, first), std::max(before, first));
        }
        newest_ = std::max(newest_, last);
        const TimeNs time = engine::clock_time(frame.view.header);
        if (parts_.size() == 1) {
            engine_->workers_[0]->replay(std::span(records_).subspan(frame.skip), time);
            return;
        }
        for (std::size_t i = 0; i < parts_.size(); ++i)
            if (!parts_[i].empty()) engine_->workers_[i]->replay(parts_[i], time);
    }

    void check_reach(TimeNs first, TimeNs last) const {
        const Span& reach = engine_->core_->options.journal.reach;
        if (first >= reach.open && last < reach.close) [[likely]] return;
        throw Error(ErrorCode::recovery_mismatch,
                    "the log has trades of times for which no boundaries were given",
                    {{"low_ns", std::to_string(first)}, {"high_ns", std::to_string(last)}});
    }

    void learn_source(std::uint16_t source) {
        source_ = source;
        (void)engine_->core_->sources.make(source);
    }

    void learn_names() {
        if (reader_.names_version() != names_version_) {
            names_version_ = reader_.names_version();
            names_seen_ = 0;
            ids_.clear();
            places_.clear();
        }
        for (; names_seen_ < reader_.names().size(); ++names_seen_) {
            const wal::Name& name = reader_.names()[names_seen_];
            if (name.kind != wal::NameKind::symbol || name.id < 0) continue;
            const auto at = static_cast<std::size_t>(name.id);
            if (ids_.size() <= at) ids_.resize(at + 1, -1);
            ids_[at] = engine::symbol_of({name.name, -1});
            if (at < places_.size()) places_[at] = {};
        }
    }

    const Place& find(std::int32_t id) {
        if (id < 0) fail("a symbol below 0");
        const auto at = static_cast<std::size_t>(id);
        if (at >= places_.size()) places_.resize(at + 1);
        Place& place = places_[at];
        if (place.is_known) [[likely]] return place;
        const engine::Route route = engine_->core_->admit(symbol_of(id));
        place = {true, route.slot, route.worker};
        catch_up(route);
        return place;
    }

    void keep_tail(Recovery& report) {
        std::vector<LaneRecord>& tail = engine_->recovered_tail_;
        if (!report.has_whole_tail) return;
        if (tail.size() + records_.size() > TAIL_MAX) {
            report.has_whole_tail = false;
            tail = {};
            return;
        }
        for (std::size_t i = skipped_; i < records_.size(); ++i) {
            tail.push_back(records_[i]);
            tail.back().symbol = symbol_of(tail.back().symbol);
        }
    }

    void take_note(ByteReader& from, Recovery& report) {
        const std::span<const std::byte> bytes = from.get_bytes(from.left());
        report.note.emplace(bytes.begin(), bytes.end());
        report.has_whole_tail = true;
        engine_->recovered_tail_.clear();
    }

    [[nodiscard]] std::int32_t symbol_of(std::int32_t id) const noexcept {
        const auto at = static_cast<std::size_t>(id);
        return at < ids_.size() && ids_[at] >= 0 ? ids_[at] : id;
    }

    void take_command(ByteReader& from, Recovery& report) {
        switch (static_cast<JournalKind>(from.get<std::uint8_t>())) {
            case JournalKind::begin:
                engine_->snapshotter_->rise_over(engine::get_begin(from).epoch);
                return;
            case JournalKind::symbol: {
                const engine::SymbolRecord record = engine::get_symbol(from);
                (void)engine_->seed(engine::symbol_of(record.name), record.price, record.start);
                return;
            }
            case JournalKind::removed: {
                const engine::RemovedRecord record = engine::get_removed(from);
                (void)engine_->remove_symbol(engine::symbol_of(record.name), record.open_bars_too);
                places_.clear();
                told_.clear();  // another symbol may get its slot
                return;
            }
            case JournalKind::note: take_note(from, report); return;
            case JournalKind::corrected: {
                const engine::CorrectedRecord record =
                    engine::get_corrected(from, engine_->known_tables());
                const engine::Route route = engine_->core_->admit(engine::symbol_of(record.name));
                (void)engine_->workers_[route.worker]->correct(engine_->core_->slots[route.slot],
                                                               record.all);
                return;
            }
            case JournalKind::hole: take_hole(engine::get_hole(from), time_); return;
            case JournalKind::rules: {
                engine::RulesRecord record =
                    engine::get_rules_record(from, engine_->known_tables());
                record.intervals = engine_->past_->at(position_, record.intervals);
                engine_->set_rules(record);
                return;
            }
        }
        fail("of an unknown kind");
    }

    void take_hole(const engine::HoleRecord& record, TimeNs time) {
        engine::LaneHole hole;
        hole.time_min = record.time_min;
        hole.time_max = record.time_max;
        for (const engine::SymbolName& name : record.symbols) {
            const engine::Route route = engine_->core_->admit(engine::symbol_of(name));
            engine_->workers_[route.worker]->replay_hole(engine_->core_->slots[route.slot], hole,
                                                         time);
        }
    }

    /// What salvage went past may have been of any symbol.
    void mark_damage(TimeNs time) {
        if (reader_.damages().size() == damages_seen_) return;
        bool loses = false;
        for (; damages_seen_ < reader_.damages().size(); ++damages_seen_)
            loses = loses || reader_.damages()[damages_seen_].loses_records();
        if (!loses) return;
        // Of what the trades were there is known between which others they lay, and when they came.
        has_lost_ = true;
        if (time != 0) mark_all(std::min(last_time_, time), std::max(last_time_, time));
    }

    void mark_all(TimeNs from, TimeNs to) {
        engine::LaneHole hole;
        hole.time_min = from;
        hole.time_max = to;
        lost_.push_back(hole);
        engine_->core_->routes.each([&](std::int32_t, engine::Route route) { catch_up(route); });
    }

    /// A symbol that comes behind what is lost may have had trades there, too.
    void catch_up(engine::Route route) {
        if (lost_.empty()) [[likely]] return;
        if (told_.size() <= route.slot) told_.resize(route.slot + 1, 0);
        for (std::size_t& next = told_[route.slot]; next < lost_.size(); ++next)
            engine_->workers_[route.worker]->replay_hole(engine_->core_->slots[route.slot],
                                                         lost_[next], time_);
    }

    Engine* engine_;
    wal::Reader reader_;
    wal::TradeDecoder decoder_;
    std::vector<LaneRecord> records_;
    std::vector<std::vector<LaneRecord>> parts_;  // by worker
    std::uint64_t names_version_ = 0;
    std::size_t names_seen_ = 0;
    std::vector<std::int32_t> ids_;  // of this process, by those of the log
    std::vector<Place> places_;      // the same
    std::size_t damages_seen_ = 0;
    std::size_t skipped_ = 0;        // of the frame at hand
    std::int32_t source_ = -1;
    bool has_lost_;               // and no trade has come since
    std::vector<engine::LaneHole> lost_;
    std::vector<std::size_t> told_;  // by slot: how many of these its bars know of
    TimeNs newest_ = TIME_NONE;   // of all trades so far
    TimeNs last_time_ = 0;
    TimeNs time_ = 0;  // of the frame at hand
    std::uint64_t position_ = 0;
};

void Engine::recover() {
    engine::Journal& journal = *core_->journal;
    wal::Log& log = journal.log();
    const engine::MonotonicNs begin = engine::monotonic_ns();
    const engine::CutWait waiting(*core_);  // nobody acknowledges rows meanwhile
    const std::vector<Interval> wanted = intervals();
    journal.set_replaying(true);
    std::vector<std::byte> file;
    const auto& given = core_->options.journal.checkpoint;
    if (!given) file = journal.oldest_checkpoint();
    const std::vector<std::byte>& bytes = given ? *given : file;
    const bool is_new = log.next_sequence() == 1;
    // Those that went by retention are in a checkpoint, which whoever salvages may have lost.
    if (bytes.empty() && log.salvages() && !is_new)
        recovery_.missing = wal::list_segments(*log.files(), log.directory()).front().first - 1;
    try {
        if (bytes.empty()) begin_as_before();
        else begin_from(bytes, is_new);
        replay_told(log);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::wal_range) throw;
        Error::Fields fields = error.fields();
        const char* what = "the log does not begin where the checkpoint ends: ";
        if (bytes.empty()) {
            what = "there is no checkpoint, and the log has not all: ";
            fields.emplace_back("hint",
                                "hand one over; or salvage=True, or `klineagg run --salvage`, "
                                "begins with the first record that there is");
        }
        throw Error(ErrorCode::recovery_hole, what + std::string(error.what()), std::move(fields));
    }
    go_over_to(wanted, is_new && bytes.empty());
    if (past_->has_new() && !given) journal.hold_back(recovery_.checkpoint);
    past_.reset();
    recovery_.took_ns = engine::monotonic_ns() - begin;
}

/// The observer publishes what those before it accepted and could not publish any more.
void Engine::replay_told(wal::Log& log) {
    engine::Observer* const observer = core_->options.observer.get();
    const bool told = observer != nullptr &&
                      observer->replaying({wal::to_text(log.id()), recovery_.checkpoint,
                                           log.next_sequence()});
    for (const auto& worker : workers_) worker->observe_replay(told);
    Replay(*this, log, recovery_.checkpoint + recovery_.missing + 1).run(recovery_);
    for (const auto& worker : workers_) worker->observe_replay(false);
    if (told) observer->replayed();
}

}  // namespace klineagg
