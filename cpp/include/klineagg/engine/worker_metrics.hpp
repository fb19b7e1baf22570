// What a worker measures: its counters, and how long trades and closed bars take.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/metrics.hpp"

namespace klineagg::engine {

/// What became of the trades that a worker took from its lanes; written by the worker alone.
struct alignas(LINE_BYTES) WorkerCounts {
    std::atomic<std::int64_t> applied{0};
    std::atomic<std::int64_t> late{0};
    std::atomic<std::int64_t> beyond_horizon{0};
    std::atomic<std::int64_t> outside{0};
    std::atomic<std::int64_t> duplicates{0};
    std::atomic<std::int64_t> log_waits{0};
};

/// Written by the worker alone, read by anybody. Nothing here reads a clock: the worker does, once
/// a block, and tells.
class WorkerMetrics {
public:
    // --- The worker ---

    /// Records that were applied just now.
    void applied(std::span<const LaneRecord> records, MonotonicNs now) noexcept;
    /// A row that closed for the first time and is not shown to readers yet.
    void closed(TimeNs close_time) noexcept {
        const bool same = waiting_ != 0 && closed_[waiting_ - 1].close_time == close_time;
        if (!same && waiting_ != BOUNDARIES) closed_[waiting_++] = {close_time, 0};
        ++closed_[waiting_ - 1].rows;
    }
    /// These rows are shown to readers at `now` (of the clock that closes bars).
    void shown(TimeNs now) noexcept;
    void forget() noexcept { waiting_ = 0; }
    [[nodiscard]] bool has_closed() const noexcept { return waiting_ != 0; }
    /// Of rows that had been settled as applied: they had to wait for their symbols.
    void refused_later(const LaneRefused& refused) noexcept;

    // --- Anybody ---

    [[nodiscard]] HistogramSnapshot ingest() const { return ingest_.read(); }
    [[nodiscard]] HistogramSnapshot close() const { return close_.read(); }
    [[nodiscard]] LaneRefused refused_later() const noexcept;

private:
    // Boundaries that one block passes, of all intervals together; more are taken as one.
    static constexpr std::size_t BOUNDARIES = 32;
    struct Boundary {
        TimeNs close_time;
        std::uint64_t rows;
    };

    Histogram ingest_;
    Histogram close_;
    CounterSet<3> refused_later_;
    std::array<Boundary, BOUNDARIES> closed_{};
    std::size_t waiting_ = 0;
};

}  // namespace klineagg::engine
