// Time: int64 nanoseconds since the Unix epoch, UTC. Never a float, never local time.
#pragma once

#include <cstdint>
#include <limits>

namespace klineagg {

using TimeNs = std::int64_t;
using DurationNs = std::int64_t;

inline constexpr DurationNs NS_PER_SECOND = 1'000'000'000;
inline constexpr DurationNs NS_PER_MINUTE = 60 * NS_PER_SECOND;
inline constexpr DurationNs NS_PER_HOUR = 60 * NS_PER_MINUTE;
inline constexpr DurationNs NS_PER_DAY = 24 * NS_PER_HOUR;

// Event times outside [1900, 2200) are refused, which leaves room for every
// addition and floor in the core to stay clear of overflow.
inline constexpr TimeNs TIME_MIN = -25567LL * NS_PER_DAY;  // 1900-01-01
inline constexpr TimeNs TIME_MAX = 84006LL * NS_PER_DAY;   // 2200-01-01

/// NumPy's NaT: the time of something that did not happen.
inline constexpr TimeNs TIME_NONE = std::numeric_limits<std::int64_t>::min();

/// Rounds towards minus infinity, also before 1970.
constexpr TimeNs floor_to(TimeNs time, DurationNs period, DurationNs phase = 0) noexcept {
    const TimeNs shifted = time - phase;
    const TimeNs remainder = shifted % period;
    return time - remainder - (remainder < 0 ? period : 0);
}

}  // namespace klineagg
