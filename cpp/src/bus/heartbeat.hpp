// One thread for all publishers of a process says that they live.
#pragma once

#include "klineagg/bus/ring.hpp"
#include "klineagg/time.hpp"

namespace klineagg::bus {

inline constexpr DurationNs HEARTBEAT_NS = 200'000'000;

/// From now until heartbeat_stop() of the same header, which must stay mapped so long.
void heartbeat_start(RingHeader& header);
void heartbeat_stop(RingHeader& header) noexcept;

}  // namespace klineagg::bus
