// What Python holds of an engine; none of it may be used or destroyed in a forked child.
#pragma once

#include "fork_guard.hpp"
#include "klineagg/engine.hpp"

namespace klineagg {

using EngineHandle = ForkGuarded<Engine>;
using ProducerHandle = ForkGuarded<Producer>;
using SnapshotHandle = ForkGuarded<Snapshot>;

}  // namespace klineagg
