// What an engine tells about itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "klineagg/engine/metrics.hpp"
#include "klineagg/engine/producer.hpp"
#include "klineagg/engine/worker_metrics.hpp"

namespace klineagg {

struct WorkerStats {
    std::string name;
    std::uint64_t applied = 0;  // records it is done with, refused ones included
    std::uint64_t outside = 0;  // trades in no session of an interval
    std::uint64_t log_waits = 0;
    std::uint64_t wake_ups = 0;  // system calls that producers made to wake it
    engine::HistogramSnapshot ingest;
    engine::HistogramSnapshot close;
};

struct ConsumerStats {
    std::string name;
    std::uint64_t rows_behind = 0;  // closed rows that are held and not acknowledged
    bool outstanding = false;       // it has a snapshot that is neither acknowledged nor over
    TimeNs expires = TIME_NONE;     // the lease of that one, or of the last
    std::uint64_t rows_lost = 0;    // that the next snapshot will tell of
};

/// At one moment for each producer, with all that has left its lanes told apart:
/// offered == accepted + rejected + refused + dropped_newest + dropped_oldest + in_flight.
struct EngineStats {
    std::uint64_t offered = 0;
    std::uint64_t accepted = 0;
    std::uint64_t rejected = 0;
    std::uint64_t in_flight = 0;
    std::uint64_t dropped_newest = 0;
    std::uint64_t dropped_oldest = 0;
    engine::LaneRefused refused;
    // How often a worker or a producer had to make memory itself, or a worker to wait for some: the
    // keeper came too late.
    std::uint64_t memory_misses = 0;
    std::uint64_t keeper_turns = 0;
    std::vector<ProducerStats> producers;
    std::vector<WorkerStats> workers;
    engine::HistogramSnapshot ingest;    // push to applied; of single rows every 16th
    engine::HistogramSnapshot close;     // a bar's end, by the system's clock, to its row's being there
    engine::HistogramSnapshot snapshot;  // take and view, from call to return

    [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_newest + dropped_oldest; }
};

/// Bytes that the engine has from the heap or the system, by part; no estimates.
struct EngineMemory {
    std::size_t symbols = 0;      // bars in progress: slots and their levels, spare ones included
    std::size_t history = 0;      // closed bars that late trades can change, and ids seen
    std::size_t kept_rows = 0;    // keep_bars
    std::size_t routes = 0;
    std::size_t lanes = 0;
    std::size_t closed_rows = 0;  // unacknowledged, and chunks ready for more
    std::size_t captures = 0;     // rows of open bars on their way to a snapshot
    std::size_t workers = 0;      // tables by symbol, rooms to work in, histograms
    std::size_t consumers = 0;
    std::size_t symbol_count = 0;
    std::size_t interval_count = 0;

    [[nodiscard]] std::size_t total() const noexcept {
        return symbols + history + kept_rows + routes + lanes + closed_rows + captures + workers +
               consumers;
    }
    /// Of bars in progress; 0 without symbols.
    [[nodiscard]] double bytes_per_series() const noexcept {
        const std::size_t series = symbol_count * interval_count;
        return series == 0 ? 0.0 : static_cast<double>(symbols) / static_cast<double>(series);
    }
};

}  // namespace klineagg
