#include "engine_stats.hpp"

#include <pybind11/stl.h>

#include <cstddef>
#include <string>

namespace py = pybind11;

namespace klineagg {
namespace {

/// (count, mean, p50, p95, p99, p99.9, max), in ns.
py::tuple latency_of(const engine::HistogramSnapshot& histogram) {
    return py::make_tuple(histogram.count(), histogram.mean(), histogram.percentile(50.0),
                          histogram.percentile(95.0), histogram.percentile(99.0),
                          histogram.percentile(99.9), histogram.max());
}

/// As the rows' fate is called in Python; what did not happen is left out.
template <class Stats>
py::dict dropped_of(const Stats& stats) {
    py::dict out;
    const auto add = [&out](const char* reason, std::uint64_t count) {
        if (count != 0) out[reason] = count;
    };
    add("late", stats.refused.late);
    add("beyond_horizon", stats.refused.beyond_horizon);
    add("duplicate", stats.refused.duplicate);
    add("lane_newest", stats.dropped_newest);
    add("lane_oldest", stats.dropped_oldest);
    return out;
}

const char* name_of(engine::LanePolicy policy) {
    switch (policy) {
        case engine::LanePolicy::block: return "block";
        case engine::LanePolicy::drop_newest: return "drop_newest";
        case engine::LanePolicy::drop_oldest: break;
    }
    return "drop_oldest";
}

py::dict lane_of(const ProducerStats::Lane& lane) {
    py::dict out;
    out["worker"] = lane.worker;
    out["capacity"] = lane.capacity;
    out["policy"] = name_of(lane.policy);
    out["offered"] = lane.counts.offered;
    out["applied"] = lane.counts.applied;
    out["refused"] = lane.counts.rejected;
    out["dropped_newest"] = lane.counts.dropped_newest;
    out["dropped_oldest"] = lane.counts.dropped_oldest;
    out["in_flight"] = lane.counts.in_flight;
    out["queue_fill_ratio"] = lane.counts.fill_ratio;
    out["backpressure_events"] = lane.counts.backpressure_events;
    out["blocked_ns"] = lane.counts.blocked_ns;
    return out;
}

py::dict worker_of(const WorkerStats& worker) {
    py::dict out;
    out["name"] = worker.name;
    out["applied"] = worker.applied;
    out["outside_sessions"] = worker.outside;
    out["log_waits"] = worker.log_waits;
    out["wake_ups"] = worker.wake_ups;
    out["ingest"] = latency_of(worker.ingest);
    out["close"] = latency_of(worker.close);
    return out;
}

}  // namespace

py::dict stats_to_python(const ProducerStats& stats) {
    py::dict rejected;
    for (std::size_t i = 0; i < stats.rejected.size(); ++i) {
        if (stats.rejected[i] != 0)
            rejected[py::str(std::string(engine_reason_name(i)))] = stats.rejected[i];
    }
    py::list lanes;
    for (const ProducerStats::Lane& lane : stats.lanes) lanes.append(lane_of(lane));
    py::dict out;
    out["name"] = stats.name;
    out["source"] = stats.source;
    out["offered"] = stats.offered;
    out["accepted"] = stats.accepted;
    out["in_flight"] = stats.in_flight;
    out["rejected"] = rejected;
    out["dropped"] = dropped_of(stats);
    out["lanes"] = lanes;
    return out;
}

py::dict stats_to_python(const EngineStats& stats) {
    py::list producers;
    for (const ProducerStats& producer : stats.producers) producers.append(stats_to_python(producer));
    py::list workers;
    for (const WorkerStats& worker : stats.workers) workers.append(worker_of(worker));
    py::dict out;
    out["offered"] = stats.offered;
    out["accepted"] = stats.accepted;
    out["in_flight"] = stats.in_flight;
    out["dropped"] = dropped_of(stats);
    out["memory_misses"] = stats.memory_misses;
    out["producers"] = producers;
    out["workers"] = workers;
    out["ingest"] = latency_of(stats.ingest);
    out["close"] = latency_of(stats.close);
    out["snapshot"] = latency_of(stats.snapshot);
    return out;
}

py::dict ids_to_python(const engine::IdCounts& counts) {
    py::dict out;
    out["duplicates"] = counts.duplicates;
    out["gaps"] = counts.gaps;
    out["out_of_order"] = counts.out_of_order;
    return out;
}

py::dict memory_to_python(const EngineMemory& memory) {
    py::dict out;
    out["symbols"] = memory.symbols;
    out["history"] = memory.history;
    out["kept_rows"] = memory.kept_rows;
    out["routes"] = memory.routes;
    out["lanes"] = memory.lanes;
    out["closed_rows"] = memory.closed_rows;
    out["captures"] = memory.captures;
    out["workers"] = memory.workers;
    out["consumers"] = memory.consumers;
    out["symbol_count"] = memory.symbol_count;
    out["interval_count"] = memory.interval_count;
    return out;
}

}  // namespace klineagg
