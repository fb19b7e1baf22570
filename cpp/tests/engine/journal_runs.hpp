// Engines with a log in memory, for the tests of both.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "batch_run.hpp"
#include "klineagg/engine.hpp"
#include "klineagg/engine/checkpoint.hpp"
#include "wal/faulty_files.hpp"

namespace klineagg::test {

inline wal::LogOptions log_options(wal::SyncMode sync = wal::SyncMode::interval) {
    wal::LogOptions options;
    options.sync = sync;
    options.segment_bytes = 1U << 16U;
    options.ring_bytes = 1U << 20U;
    options.interval_ns = 1'000'000;
    return options;
}

/// An engine with one producer, and all it has told. Without files it has no log.
struct Logged {
    Logged(const std::vector<Interval>& intervals, EngineOptions options,
           std::shared_ptr<FaultyFiles> disk, wal::LogOptions log_opts = log_options())
        : files(std::move(disk)) {
        if (!options.clock) options.clock = std::make_shared<engine::SimulatedClock>();
        if (files) {
            log = std::make_shared<wal::Log>(files, "log", log_opts);
            options.journal.log = log;
        }
        engine = std::make_unique<Engine>(RollupPlan(intervals), options);
        engine->start();
        producer = engine->producer("feed", 3);
    }
    Snapshot take(bool with_checkpoint = false) {
        Snapshot snapshot = engine->take("lake", {}, with_checkpoint);
        collect(snapshot.closed(), closed);
        return snapshot;
    }
    Series view() const {
        Series open;
        collect(*engine->view().open, open);
        return open;
    }
    /// What the state is, whoever took how many snapshots of it.
    std::vector<std::byte> state() const {
        const std::vector<std::byte> bytes = engine->checkpoint();
        const auto place = engine::get_placed(bytes);
        const std::span<const std::byte> inner = place ? place->checkpoint : bytes;
        return {inner.begin() + engine::CHECKPOINT_STATE_BEGIN, inner.end()};
    }

    std::shared_ptr<FaultyFiles> files;
    std::shared_ptr<wal::Log> log;
    std::unique_ptr<Engine> engine;
    std::shared_ptr<Producer> producer;
    Series closed;
};

/// Where two states differ.
inline std::string differs(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
        if (a[i] != b[i]) return "byte " + std::to_string(i) + " of " + std::to_string(a.size());
    return a.size() == b.size() ? "" : "another size";
}

}  // namespace klineagg::test
