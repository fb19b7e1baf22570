// The live engine: trades in from any number of producers, bars out to any number of consumers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "klineagg/engine/journal.hpp"
#include "klineagg/engine/options.hpp"
#include "klineagg/engine/producer.hpp"
#include "klineagg/engine/reconfigure.hpp"
#include "klineagg/engine/snapshotter.hpp"
#include "klineagg/engine/stats.hpp"
#include "klineagg/engine/transfer.hpp"

namespace klineagg {

enum class EngineState : std::uint8_t { created, running, stopped, failed, draining };

struct EngineCounts {
    std::int64_t applied = 0;
    std::int64_t late = 0;
    std::int64_t beyond_horizon = 0;
    std::int64_t outside = 0;
    std::int64_t duplicates = 0;
    std::int64_t log_waits = 0;

    EngineCounts& operator+=(const EngineCounts& other) noexcept;
};

namespace engine {
struct Handover;
struct Checkpoint;
class PastIntervals;
}

enum class RemovedSymbol : std::uint8_t {
    removed,
    unknown,
    in_flight,  // some of its trades wait in a producer
    open_bars,  // they would be lost
};

/// What an engine with a log found there.
struct Recovery {
    std::uint64_t checkpoint = 0;  // the position of the checkpoint; 0: there was none
    std::uint64_t position = 0;    // of the last record that counts
    std::uint64_t missing = 0;     // records that salvage does without: no checkpoint has them
    std::uint64_t trades = 0;      // that were replayed
    std::uint64_t records = 0;     // others
    std::size_t symbols = 0;       // of the checkpoint
    std::optional<std::vector<std::byte>> note;  // the last of Engine::note
    bool has_whole_tail = true;                  // see Engine::take_recovered_tail
    DurationNs took_ns = 0;
};

class Engine {
public:
    /// Throws Error(invalid_interval), Error(invalid_option). With a log: goes on where it ends;
    /// throws Error(recovery_mismatch), Error(recovery_hole), Error(journal_record), and what
    /// reading a log and restore() throw.
    explicit Engine(RollupPlan plan, EngineOptions options = {});
    /// Stops it, as stop() does.
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    void start();
    /// Takes no more trades (push throws Error(engine_state)) and applies all that was pushed.
    /// Snapshots, the clock and everything else go on until stop().
    void drain();
    /// Applies all that was pushed, then stops the workers. Snapshots can still be taken.
    void stop();
    [[nodiscard]] EngineState state() const noexcept;

    /// A new producer; `source` is where duplicates are looked for.
    std::shared_ptr<Producer> producer(const std::string& name, std::uint16_t source = 0);

