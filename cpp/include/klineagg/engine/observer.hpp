// Somebody who is told what an engine's workers do, on their own threads: a bus, for example.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "klineagg/engine/closed_log.hpp"
#include "klineagg/engine/clock.hpp"
#include "klineagg/engine/symbol_slot.hpp"
#include "klineagg/trade.hpp"

namespace klineagg::engine {

struct Core;

/// Of one worker, which calls it between its blocks. What it throws ends the engine.
class WorkerObserver {
public:
    WorkerObserver() = default;
    virtual ~WorkerObserver() = default;
    WorkerObserver(const WorkerObserver&) = delete;
    WorkerObserver& operator=(const WorkerObserver&) = delete;

    /// With a log: what is told from here on comes of the record with this number of it.
    virtual void at(std::uint64_t /*position*/) {}
    /// Trades of one symbol that were accepted, in their order.
    virtual void trades(const SymbolSlot& slot, const Trade* first, const Trade* last) = 0;
    /// Rows [from, to) of the log are about to be shown to consumers. Also called when there are
    /// none: what was told before is to be out when it returns, because the symbols that it is
    /// about may be another worker's a moment later.
    virtual void show(const ClosedLog& log, std::uint64_t from, std::uint64_t to) = 0;
    /// The open bars of a symbol of this worker are others now.
    virtual void changed(const SymbolSlot& slot) = 0;
    /// The symbol is not this worker's any more.
    virtual void left(const SymbolSlot& slot) = 0;
    /// A moment for what takes its time; true when there is more to do at once.
    virtual bool turn(const SlotTable& slots, MonotonicNs now) = 0;
    /// When a worker that has nothing to do is to call turn() at the latest.
    [[nodiscard]] virtual MonotonicNs deadline() const noexcept = 0;
    /// Makes room in tables by slot: the keeper's.
    virtual void grow(std::size_t slots) = 0;
};

/// What an engine is about to replay: records `after < number < end` of a log.
struct ReplayRange {
    std::string log;  // its identity
    std::uint64_t after = 0;
    std::uint64_t end = 0;
};

/// Lives as long as the engine that it is an option of.
class Observer {
public:
    Observer() = default;
    virtual ~Observer() = default;
    Observer(const Observer&) = delete;
    Observer& operator=(const Observer&) = delete;

    virtual std::unique_ptr<WorkerObserver> worker(const Core& core, std::uint32_t id) = 0;
    /// Before an engine replays its log. True: it is to be told of that too, up to replayed().
    virtual bool replaying(const ReplayRange& /*range*/) { return false; }
    virtual void replayed() {}
    /// Before the engine hands out a checkpoint: what was told up to its cut is kept, because nobody
    /// replays it any more. Throws what prevents that.
    virtual void settle() {}
    /// The workers have ended: nothing more comes. Perhaps more than once.
    virtual void stopped() noexcept = 0;
};

}  // namespace klineagg::engine
