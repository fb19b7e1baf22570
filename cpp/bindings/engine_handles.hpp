// What Python holds of an engine; none of it may be used or destroyed in a forked child.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "fork_guard.hpp"
#include "klineagg/engine.hpp"

namespace klineagg {

using EngineHandle = ForkGuarded<Engine>;
using SnapshotHandle = ForkGuarded<Snapshot>;

class ProducerHandle : public ForkGuarded<Producer> {
public:
    ProducerHandle(std::shared_ptr<Producer> producer, DurationNs timeout)
        : ForkGuarded(std::move(producer)), timeout_ns(timeout) {}

    std::atomic<DurationNs> timeout_ns;  // of calls that name none
};

}  // namespace klineagg
