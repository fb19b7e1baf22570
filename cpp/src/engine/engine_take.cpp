// Snapshots and views: the state of all bars at a cut.
#include "klineagg/engine.hpp"

#include <algorithm>

#include "klineagg/engine/open_table.hpp"
#include "control.hpp"
#include "cut_wait.hpp"
#include "klineagg/engine/table_builder.hpp"
#include "pause.hpp"
#include "snapshot_state.hpp"

namespace klineagg {

using engine::Command;
using engine::Worker;

namespace {

struct Freeze final : Command {
    void run(Worker& worker) override {
        worker.close_up_to(watermark);
        worker.release_clock();
        worker.freeze(pending, all);
        if (with_state) worker.freeze_state();
        log_ends[worker.id()] = worker.log().next();
        watermarks[worker.id()] = worker.clock_watermark();
    }
    const engine::SlotSet* pending = nullptr;
    bool all = false;
    bool with_state = false;
    TimeNs watermark = TIME_NONE;
    std::vector<std::uint64_t> log_ends;
    std::vector<TimeNs> watermarks;
};

/// With a system's clock each worker ticks by itself: who looked later may be a second ahead.
struct HoldClocks final : Command {
    void run(Worker& worker) override {
        worker.hold_clock();
        watermarks[worker.id()] = worker.clock_watermark();
    }
    std::vector<TimeNs> watermarks;
};

std::shared_ptr<const BarTable> frozen(BarTable table) {
    if (!table.freeze())
        throw Error(ErrorCode::internal, "the system refuses to seal a snapshot's shared memory");
    return std::make_shared<const BarTable>(std::move(table));
}

/// How long it took, also when it throws.
class Stopwatch {
public:
    explicit Stopwatch(engine::Histogram& to)
        : to_(&to), start_(engine::monotonic_ns()) {}
    ~Stopwatch() { to_->record(engine::monotonic_ns() - start_); }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

private:
    engine::Histogram* to_;
    engine::MonotonicNs start_;
};

}  // namespace

TimeNs Engine::hold_clocks() {
    // With a log no worker ticks by itself.
    if (core_->clock->simulated() || workers_.size() == 1 || core_->journal)
        return clock_watermark();
    HoldClocks hold;
    hold.watermarks.resize(workers_.size(), TIME_NONE);
    run_on_workers(hold);
    return std::max(clock_watermark(),
                    *std::max_element(hold.watermarks.begin(), hold.watermarks.end()));
}

void Engine::finish_captures() {
    engine::Pause pause;
    for (const auto& worker : workers_) {
        engine::Capture& capture = worker->capture();
        while (!capture.is_done()) {
            core_->failure.check();
            capture.give_room();
            // Without a thread of its own, a worker's work is done here.
            if (state_.load() != EngineState::running) (void)capture.advance(core_->slots, 1024);
            else pause();
        }
    }
}

void Engine::prepare_captures(const engine::SlotSet* pending) {
    finish_captures();  // one that was left in the middle, for lack of memory
    std::size_t symbols = core_->slots.used();
    if (pending != nullptr) {
        std::size_t dirty = 0;
        for (const auto& worker : workers_) dirty += worker->dirty().size();
        symbols = std::min(symbols, dirty + pending->count(core_->slots.made()));
    }
    for (const auto& worker : workers_) worker->capture().prepare(symbols);
}

std::shared_ptr<const BarTable> Engine::collect_open(ArenaKind memory) {
    finish_captures();
    std::vector<const engine::Capture*> captures;
    for (const auto& worker : workers_) captures.push_back(&worker->capture());
    return frozen(engine::open_table(captures, core_->now().outputs.size(), memory));
}

Snapshot Engine::take(const std::string& consumer, std::optional<DurationNs> lease,
                      bool with_checkpoint) {
    const Control lock(*this);
    core_->failure.check();
    const Stopwatch watch(*snapshot_latency_);
    const TimeNs now = core_->clock->now();
    Freeze freeze;
    freeze.log_ends.resize(workers_.size());
    freeze.watermarks.resize(workers_.size(), TIME_NONE);
    freeze.pending = &snapshotter_->prepare(consumer, now);
    const engine::CutWait waiting(*core_);  // until the workers have captured what is open
    try {
        prepare_captures(freeze.pending);
        freeze.with_state = with_checkpoint;
        std::vector<std::int32_t> known;
        if (with_checkpoint) known = prepare_states();
        freeze.watermark = hold_clocks();
        enter(freeze, freeze.watermark);
        cut(freeze);
        highest_watermark_ = std::max(highest_watermark_, freeze.watermark);
        auto state = std::make_unique<Snapshot::State>();
        state->position = position_of(freeze);
        std::vector<std::uint64_t> ends;  // by log; those of workers that are gone do not grow
        for (const auto& log : logs_)
            ends.push_back(log->is_retired() ? log->log().end() : freeze.log_ends[log->id()]);
        const auto begun = snapshotter_->begin(consumer, now, lease.value_or(core_->options.lease_ns),
                                               log_list(), ends);
        std::uint64_t rows = 0;
        for (std::size_t i = 0; i < logs_.size(); ++i)
            rows += begun.ends[i] - std::min(begun.begins[i], begun.ends[i]);
        const std::size_t intervals = core_->now().outputs.size();
        engine::TableBuilder builder(rows, intervals);  // while the workers capture what is open
        for (std::size_t i = 0; i < logs_.size(); ++i) {
            const engine::ClosedLog& log = logs_[i]->log();
            for (std::uint64_t row = begun.begins[i]; row < begun.ends[i]; ++row)
                builder.add(log.row(row));
        }
        const ArenaKind memory = core_->options.snapshot_memory;
        state->closed = frozen(builder.build(memory));
        snapshotter_->finish_reading(consumer);  // the table is a copy
        state->open = collect_open(memory);
        if (with_checkpoint) {
            auto checkpoint =
                placed(collect_states(known, freeze.watermarks.front()), state->position);
            if (checkpoint)
                state->checkpoint =
                    std::make_shared<const std::vector<std::byte>>(std::move(*checkpoint));
        }
        state->core = core_;
        state->snapshotter = snapshotter_;
        state->consumer = consumer;
        state->id = begun.id;
        state->rows_lost = begun.rows_lost;
        state->watermark = *std::min_element(freeze.watermarks.begin(), freeze.watermarks.end());
        return Snapshot(std::move(state));
    } catch (...) {
        snapshotter_->abandon(consumer);
        throw;
    }
}

View Engine::view() {
    const Control lock(*this);
    core_->failure.check();
    const Stopwatch watch(*snapshot_latency_);
    Freeze freeze;
    freeze.log_ends.resize(workers_.size());
    freeze.watermarks.resize(workers_.size(), TIME_NONE);
    freeze.all = true;
    const engine::CutWait waiting(*core_);
    prepare_captures(nullptr);
    freeze.watermark = hold_clocks();
    enter(freeze, freeze.watermark);
    cut(freeze);
    highest_watermark_ = std::max(highest_watermark_, freeze.watermark);
    View view;
    view.open = collect_open(ArenaKind::own);
    view.position = position_of(freeze);
    view.watermark = *std::min_element(freeze.watermarks.begin(), freeze.watermarks.end());
    return view;
}

}  // namespace klineagg
