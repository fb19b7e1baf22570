// Symbols that change their worker, all at one cut.
#include "klineagg/engine.hpp"

#include "control.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>

#include "handover.hpp"
#include "option_error.hpp"
#include "pause.hpp"

namespace klineagg {

using engine::RouteTable;
using engine::Transfer;
using engine::throw_option;

namespace {

// What one attempt at holding all producers may take: those held already wait as long.
constexpr DurationNs HOLD_NS = 200'000;
constexpr double IMBALANCE = 1.05;  // of the fullest worker against the mean: not worth a move

}  // namespace

void Engine::flip(DurationNs timeout_ns, const std::function<void()>& at_rest) {
    const engine::MonotonicNs deadline = engine::deadline_after(timeout_ns);
    while (true) {
        core_->failure.check();
        const engine::MonotonicNs round = engine::deadline_after(HOLD_NS);
        std::size_t held = 0;
        while (held < producers_.size() && producers_[held]->hold(round)) ++held;
        if (held == producers_.size()) break;
        const std::string name = producers_[held]->name();
        while (held-- > 0) producers_[held]->release();
        if (engine::monotonic_ns() >= deadline)
            throw Error(ErrorCode::engine_state, "producer '" + name + "' does not come to rest",
                        {{"producer", name}});
        std::this_thread::sleep_for(std::chrono::nanoseconds(HOLD_NS));
    }
    for (const auto& producer : producers_) producer->close_gates_held();
    try {
        at_rest();
    } catch (...) {
        open_gates();
        for (const auto& producer : producers_) producer->release();
        throw;
    }
    core_->route_version.fetch_add(1, std::memory_order_relaxed);
    for (const auto& producer : producers_) producer->release();
}

void Engine::open_gates() {
    for (const auto& producer : producers_)
        for (const auto& intake : producer->intakes()) intake->open();
}

void Engine::hand_over(const Workers& workers) {
    Transfer& transfer = handover_->transfer;
    run_on(workers, *handover_);
    engine::Pause pause;
    while (!transfer.is_done()) {
        core_->failure.check();
        if (state_.load() == EngineState::running) pause();
        else for (const auto& worker : workers) (void)worker->advance_transfer();
    }
}

std::size_t Engine::move_locked(const std::vector<Move>& moves, DurationNs timeout_ns) {
    if (moves.empty()) return 0;
    check_journal();
    handover_ = std::make_shared<engine::Handover>();
    Transfer& transfer = handover_->transfer;
    transfer.parts.resize(workers_.size());
    for (std::size_t i = 0; i < workers_.size(); ++i) transfer.parts[i].worker = workers_[i].get();
    for (const Move& move : moves) {
        engine::SymbolSlot* const slot = &core_->slots[move.from.slot];
        transfer.parts[move.from.worker].gives.push_back(slot);
        transfer.parts[move.to].takes.push_back(slot);
    }
    // Who has no part in it is not waited for.
    std::erase_if(transfer.parts, [](const Transfer::Part& part) {
        return part.gives.empty() && part.takes.empty();
    });
    transfer.prepare();
    flip(timeout_ns, [&] {
        for (const Move& move : moves)
            core_->routes.set(move.symbol,
                              {move.from.slot, static_cast<std::uint16_t>(move.to)});
        handover_->announce();
    });
    hand_over(workers_);
    return moves.size();
}

std::size_t Engine::move(const std::vector<std::pair<std::int32_t, std::uint32_t>>& symbols,
                         DurationNs timeout_ns) {
    const Control lock(*this);
    core_->failure.check();
    std::map<std::int32_t, Move> moves;  // the last wish for a symbol counts
    for (const auto& [symbol, to] : symbols) {
        if (to >= workers_.size())
            throw_option("worker", "there is no worker " + std::to_string(to));
        const std::uint64_t packed = core_->routes.find(symbol);
        if (!RouteTable::is_route(packed)) continue;
        const engine::Route route = RouteTable::unpack(packed);
        moves.erase(symbol);
        if (route.worker != to) moves.emplace(symbol, Move{symbol, route, to});
    }
    std::vector<Move> list;
    for (const auto& [symbol, move] : moves) list.push_back(move);
    return move_locked(list, timeout_ns);
}

std::vector<Engine::Move> Engine::balanced_moves(std::size_t workers) {
    struct Load {
        Move move;
        std::int64_t trades;
    };
    std::vector<Load> loads;
    std::vector<std::int64_t> totals(workers, 0);
    std::int64_t total = 0;
    loads_seen_.resize(core_->slots.made(), 0);
    core_->routes.each([&](std::int32_t symbol, engine::Route route) {
        if (route.slot >= loads_seen_.size()) return;  // came in this moment
        const std::int64_t trades = core_->slots[route.slot].trades_seen();
        std::int64_t& seen = loads_seen_[route.slot];
        const std::int64_t load = trades >= seen ? trades - seen : trades;
        seen = trades;
        if (load == 0) return;  // idle ones stay
        loads.push_back({{symbol, route, route.worker}, load});
        totals[route.worker] += load;
        total += load;
    });
    const double bound =
        IMBALANCE * static_cast<double>(total) / static_cast<double>(workers);
    // The largest first: off the workers that have too much, to whoever has least, as long as
    // that leaves the other one with less than the first had.
    std::stable_sort(loads.begin(), loads.end(),
                     [](const Load& a, const Load& b) { return a.trades > b.trades; });
    std::vector<std::int64_t> kept(workers, 0);
    for (Load& load : loads) {
        std::int64_t& from = kept[load.move.from.worker];
        if (static_cast<double>(from + load.trades) <= bound || from == 0) {
            from += load.trades;
            continue;
        }
        load.move.to = static_cast<std::uint32_t>(workers);  // whose place is found below
    }
    std::vector<Move> moves;
    for (Load& load : loads) {
        if (load.move.to != workers) continue;
        const auto least = std::min_element(kept.begin(), kept.end());
        *least += load.trades;
        load.move.to = static_cast<std::uint32_t>(least - kept.begin());
        if (load.move.to != load.move.from.worker) moves.push_back(load.move);
    }
    return moves;
}

std::size_t Engine::rebalance() {
    const Control lock(*this);
    core_->failure.check();
    if (state_.load() == EngineState::running) {
        // Loads are measured over what was pushed before the call.
        engine::Nothing nothing;
        cut(nothing);
        check_halted(nothing);
    }
    return move_locked(balanced_moves(workers_.size()), NS_PER_SECOND);
}

}  // namespace klineagg