    /// Waits until all that was pushed before is applied; false when the timeout is over first.
    /// Then call it again.
    bool flush(std::optional<DurationNs> timeout = {});
    /// Waits until no other call is at work and every worker answers: what comes next, such as a
    /// take, waits for the rows before it and nothing else. False when the timeout is over first.
    bool wait_responsive(DurationNs timeout);
    /// Moves the simulated clock on and closes what it passes. Throws Error(clock_backwards).
    /// False when the timeout is over first: bars close when the workers come to it. Then call it
    /// again, with the same time.
    bool advance(TimeNs now, std::optional<DurationNs> timeout = {});
    /// Closed rows since the consumer's last ack, and the open bars that changed; with
    /// `with_checkpoint` the state of the engine at the same cut too: see Snapshot::checkpoint.
    Snapshot take(const std::string& consumer, std::optional<DurationNs> lease = {},
                  bool with_checkpoint = false);
    /// The state of the whole engine at one cut: every open bar with its exact sums, what late
    /// trades can change, watermarks, seen ids, kept rows, counts. Equal states are equal bytes,
    /// whatever the workers. Closed rows that a consumer has not acknowledged are not in it.
    /// Trades go on meanwhile; each symbol is written down before its next one.
    std::vector<std::byte> checkpoint();
    /// Before start(), and before any symbol came but those of last_prices: goes on where
    /// checkpoint() was called, with any number of workers. Intervals and rules that are others
    /// are changed to as reconfigure does. All or nothing. Returns the number of symbols. Throws
    /// Error(checkpoint_format), Error(checkpoint_version), Error(checkpoint_mismatch),
    /// Error(engine_state), Error(invalid_option), Error(invalid_interval).
    std::size_t restore(std::span<const std::byte> checkpoint);
    View view();
    /// What was recovered; nothing of an engine without a log.
    [[nodiscard]] const Recovery& recovery() const noexcept { return recovery_; }
    /// Everything up to here is accepted: the log has it, and nothing takes it back.
    [[nodiscard]] std::uint64_t accepted_position() const noexcept;
    /// A word of the application in the log, behind all that was pushed before: see
    /// Recovery::note. Returns its position; it is accepted then. Throws Error(engine_state) without a log, and
    /// what the log has halted for.
    std::uint64_t note(std::span<const std::byte> data);
    /// The trades that were found behind the last note, by the ids of their symbols: who reads
    /// their source on from there gets them once more. Once; empty then, and when there were more
    /// than are held (Recovery::has_whole_tail).
    [[nodiscard]] std::vector<engine::LaneRecord> take_recovered_tail();
    /// After the log has halted and the cause is mended: accepts trades again. Throws what is
    /// still wrong.
    void resume();
    [[nodiscard]] std::optional<engine::JournalStats> journal_stats() const;
    /// Waits until there are closed rows that this consumer has not acknowledged, false at the
    /// timeout or when the engine does not run (any more). Any number of threads.
    bool wait_closed(const std::string& consumer, DurationNs timeout);
    /// Closed rows that there were so far, revisions included. Any thread.
    [[nodiscard]] std::uint64_t closed_rows() const;
    /// Everybody who took a snapshot. Any thread.
    [[nodiscard]] std::vector<ConsumerStats> consumers() const;
    /// What is kept for it may go; false when there is none of that name.
    bool remove_consumer(const std::string& consumer);
    /// The closed rows of one symbol and interval that are held (see EngineOptions::keep_bars), and
    /// its open bar behind them. `output`: the number of the interval. Throws Error(unknown_name)
    /// for a symbol or interval that is not there.
    std::shared_ptr<const BarTable> bars(std::int32_t symbol, int output);
    /// Before start(): goes on behind these closed bars (open ones are left out): flat bars behind
    /// them, their closes, the rows that are held. What their end cuts is PARTIAL. Returns how
    /// many symbols it knows by them. Throws Error(engine_state), Error(invalid_option).
    std::size_t warm_start(const BarTable& table);
    /// Makes a symbol known before its first trade; with a price, its genesis bars. False when
    /// it has traded already, or has a price from elsewhere: the first one stays.
    bool add_symbol(std::int32_t symbol, std::optional<double> last_price = {},
                    TimeNs start = TIME_NONE);

    /// Rebuilds bars of one symbol from trades: those that hold `before` get `after`, closed ones as
    /// a revision. A command in the log; trades go on meanwhile, and when one of them changed such
    /// a bar nothing is done (CorrectionReport::pending): then call it again with that trade too.
    /// Throws Error(unknown_name) and what the log has halted for.
    CorrectionReport correct(Correction correction);

