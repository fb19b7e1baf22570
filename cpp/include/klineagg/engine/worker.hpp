// A worker: one thread that owns symbols and everything that happens to them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "klineagg/engine/block_sorter.hpp"
#include "klineagg/engine/capture.hpp"
#include "klineagg/engine/closed_log.hpp"
#include "klineagg/engine/command.hpp"
#include "klineagg/engine/core.hpp"
#include "klineagg/engine/dirty_table.hpp"
#include "klineagg/engine/due_heap.hpp"
#include "klineagg/engine/intake.hpp"
#include "klineagg/engine/observer.hpp"
#include "klineagg/engine/state_capture.hpp"
#include "klineagg/engine/thread.hpp"
#include "klineagg/engine/transfer.hpp"
#include "klineagg/engine/wait.hpp"
#include "klineagg/engine/waiting_blocks.hpp"
#include "klineagg/engine/worker_metrics.hpp"

namespace klineagg::engine {

class WorkerJournal;

class Worker {
public:
    using Lanes = std::vector<std::shared_ptr<Intake>>;

    Worker(Core& core, std::uint32_t id);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // --- Control threads, one at a time ---

    void start();
    /// Before start(): the clock's watermark as the others have it.
    void begin_at(TimeNs watermark) noexcept { clock_watermark_ = watermark; }
    /// Runs `command` at the gates of the lanes, which must be closed before.
    void post(Command& command) noexcept;
    void join();
    /// Grows the tables to `slots` symbols: the keeper's.
    void grow(std::size_t slots);

    // --- Anybody ---

    void notify() noexcept { waiter_.notify(); }
    [[nodiscard]] bool is_parked() const noexcept { return waiter_.is_parked(); }
    [[nodiscard]] std::uint32_t id() const noexcept { return id_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] ClosedLog& log() noexcept { return log_; }
    /// It has no symbols and no thread any more; only its log is read.
    [[nodiscard]] bool is_retired() const noexcept { return retired_.load(); }
    void retire() noexcept;
    /// With a log: the watermark by the ticks that it has accepted when this worker was made.
    [[nodiscard]] TimeNs ticked_to() const noexcept;
    [[nodiscard]] Capture& capture() noexcept { return capture_; }
    [[nodiscard]] StateCapture& state_capture() noexcept { return state_capture_; }
    [[nodiscard]] const DirtyTable& dirty() const noexcept { return dirty_; }
    [[nodiscard]] const WorkerCounts& counts() const noexcept { return counts_; }
    [[nodiscard]] std::uint64_t wake_ups() const noexcept { return waiter_.wake_count(); }
    [[nodiscard]] const WorkerMetrics& metrics() const noexcept { return metrics_; }
    [[nodiscard]] std::size_t bytes() const noexcept;

    // --- Commands, on the worker's thread ---

