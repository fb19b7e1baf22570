// What the parts of one engine share.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "klineagg/engine/journal.hpp"
#include "klineagg/engine/keeper.hpp"
#include "klineagg/engine/options.hpp"
#include "klineagg/engine/route_table.hpp"
#include "klineagg/engine/spare_blocks.hpp"
#include "klineagg/engine/symbol_slot.hpp"
#include "klineagg/engine/wait.hpp"
#include "klineagg/error.hpp"

namespace klineagg::engine {

/// The first failure of a worker; everybody who waits looks at it.
class Failure {
public:
    void set(const std::string& worker, const std::string& cause) {
        const std::lock_guard lock(mutex_);
        if (failed_.load(std::memory_order_relaxed)) return;
        worker_ = worker;
        cause_ = cause;
        failed_.store(true, std::memory_order_release);
    }
    [[nodiscard]] bool is_set() const noexcept { return failed_.load(std::memory_order_acquire); }
    /// Throws Error(worker_failed) when it is set.
    void check() const {
        if (!is_set()) [[likely]] return;
        const std::lock_guard lock(mutex_);
        throw Error(ErrorCode::worker_failed, worker_ + " failed: " + cause_,
                    {{"worker", worker_}, {"cause", cause_}});
    }

private:
    mutable std::mutex mutex_;
    std::atomic<bool> failed_{false};
    std::string worker_;
    std::string cause_;
};

struct Core {
    Core(RollupPlan rollup, EngineOptions chosen);

    EngineOptions options;  // `aggregator` as it was at first; the generation has it as it is
    // Every plan there was, because slots that nobody has used yet may be of an old one.
    std::vector<std::unique_ptr<const PlanGeneration>> generations;
    std::atomic<const PlanGeneration*> generation;
    std::atomic<DurationNs> close_delay_ns;
    std::shared_ptr<Clock> clock;
    BlockStore blocks;  // before the slots, which give theirs back when they go
    SourceTable sources;
    SlotTable slots;
    RouteTable routes;
    Failure failure;
    std::unique_ptr<Journal> journal;  // none: what is applied is accepted
    std::atomic<bool> stopping{false};  // from here on nobody waits for consumers
    std::atomic<int> cuts_waited_for{0};  // meanwhile workers may write beyond the logs' bound
    Keeper keeper;
    Signal rows_closed;  // and made to be seen
    std::atomic<std::uint32_t> workers{0};
    // Times for which the tables of the plan are worked out: see Engine::replace_tables.
    std::atomic<TimeNs> reach_open{TIME_MIN};
    std::atomic<TimeNs> reach_close{TIME_MAX};
    std::atomic<std::uint64_t> route_version{0};  // rises when symbols move
    std::atomic<std::int32_t> newest_symbol{-1};  // whose route was made last

    [[nodiscard]] const PlanGeneration& now() const noexcept { return *generation.load(); }
    /// The route of a symbol, made when it has none. Any thread.
    Route admit(std::int32_t symbol);

private:
    const PlanGeneration* begin(RollupPlan plan);
};

}  // namespace klineagg::engine