    /// Gives each of these symbols to a worker, at one cut, while trades flow. Unknown symbols
    /// are left out. Throws Error(engine_state) when some producer does not leave its block of
    /// rows within `timeout`; then nothing has moved.
    std::size_t move(const std::vector<std::pair<std::int32_t, std::uint32_t>>& symbols,
                     DurationNs timeout_ns = NS_PER_SECOND);
    /// Moves symbols so that the workers' loads since the last time are as even as can be.
    /// Returns how many moved.
    std::size_t rebalance();
    /// Changes the number of workers while trades flow; the symbols of those that go are shared
    /// out among the others, and some go to those that come. Throws as `move` does, with nothing
    /// changed, and Error(invalid_option).
    void resize(int workers, DurationNs timeout_ns = NS_PER_SECOND);
    /// Puts a new thread with new tables, lanes and a new log in the place of a worker.
    void rebuild(int worker, DurationNs timeout_ns = NS_PER_SECOND);
    /// Forgets a symbol; its closed bars stay in the logs. One whose bars are not all closed is
    /// forgotten only with `open_bars_too`, and one with rows on their way never.
    RemovedSymbol remove_symbol(std::int32_t symbol, bool open_bars_too = false,
                                DurationNs timeout_ns = NS_PER_SECOND);
    [[nodiscard]] std::size_t worker_count() const;
    /// Logs that are still held for consumers, those of workers that are gone included.
    [[nodiscard]] std::size_t log_count() const;

    /// The intervals by the numbers that rows name, those that went included.
    [[nodiscard]] const std::vector<Interval>& intervals() const noexcept {
        return core_->now().outputs;
    }
    /// Changes what is named, all of it or nothing, while trades flow. Throws
    /// Error(invalid_option), Error(invalid_interval), Error(duplicate_interval) and, when a
    /// producer does not come to rest, Error(engine_state): then nothing has changed.
    ConfigReport reconfigure(const ConfigChange& change, DurationNs timeout_ns = NS_PER_SECOND);

    /// Puts longer tables in the place of those that bear their names (time zones, sessions, and a
    /// replay of times that they did not reach), while trades flow; no bar changes by it. From then
    /// on Producer::push_one refuses times outside of `reach` with PushOne::beyond_tables. Throws
    /// Error(invalid_interval), and then nothing has changed.
    void replace_tables(const std::vector<Interval>& tables, Span reach);

    /// The rules as they are by now.
    [[nodiscard]] const AggregatorOptions& rules() const noexcept { return core_->now().options; }
    [[nodiscard]] const RollupPlan& plan() const noexcept { return core_->now().plan; }
    [[nodiscard]] EngineCounts counts() const noexcept;
    /// Any thread, at any time; takes no part in what the workers do.
    [[nodiscard]] EngineStats stats() const;
    [[nodiscard]] EngineMemory memory() const;
    /// What the trade ids of a source tell, over all its producers and symbols.
    [[nodiscard]] engine::IdCounts id_counts(std::uint16_t source) const noexcept;
    /// Memory of kept bars and seen ids, in use or ready.
    [[nodiscard]] std::size_t kept_bytes() const { return core_->blocks.bytes(); }
    /// Trades applied so far, by worker.
    [[nodiscard]] std::vector<std::int64_t> worker_loads() const;

private:
    class Control;
    class Replay;
    friend class Replay;
    void recover();
    /// Those that are wanted, and tables of others: what records of the log are read by.
    [[nodiscard]] std::vector<Interval> known_tables() const;
    void look_back(const std::optional<std::vector<Interval>>& live);
    void begin_as_before();
    void begin_from(const std::vector<std::byte>& bytes, bool is_new);
    void go_over_to(const std::vector<Interval>& intervals, bool is_empty);
    void replay_told(wal::Log& log);
    void set_rules(const engine::RulesRecord& record);
    std::vector<engine::HeldBar> look(const Correction& correction, engine::Route route);
    bool apply(std::int32_t symbol, engine::Route route, engine::Replacements all,
               CorrectionReport& report);
    void raise_revisions();
    void write_entry(engine::Command& command);
    void enter(engine::Command& command, TimeNs watermark) const;
    void enter(engine::Command& command, std::vector<std::byte> record) const;
    void check_journal() const;
    void check_halted(const engine::Command& command) const;
    [[nodiscard]] std::uint64_t position_of(const engine::Command& command) const noexcept;
    /// Nothing when the log has halted and is not on the disk up to there.
    [[nodiscard]] std::optional<std::vector<std::byte>> placed(std::vector<std::byte> checkpoint,
                                                               std::uint64_t position) const;
    [[nodiscard]] bool is_journaled() const noexcept {
        return core_->journal && !core_->journal->is_replaying();
    }
    void cut(engine::Command& command);
    bool run_until(const std::shared_ptr<engine::Command>& command, engine::MonotonicNs deadline);
    bool cut_until(const std::shared_ptr<engine::Command>& command, engine::MonotonicNs deadline);
    using Workers = std::vector<std::shared_ptr<engine::Worker>>;
    struct Move {
        std::int32_t symbol;
        engine::Route from;
        std::uint32_t to;
    };