    /// Takes over a list of lanes (made by the caller, so that nothing is allocated here).
    void swap_lanes(Lanes& lanes) noexcept { lanes_.swap(lanes); }
    /// Symbols follow this generation of the plan from here on: each before its next trade, the
    /// others a few between blocks. `left` goes down when all do.
    void follow(const PlanGeneration& generation, std::atomic<int>& left);
    bool advance_follow();
    /// Raises the clock's watermark and closes all that lies behind it.
    void close_up_to(TimeNs watermark);
    /// Until release_clock() the watermark rises by commands alone, so that all workers stand at
    /// one instant.
    void hold_clock() noexcept { clock_held_ = true; }
    void release_clock() noexcept { clock_held_ = false; }
    /// The clock as it stands: the watermark that all symbols have by it.
    [[nodiscard]] TimeNs clock_watermark() const noexcept { return clock_watermark_; }
    /// Freezes the list of changed slots and wants these and the `pending` ones captured; with
    /// `all` every slot this worker has, and the list stays as it is.
    void freeze(const SlotSet* pending, bool all);
    void seed(SymbolSlot& slot, double price, TimeNs start);
    /// With a log: the symbol is known from here on, unless it was before.
    void join(SymbolSlot& slot, TimeNs start) noexcept {
        if (slot.joined == TIME_NONE) slot.joined = start;
    }
    /// Puts other content into bars of a symbol; false, with nothing changed, when one of them does
    /// not hold what is expected.
    bool correct(SymbolSlot& slot, const Replacements& all);
    /// Wants the state of every symbol that this worker has written down as it is here.
    void freeze_state();
    /// Of who runs a worker that has no thread: the clock's ticks that the log has accepted.
    void catch_up_journal();
    /// Before start(), of an engine that replays its log: a block of trades of one frame of it, all
    /// of symbols of this worker.
    void replay(std::span<const LaneRecord> records, TimeNs time);
    void replay_clock(TimeNs watermark);
    /// The observer is told of what is replayed, and of which record it comes.
    void observe_replay(bool told) noexcept { observer_ = told ? own_observer_.get() : nullptr; }
    void replay_at(std::uint64_t position) {
        if (observer_) observer_->at(position);
    }
    void replay_hole(SymbolSlot& slot, const LaneHole& hole, TimeNs time);
    /// Before start(): takes over a symbol whose state was made elsewhere, with the clock as it
    /// stands here.
    void adopt(SymbolSlot& slot);
    /// For what its symbols keep.
    [[nodiscard]] BlockPool* blocks() noexcept { return blocks_; }
    /// Makes the rows that were appended to be seen.
    void show_rows();
    /// Tells a symbol of the clock, before it is looked at.
    void catch_up(SymbolSlot& slot) { touch(slot); }
    void stop() noexcept { stopping_ = true; }
    /// Exchanges the slot for `fresh`; false, with nothing changed, while it has open bars and
    /// these may not go.
    bool remove(SymbolSlot& slot, SymbolSlot& fresh, bool open_bars_too);
    /// Begins this worker's part, which it does between its blocks from here on.
    void begin_transfer(Transfer& transfer) noexcept;
    /// Of a control thread, while the producers are at rest: from here on trades of symbols that
    /// come with this transfer may be in this worker's lanes, and be dropped there.
    void announce(const Transfer& transfer) noexcept {
        announced_.store(&transfer, std::memory_order_release);
    }
    /// Goes on with it; false when there is none. Of the loop, and of who runs a worker that has
    /// no thread.
    bool advance_transfer();
    [[nodiscard]] bool failed() const noexcept { return core_->failure.is_set(); }

private:
    // Rows of many symbols: the longer a symbol's run of them, the less often its state is fetched,
    // and the more of its bars roll up at once. Fewer are taken when fewer wait. Twice as many
    // save a twentieth more; each row takes 128 bytes of a worker.
    static constexpr std::size_t BLOCK_ROWS = 10240;
    // Less with a log, in which many blocks are under way.
    static constexpr std::size_t LOGGED_ROWS = 4096;
    static constexpr std::size_t CAPTURE_TURN = 16;
    static constexpr std::size_t CLOSE_TURN = 64;
    static constexpr std::size_t STATE_TURN = 8;  // each takes some microseconds

    struct LogRows;
    struct LogSink;

