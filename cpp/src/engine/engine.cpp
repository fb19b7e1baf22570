// The life of an engine: made, started, stopped; its producers and symbols; its keeper.
#include "klineagg/engine.hpp"

#include <algorithm>
#include <string>

#include "control.hpp"
#include "handover.hpp"
#include "klineagg/engine/observer.hpp"
#include "option_error.hpp"

namespace klineagg {

using engine::Command;
using engine::Worker;
using engine::throw_option;

namespace {

// Enough for those that come between two looks of the keeper, in a universe that grows.
constexpr std::uint32_t SPARE_SLOTS = 128;
constexpr std::uint32_t SPARE_SLOTS_PART = 8;  // and so much of those in use

EngineOptions checked(EngineOptions options) {
    if (options.workers < 1 || options.workers > static_cast<int>(engine::WORKERS_MAX))
        throw_option("workers", "workers = " + std::to_string(options.workers) + " is not in 1 ... " +
                                    std::to_string(engine::WORKERS_MAX));
    if (options.aggregator.lateness_ns < 0)
        throw_option("lateness", "a live engine needs a lateness of 0 or more");
    if (options.aggregator.late == LatePolicy::raise)
        throw_option("late", "a live engine drops or amends late trades");
    if (!options.last_prices.empty() && options.aggregator.coverage_start == TIME_NONE)
        throw_option("last_prices", "last_prices need the start of the coverage");
    if (options.on_bound == BoundPolicy::evict && options.eviction_folder.empty())
        throw_option("on_bound", "rows can be evicted to a folder only: eviction_folder");
    options.aggregator.include_open = true;
    options.aggregator.coverage_end = TIME_NONE;
    return options;
}

struct SwapLanes final : Command {
    void run(Worker& worker) override { worker.swap_lanes(lists[worker.id()]); }
    std::vector<Worker::Lanes> lists;
};

struct Stop final : Command {
    void run(Worker& worker) override { worker.stop(); }
};

struct Seed final : Command {
    Seed() { runs_halted = false; }
    void run(Worker& worker) override {
        if (worker.id() != owner || slot->trades != 0) return;
        if (price && slot->aggregator.has_price()) return;  // and whoever knows it may have told of it
        if (price) worker.seed(*slot, *price, start);
        else worker.join(*slot, start);
        done = true;
    }
    engine::SymbolSlot* slot = nullptr;
    std::uint32_t owner = 0;
    std::optional<double> price;
    TimeNs start = TIME_NONE;
    bool done = false;
};

}  // namespace

Engine::Engine(RollupPlan plan, EngineOptions options)
    : core_(std::make_shared<engine::Core>(std::move(plan), checked(std::move(options)))) {
    if (core_->options.journal.log)
        core_->journal = std::make_unique<engine::Journal>(core_->options.journal.log);
    core_->workers.store(static_cast<std::uint32_t>(core_->options.workers));
    const auto epoch = engine::SystemClock().now();
    snapshotter_ = std::make_shared<engine::Snapshotter>(*core_, epoch);
    for (std::uint32_t i = 0; i < core_->workers.load(); ++i)
        workers_.push_back(std::make_shared<Worker>(*core_, i));
    logs_ = workers_;
    watch_growth(workers_);
    core_->keeper.set_turn([this] { return keep(); });
    core_->slots.prepare(SPARE_SLOTS);
    core_->routes.prepare(0);  // ids are dense: the first trade need not make room for its route
    try {
        if (core_->journal) recover();
        for (const auto& [symbol, price] : core_->options.last_prices) {
            const bool is_known = engine::RouteTable::is_route(core_->routes.find(symbol));
            if (!is_known) add_symbol(symbol, price, core_->options.aggregator.coverage_start);
        }
    } catch (...) {
        core_->slots.on_growth({});  // else the workers outlive the journal, which they take leave of
        throw;
    }
}

Engine::~Engine() {
    try {
        stop();
    } catch (const std::exception&) {
        // A failed engine has said so before; its threads are joined below.
    }
    join_threads();
    if (core_->journal) core_->journal->detach();
    for (const auto& producer : producers_) producer->retire();
    core_->slots.on_growth({});
}

EngineState Engine::state() const noexcept {
    if (core_->failure.is_set()) return EngineState::failed;
    const EngineState state = state_.load();
    return state == EngineState::running && draining_.load() ? EngineState::draining : state;
}

void Engine::start() {
    const Control lock(*this);
    if (state_.load() != EngineState::created)
        throw Error(ErrorCode::engine_state, "the engine was started before");
    start_keeper();
    for (const auto& worker : workers_) worker->start();
    state_.store(EngineState::running);
}

void Engine::drain() {
    const Control lock(*this);
    check_running();
    draining_.store(true);
    for (const auto& producer : producers_) producer->retire();
    // A producer that is in the middle of a batch ends at its next block.
    for (const auto& producer : producers_) producer->wait_until_outside(core_->failure);
    engine::Nothing command;
    cut(command);
    check_halted(command);
}

void Engine::stop() {
    {
        const Control lock(*this);
        if (state_.load() == EngineState::created) state_.store(EngineState::stopped);
        if (state_.load() != EngineState::running) return;
        for (const auto& producer : producers_) producer->retire();
        core_->stopping.store(true);
        Stop command;
        try {
            cut(command);
        } catch (...) {
            state_.store(EngineState::stopped);
            join_threads();
            throw;
        }
        state_.store(EngineState::stopped);
    }
    join_threads();
    if (core_->journal) core_->journal->detach();
}

void Engine::join_threads() {
    core_->rows_closed.notify();
    // After a failure the others look at it, for which they have to be awake.
    for (const auto& worker : workers_) worker->notify();
    for (const auto& worker : workers_) worker->join();
    core_->keeper.stop();
    if (core_->options.observer) core_->options.observer->stopped();
}

void Engine::check_running() const {
    core_->failure.check();
    const EngineState state = state_.load();
    if (state == EngineState::created)
        throw Error(ErrorCode::engine_state, "the engine was not started",
                    {{"hint", "call start(), or use it as `with Engine(...) as engine`"}});
    if (state != EngineState::running)
        throw Error(ErrorCode::engine_state, "the engine is not running");
}

std::vector<Worker*> Engine::worker_list() const {
    std::vector<Worker*> list;
    for (const auto& worker : workers_) list.push_back(worker.get());
    return list;
}

std::vector<Worker*> Engine::log_list() const {
    std::vector<Worker*> list;
    for (const auto& worker : logs_) list.push_back(worker.get());
    return list;
}

void Engine::watch_growth(const Workers& workers) {
    core_->slots.on_growth([workers](std::uint32_t slots) {
        for (const auto& worker : workers) worker->grow(slots);
    });
}

std::shared_ptr<Producer> Engine::producer(const std::string& name, std::uint16_t source) {
    const Control lock(*this);
    core_->failure.check();
    if (state_.load() == EngineState::stopped)
        throw Error(ErrorCode::engine_state, "the engine has stopped");
    (void)core_->sources.make(source);
    auto made = std::make_shared<Producer>(core_, name, source, worker_list());
    {
        const std::lock_guard lists(lists_);
        producers_.push_back(made);
    }
    SwapLanes command;
    command.lists.resize(workers_.size());
    for (const auto& producer : producers_) {
        for (std::size_t i = 0; i < workers_.size(); ++i)
            command.lists[i].push_back(producer->intakes()[i]);
    }
    run_on_workers(command);
    return made;
}

bool Engine::add_symbol(std::int32_t symbol, std::optional<double> last_price, TimeNs start) {
    const Control lock(*this);
    core_->failure.check();
    if (last_price || core_->journal) return seed(symbol, last_price, start);
    (void)core_->admit(symbol);
    return true;
}

bool Engine::seed(std::int32_t symbol, std::optional<double> price, TimeNs start) {
    if (is_journaled()) core_->journal->check();
    const engine::Route route = core_->admit(symbol);
    Seed seed;
    seed.slot = &core_->slots[route.slot];
    seed.owner = route.worker;
    seed.price = price;
    const TimeNs now = core_->clock->now();
    seed.start = price || now == TIME_MIN || core_->journal->is_replaying() ? start : now;
    if (!is_journaled()) {
        run_on_workers(seed);
        return seed.done;
    }
    std::vector<std::byte> record;
    engine::ByteWriter to(record);
    engine::put_record(to, engine::SymbolRecord{engine::name_of_symbol(symbol), price, seed.start});
    enter(seed, std::move(record));
    cut(seed);
    return seed.done;
}

EngineCounts& EngineCounts::operator+=(const EngineCounts& other) noexcept {
    applied += other.applied;
    late += other.late;
    beyond_horizon += other.beyond_horizon;
    outside += other.outside;
    duplicates += other.duplicates;
    log_waits += other.log_waits;
    return *this;
}

EngineCounts Engine::counts_of(const Worker& worker) noexcept {
    const engine::WorkerCounts& counts = worker.counts();
    EngineCounts total;
    total.applied = counts.applied.load(std::memory_order_relaxed);
    total.late = counts.late.load(std::memory_order_relaxed);
    total.beyond_horizon = counts.beyond_horizon.load(std::memory_order_relaxed);
    total.outside = counts.outside.load(std::memory_order_relaxed);
    total.duplicates = counts.duplicates.load(std::memory_order_relaxed);
    total.log_waits = counts.log_waits.load(std::memory_order_relaxed);
    return total;
}

engine::IdCounts Engine::id_counts(std::uint16_t source) const noexcept {
    const engine::SourceCounts* const counts = core_->sources.find(source);
    return counts == nullptr ? engine::IdCounts{} : counts->read();
}

EngineCounts Engine::counts() const noexcept {
    const std::lock_guard lock(lists_);
    EngineCounts total = retired_counts_;
    for (const auto& worker : logs_) total += counts_of(*worker);
    return total;
}

std::vector<std::int64_t> Engine::worker_loads() const {
    const std::lock_guard lock(lists_);
    std::vector<std::int64_t> loads;
    for (const auto& worker : workers_) loads.push_back(worker->counts().applied.load());
    return loads;
}

bool Engine::keep() {
    bool busy = core_->slots.prepare(SPARE_SLOTS + core_->slots.used() / SPARE_SLOTS_PART);
    busy = core_->blocks.refill(core_->slots.used()) || busy;
    const std::int32_t newest = core_->newest_symbol.load(std::memory_order_relaxed);
    if (newest >= 0) core_->routes.prepare(newest);
    // A log's place in the list is what the consumers know it by.
    const std::lock_guard lock(lists_);
    return snapshotter_->keep(log_list()) || busy;
}

void Engine::start_keeper() {
    const auto all_parked = [this] {
        const std::lock_guard lock(lists_);
        return std::all_of(workers_.begin(), workers_.end(),
                           [](const auto& worker) { return worker->is_parked(); });
    };
    core_->keeper.start([this] { drop_read_logs(); }, all_parked,
                        [this](const char* cause) { core_->failure.set("kla-keeper", cause); });
}

}  // namespace klineagg
