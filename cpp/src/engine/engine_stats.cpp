// Counters, latencies and memory of an engine, read while it runs.
#include "klineagg/engine.hpp"

namespace klineagg {

EngineStats Engine::stats() const {
    EngineStats stats;
    std::vector<std::shared_ptr<Producer>> producers;
    {
        const std::lock_guard lock(lists_);
        producers = producers_;
        stats.refused = retired_refused_;
        stats.ingest = retired_ingest_;
        stats.close = retired_close_;
        for (const auto& worker : logs_) {
            const engine::WorkerMetrics& metrics = worker->metrics();
            const EngineCounts counts = counts_of(*worker);
            stats.workers.push_back({worker->name(), static_cast<std::uint64_t>(counts.applied),
                                     static_cast<std::uint64_t>(counts.outside),
                                     static_cast<std::uint64_t>(counts.log_waits),
                                     worker->wake_ups(), metrics.ingest(), metrics.close()});
            stats.refused += metrics.refused_later();
            stats.ingest.merge(stats.workers.back().ingest);
            stats.close.merge(stats.workers.back().close);
        }
    }
    stats.memory_misses = static_cast<std::uint64_t>(
        core_->blocks.misses() + core_->slots.misses() + counts().log_waits);
    stats.keeper_turns = core_->keeper.turns();
    // Their lanes counted these as applied, before they came to their symbols.
    const std::uint64_t refused_later = stats.refused.total();
    stats.snapshot = snapshot_latency_->read();
    for (const auto& producer : producers) {
        ProducerStats one = producer->stats();
        stats.offered += one.offered;
        stats.accepted += one.accepted;
        stats.in_flight += one.in_flight;
        stats.rejected += one.rejected_total();
        stats.dropped_newest += one.dropped_newest;
        stats.dropped_oldest += one.dropped_oldest;
        stats.refused += one.refused;
        stats.producers.push_back(std::move(one));
    }
    stats.accepted -= refused_later;
    return stats;
}

void Engine::keep_metrics_of(const engine::Worker& worker) {
    retired_refused_ += worker.metrics().refused_later();
    retired_ingest_.merge(worker.metrics().ingest());
    retired_close_.merge(worker.metrics().close());
}

EngineMemory Engine::memory() const {
    EngineMemory memory;
    memory.symbols = core_->slots.bytes();
    memory.kept_rows = core_->slots.kept_bytes();
    memory.symbol_count = core_->slots.used();
    memory.interval_count = core_->now().outputs.size();
    memory.routes = core_->routes.bytes();
    memory.history = core_->blocks.bytes();
    memory.consumers = snapshotter_->bytes();
    std::vector<std::shared_ptr<Producer>> producers;
    {
        const std::lock_guard lock(lists_);
        producers = producers_;
        for (const auto& worker : logs_) {
            memory.closed_rows += worker->log().bytes();
            memory.captures += worker->capture().bytes();
            memory.workers += worker->bytes();
        }
    }
    for (const auto& producer : producers) memory.lanes += producer->bytes();
    return memory;
}

}  // namespace klineagg