    void run();
    void loop();
    std::size_t drain_lanes();
    bool run_command();
    [[nodiscard]] bool has_work() const noexcept;
    [[nodiscard]] MonotonicNs next_deadline() const noexcept;
    LaneRefused apply(std::span<const LaneRecord> records);
    void apply_present(std::span<const LaneRecord> records);
    void apply_source(std::uint16_t source, std::span<const LaneRecord> records);
    /// Marks the bars of the holes that the lane has come to. False: not yet, nothing may be taken.
    bool mark_holes(Intake& intake);
    void mark_holes_of(const HoleTable& holes);
    /// Puts holes of symbols aside that are on their way here: they are another worker's yet.
    void set_aside(HoleTable& holes) noexcept;
    void mark_hole(SymbolSlot& slot, const LaneHole& hole);
    /// A symbol that is this worker's from now on.
    void take_in(SymbolSlot& slot);
    /// Gives a symbol away, and takes one over that was given away.
    void detach(SymbolSlot& slot);
    void attach(SymbolSlot& slot);
    [[nodiscard]] bool can_park() const noexcept;
    /// Puts records of symbols aside that have not come yet; returns the others.
    std::span<const LaneRecord> park(std::span<const LaneRecord> records) noexcept;
    template <class AnyTrade>
    void apply_groups(std::span<const BlockSorter::Group> groups, AnyTrade* trades,
                      std::uint16_t source, IdCounts& seen);
    template <class AnyTrade>
    void apply_group(SymbolSlot& slot, const AnyTrade* trade, const AnyTrade* end);
    void settle(SymbolSlot& slot);
    void touch(SymbolSlot& slot);
    void follow(SymbolSlot& slot);
    void settle_plan(SymbolSlot& slot);
    bool hear_clock(SymbolSlot& slot, TimeNs watermark);
    bool tick();
    bool tick_journal(TimeNs now);
    // With a log.
    std::size_t drain_journal();
    bool append_staged();
    void encode_staged(std::span<LaneRecord> records);
    bool journal_holes(Intake& intake);
    bool append_holes(HoleTable& holes, Intake* intake);
    bool append_came();
    void apply_holes(const WaitingBlocks::Block& block);
    std::size_t apply_accepted();
    void apply_front();
    bool run_journaled(Command& command);
    bool is_journal_ready(Command& command);
    bool arrive(Command& command);
    [[nodiscard]] bool is_settled(Command& command, bool halted);
    [[nodiscard]] bool has_journal_work() const noexcept;
    [[nodiscard]] MonotonicNs journal_deadline(MonotonicNs due) const noexcept;
    bool finish(Command& command, bool runs);
    void publish(MonotonicNs now);
    bool close_due(std::size_t count);
    void wait_for_room();

    Core* core_;
    std::uint32_t id_;
    std::string name_;
    Lanes lanes_;
    ClosedLog log_;
    DueHeap due_;
    DirtyTable dirty_;
    SlotSet owned_;
    const PlanGeneration* generation_;
    std::atomic<int>* following_ = nullptr;
    std::size_t followed_to_ = 0;
    TimeNs followed_at_ = TIME_NONE;     // the clock's watermark at that moment
    SlotSet absent_;  // slots on their way here
    Transfer* transfer_ = nullptr;
    Transfer::Part* part_ = nullptr;
    std::atomic<const Transfer*> announced_{nullptr};  // until all its symbols have come
    HoleTable aside_;                                  // of these symbols
    std::size_t owned_limit_ = 0;
    Capture capture_;
    StateCapture state_capture_;
    std::vector<LaneRecord> block_;
    BlockSorter sorter_;
    std::unique_ptr<WorkerJournal> journal_;  // with a log
    TimeNs block_time_ = TIME_NONE;           // of the log's frame that is applied
    SpareBlocks* blocks_;  // for what its symbols keep
    std::unique_ptr<ClosedBars<PartialBar>> closed_;  // room to work in
    std::unique_ptr<WorkerObserver> own_observer_;
    WorkerObserver* observer_ = nullptr;  // from start() on; none: nobody is told
    Waiter waiter_;
    WorkerCounts counts_;
    WorkerMetrics metrics_;
    LaneRefused refused_;         // of the block at hand
    MonotonicNs now_ = 0;         // read once a block
    TimeNs clock_ahead_ = 0;      // the engine's clock less now_
    MonotonicNs next_look_ = 0;   // at the engine's clock
    TimeNs clock_watermark_ = TIME_NONE;
    TimeNs next_tick_ = TIME_NONE;
    bool clock_held_ = false;
    bool stopping_ = false;
    std::atomic<bool> retired_{false};
    std::atomic<Command*> command_{nullptr};
    Thread thread_;
};

}  // namespace klineagg::engine
