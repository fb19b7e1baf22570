// Workers that come and go, and symbols that are forgotten.
#include "klineagg/engine.hpp"

#include "control.hpp"

#include <algorithm>
#include <ranges>
#include <string>

#include "handover.hpp"
#include "option_error.hpp"

namespace klineagg {

using engine::RouteTable;
using engine::Transfer;
using engine::Worker;
using engine::throw_option;

namespace {

struct StopUnused final : engine::Command {
    void run(Worker& worker) override { worker.stop(); }
};

struct SlotAt {
    std::int32_t symbol;
    engine::Route route;
};

/// Exchanges the slot for an empty one when nothing would be lost by that.
struct Remove final : engine::Command {
    Remove() {
        runs_halted = false;
        waits_for_holes = true;
    }
    void run(Worker& worker) override {
        if (worker.id() == owner) done = worker.remove(*slot, *fresh, open_bars_too);
    }
    engine::SymbolSlot* slot = nullptr;
    std::unique_ptr<engine::SymbolSlot> fresh;
    std::uint32_t owner = 0;
    bool open_bars_too = false;
    bool done = false;
};

}  // namespace

void Engine::stop_unused(const Workers& workers) {
    if (state_.load() != EngineState::running) return;
    StopUnused command;
    run_on(workers, command);
    for (const auto& worker : workers) worker->join();
}

void Engine::replace_workers(const Workers& next, DurationNs timeout_ns) {
    check_journal();
    Workers made;     // in `next` only
    Workers leaving;  // in workers_ only
    const auto holds = [](const Workers& list, const auto& worker) {
        return std::find(list.begin(), list.end(), worker) != list.end();
    };
    for (const auto& worker : next)
        if (!holds(workers_, worker)) made.push_back(worker);
    for (const auto& worker : workers_)
        if (!holds(next, worker)) leaving.push_back(worker);
    Workers all = workers_;
    all.insert(all.end(), made.begin(), made.end());
    watch_growth(all);  // from here on they have room for every slot
    handover_ = std::make_shared<engine::Handover>();
    Transfer& transfer = handover_->transfer;
    transfer.parts.resize(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        Transfer::Part& part = transfer.parts[i];
        part.worker = all[i].get();
        part.retires = holds(leaving, all[i]);
        part.changes_lanes = part.retires || holds(made, all[i]);
        if (!part.retires) part.parked.reserve(Transfer::PARKED_MAX);
    }
    std::vector<Producer::Lanes> lanes(producers_.size());
    for (std::size_t i = 0; i < producers_.size(); ++i) {
        for (std::size_t place = 0; place < next.size(); ++place) {
            const bool stays = place < workers_.size() && workers_[place] == next[place];
            lanes[i].intakes.push_back(
                stays ? producers_[i]->intakes()[place]
                      : producers_[i]->make_intake(place, core_->options.lane_capacity));
            lanes[i].workers.push_back(next[place].get());
            if (!stays) transfer.part_of(*next[place])->lanes.push_back(lanes[i].intakes.back());
        }
        producers_[i]->prepare(lanes[i]);
    }
    Workers started;
    try {
        if (state_.load() == EngineState::running) {
            for (const auto& worker : made) {
                worker->start();
                started.push_back(worker);
            }
        }
        const auto old_count = static_cast<std::uint32_t>(workers_.size());
        const auto count = static_cast<std::uint32_t>(next.size());
        std::vector<SlotAt> moving;
        moving.reserve(core_->slots.used() + engine::SlotTable::CHUNK);
        flip(timeout_ns, [&] {
            core_->routes.each([&](std::int32_t symbol, engine::Route from) {
                // An even share goes to the workers that come; those of the ones that go are
                // shared out among all.
                std::uint32_t to = from.worker;
                const std::uint32_t share = from.slot % count;
                if (to >= count || share >= old_count) to = share;
                if (to == from.worker && workers_[to] == next[to]) return;
                engine::SymbolSlot* const slot = &core_->slots[from.slot];
                transfer.part_of(*workers_[from.worker])->gives.push_back(slot);
                transfer.part_of(*next[to])->takes.push_back(slot);
                moving.push_back({symbol, {from.slot, static_cast<std::uint16_t>(to)}});
            });
            transfer.prepare();
            // Nothing fails from here on.
            for (const SlotAt& at : moving) core_->routes.set(at.symbol, at.route);
            for (std::size_t i = 0; i < producers_.size(); ++i) producers_[i]->install(lanes[i]);
            core_->workers.store(count);
            handover_->announce();
        });
    } catch (...) {
        watch_growth(workers_);
        stop_unused(started);
        throw;
    }
    {
        const std::lock_guard lock(lists_);
        workers_ = next;
        logs_.insert(logs_.end(), made.begin(), made.end());
    }
    hand_over(all);
    for (const auto& worker : leaving) {
        worker->join();
        worker->retire();
    }
    watch_growth(workers_);
}

void Engine::resize(int workers, DurationNs timeout_ns) {
    const Control lock(*this);
    core_->failure.check();
    if (workers < 1 || workers > static_cast<int>(engine::WORKERS_MAX))
        throw_option("workers", "workers = " + std::to_string(workers) + " is not in 1 ... " +
                                    std::to_string(engine::WORKERS_MAX));
    if (state_.load() == EngineState::stopped)
        throw Error(ErrorCode::engine_state, "the engine has stopped");
    const auto count = static_cast<std::size_t>(workers);
    if (count == workers_.size()) return;
    Workers next(workers_.begin(),
                 workers_.begin() + static_cast<std::ptrdiff_t>(std::min(count, workers_.size())));
    while (next.size() < count) next.push_back(make_worker(next.size()));
    replace_workers(next, timeout_ns);
}

void Engine::rebuild(int worker, DurationNs timeout_ns) {
    const Control lock(*this);
    core_->failure.check();
    if (worker < 0 || static_cast<std::size_t>(worker) >= workers_.size())
        throw_option("worker", "there is no worker " + std::to_string(worker));
    if (state_.load() == EngineState::stopped)
        throw Error(ErrorCode::engine_state, "the engine has stopped");
    Workers next = workers_;
    next[static_cast<std::size_t>(worker)] = make_worker(static_cast<std::size_t>(worker));
    replace_workers(next, timeout_ns);
}

std::shared_ptr<Worker> Engine::make_worker(std::size_t place) {
    auto worker = std::make_shared<Worker>(*core_, static_cast<std::uint32_t>(place));
    // It stands where the others do: else a snapshot's watermark could go back.
    worker->begin_at(core_->journal ? worker->ticked_to() : highest_watermark_);
    return worker;
}

RemovedSymbol Engine::remove_symbol(std::int32_t symbol, bool open_bars_too,
                                    DurationNs timeout_ns) {
    const Control lock(*this);
    core_->failure.check();
    const std::uint64_t packed = symbol >= 0 ? core_->routes.find(symbol) : RouteTable::EMPTY;
    if (!RouteTable::is_route(packed)) return RemovedSymbol::unknown;
    const engine::Route route = RouteTable::unpack(packed);
    Remove command;
    command.slot = &core_->slots[route.slot];
    command.fresh = core_->slots.make_one(route.slot);
    command.owner = route.worker;
    command.open_bars_too = open_bars_too;
    check_journal();
    if (is_journaled()) {
        std::vector<std::byte> record;
        engine::ByteWriter to(record);
        engine::put_record(to, engine::RemovedRecord{engine::name_of_symbol(symbol), open_bars_too});
        enter(command, std::move(record));
    }
    bool staged = false;
    flip(timeout_ns, [&] {
        for (const auto& producer : producers_)
            staged = staged || producer->has_staged(route.slot);
        // Who comes with a trade of it now waits until it is decided: it is either this slot's
        // or a new one's.
        if (!staged) core_->routes.claim(symbol);
    });
    if (staged) {
        open_gates();
        return RemovedSymbol::in_flight;
    }
    try {
        run_on_workers(command);
    } catch (...) {
        core_->routes.set(symbol, route);
        throw;
    }
    if (!command.done) {
        core_->routes.set(symbol, route);
        return RemovedSymbol::open_bars;
    }
    core_->routes.erase(symbol);
    core_->slots.release(route.slot);
    return RemovedSymbol::removed;
}

void Engine::drop_read_logs() {
    const std::unique_lock control(control_, std::try_to_lock);
    if (!control.owns_lock()) return;  // somebody may be reading them: next time
    const std::lock_guard lock(lists_);
    if (core_->options.on_bound == BoundPolicy::lose) {
        // However many workers went: together their logs may hold what one may.
        std::uint64_t held = 0;
        for (const auto& worker : std::views::reverse(logs_)) {
            if (!worker->is_retired()) continue;
            engine::ClosedLog& log = worker->log();
            held += log.end() - log.begin();
            if (held > core_->options.unacknowledged_rows_max) log.trim(log.end());
        }
    }
    for (std::size_t i = 0; i < logs_.size();) {
        const engine::ClosedLog& log = logs_[i]->log();
        if (!logs_[i]->is_retired() || log.begin() < log.end()) {
            ++i;
            continue;
        }
        snapshotter_->drop_log(i, log.end());
        retired_counts_ += counts_of(*logs_[i]);
        retired_rows_ += log.end();
        keep_metrics_of(*logs_[i]);
        logs_.erase(logs_.begin() + static_cast<std::ptrdiff_t>(i));
    }
}

std::size_t Engine::worker_count() const {
    const std::lock_guard lock(lists_);
    return workers_.size();
}

std::size_t Engine::log_count() const {
    const std::lock_guard lock(lists_);
    return logs_.size();
}

}  // namespace klineagg
