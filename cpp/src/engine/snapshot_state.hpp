// What a snapshot holds; it may outlive the engine.
#pragma once

#include <memory>
#include <string>

#include "klineagg/engine/snapshotter.hpp"

namespace klineagg {

struct Snapshot::State {
    std::shared_ptr<engine::Core> core;  // before the snapshotter, which refers to it
    std::shared_ptr<engine::Snapshotter> snapshotter;
    std::string consumer;
    SnapshotId id;
    TimeNs watermark = TIME_NONE;
    std::uint64_t rows_lost = 0;
    std::uint64_t position = 0;
    std::shared_ptr<const BarTable> closed;
    std::shared_ptr<const BarTable> open;
    std::shared_ptr<const std::vector<std::byte>> checkpoint;
};

}  // namespace klineagg
