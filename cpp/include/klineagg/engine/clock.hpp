// What time it is: a seam, so that replays, backtests and tests say it themselves.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "klineagg/time.hpp"

namespace klineagg::engine {

/// Nanoseconds of a clock that is never set: for latencies and timeouts, never for event times.
using MonotonicNs = std::int64_t;

inline constexpr MonotonicNs NO_DEADLINE = std::numeric_limits<std::int64_t>::max();

[[nodiscard]] MonotonicNs monotonic_ns() noexcept;

/// `timeout_ns` from now. Negative: at once; too long for the clock: NO_DEADLINE.
[[nodiscard]] MonotonicNs deadline_after(DurationNs timeout_ns) noexcept;

/// The time that closes bars and judges stamps of the future. Any thread may ask.
class Clock {
public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock();

    [[nodiscard]] virtual TimeNs now() const noexcept = 0;
    /// Moves by `SimulatedClock::advance` alone: nobody needs to look at it by itself.
    [[nodiscard]] virtual bool simulated() const noexcept = 0;
};

/// The system's UTC. It may step back when it is set: watermarks only ever rise, so nothing does.
class SystemClock final : public Clock {
public:
    [[nodiscard]] TimeNs now() const noexcept override;
    [[nodiscard]] bool simulated() const noexcept override { return false; }
};

/// Stands still until it is told to advance.
class SimulatedClock final : public Clock {
public:
    /// The earliest time by default, so that the first trade or advance may have any time.
    /// Throws invalid_option when `start` lies outside [TIME_MIN, TIME_MAX].
    explicit SimulatedClock(TimeNs start = TIME_MIN);

    [[nodiscard]] TimeNs now() const noexcept override {
        return now_.load(std::memory_order_acquire);
    }
    [[nodiscard]] bool simulated() const noexcept override { return true; }

    /// Any thread. The same time again is no step. Throws clock_backwards for an earlier one and
    /// invalid_option for one outside [TIME_MIN, TIME_MAX]; the clock then stays as it was.
    void advance(TimeNs time);

private:
    std::atomic<TimeNs> now_;
};

}  // namespace klineagg::engine
