#include "klineagg/engine/worker_metrics.hpp"

namespace klineagg::engine {

void WorkerMetrics::applied(std::span<const LaneRecord> records, MonotonicNs now) noexcept {
    // Records of one push have one stamp: almost all of this is one comparison for each.
    for (std::size_t begin = 0; begin < records.size();) {
        const std::uint32_t tick = records[begin].pushed_tick;
        std::size_t end = begin + 1;
        while (end < records.size() && records[end].pushed_tick == tick) ++end;
        if (tick != LANE_TICK_NONE) ingest_.record(lane_latency_ns(tick, now), end - begin);
        begin = end;
    }
}

void WorkerMetrics::shown(TimeNs now) noexcept {
    for (std::size_t i = 0; i < waiting_; ++i)
        close_.record(now - closed_[i].close_time, closed_[i].rows);
    waiting_ = 0;
}

void WorkerMetrics::refused_later(const LaneRefused& refused) noexcept {
    if (refused.total() == 0) return;
    refused_later_.update([&](auto& values) {
        values[0] += refused.late;
        values[1] += refused.beyond_horizon;
        values[2] += refused.duplicate;
    });
}

LaneRefused WorkerMetrics::refused_later() const noexcept {
    const auto values = refused_later_.read();
    return {values[0], values[1], values[2]};
}

}  // namespace klineagg::engine