    void flip(DurationNs timeout_ns, const std::function<void()>& at_rest);
    std::size_t move_locked(const std::vector<Move>& moves, DurationNs timeout_ns);
    std::shared_ptr<engine::Worker> make_worker(std::size_t place);
    static EngineCounts counts_of(const engine::Worker& worker) noexcept;
    void replace_workers(const Workers& next, DurationNs timeout_ns);
    void hand_over(const Workers& workers);
    void replace_lanes(std::size_t capacity, DurationNs timeout_ns);
    void follow(const engine::PlanGeneration& generation);
    void set_policies(engine::LanePolicy policy);
    void open_gates();
    [[nodiscard]] std::vector<Move> balanced_moves(std::size_t workers);
    void drop_read_logs();
    void watch_growth(const Workers& workers);
    void stop_unused(const Workers& workers);
    void run_on_workers(engine::Command& command);
    void run_on(const Workers& workers, engine::Command& command);
    bool keep();
    void start_keeper();
    void join_threads();
    [[nodiscard]] TimeNs clock_watermark() const noexcept;
    std::vector<engine::Worker*> worker_list() const;
    std::vector<engine::Worker*> log_list() const;
    TimeNs hold_clocks();
    void keep_metrics_of(const engine::Worker& worker);
    void finish_captures();
    void prepare_captures(const engine::SlotSet* pending);
    std::shared_ptr<const BarTable> collect_open(ArenaKind memory);
    std::vector<std::int32_t> prepare_states();
    std::vector<std::byte> collect_states(const std::vector<std::int32_t>& known, TimeNs watermark);
    void finish_states();
    bool seed(std::int32_t symbol, std::optional<double> price, TimeNs start);
    void go_on_from(const engine::Checkpoint& checkpoint, const engine::PlanGeneration& generation);
    void check_running() const;

    std::shared_ptr<engine::Core> core_;
    Recovery recovery_;
    std::shared_ptr<const engine::PastIntervals> past_;  // while it recovers
    std::vector<engine::LaneRecord> recovered_tail_;
    std::shared_ptr<engine::Snapshotter> snapshotter_;
    Workers workers_;                               // by place
    std::vector<std::shared_ptr<engine::Worker>> logs_;  // in order of making: whose logs are kept
    EngineCounts retired_counts_;                   // of workers that are gone
    mutable std::mutex lists_;  // of the three above, for who does not have `control_`
    mutable std::mutex control_;  // cuts, one at a time; never taken by a worker or a producer
    std::vector<std::shared_ptr<Producer>> producers_;
    std::atomic<EngineState> state_{EngineState::created};
    std::atomic<bool> draining_{false};
    // Of takes, which have `control_`; in a place of its own for its size.
    std::unique_ptr<engine::Histogram> snapshot_latency_ = std::make_unique<engine::Histogram>();
    engine::LaneRefused retired_refused_;  // of workers that are gone, as retired_counts_
    engine::HistogramSnapshot retired_ingest_;
    engine::HistogramSnapshot retired_close_;
    std::vector<std::int64_t> loads_seen_;  // by slot: trades at the last rebalance
    TimeNs highest_watermark_ = TIME_NONE;  // that all workers were told
    std::shared_ptr<engine::Command> following_;
    std::shared_ptr<engine::Command> pending_;  // nobody waits for it any more, workers come to it
    std::uint64_t retired_rows_ = 0;            // of logs that are gone
    std::shared_ptr<engine::Handover> handover_;  // the last one: workers may be at it after a failure
};

}  // namespace klineagg
