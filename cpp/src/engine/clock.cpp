#include "klineagg/engine/clock.hpp"

#include <chrono>
#include <string>

#include "klineagg/error.hpp"

namespace klineagg::engine {
namespace {

TimeNs checked(TimeNs time) {
    if (time < TIME_MIN || time > TIME_MAX) {
        throw Error(ErrorCode::invalid_option,
                    "a time of the clock lies outside the years 1900 to 2199: " +
                        std::to_string(time) + " ns",
                    {{"time", std::to_string(time)}});
    }
    return time;
}

}  // namespace

MonotonicNs monotonic_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

MonotonicNs deadline_after(DurationNs timeout_ns) noexcept {
    const MonotonicNs now = monotonic_ns();
    if (timeout_ns <= 0) return now;
    return timeout_ns >= NO_DEADLINE - now ? NO_DEADLINE : now + timeout_ns;
}

Clock::~Clock() = default;

TimeNs SystemClock::now() const noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

SimulatedClock::SimulatedClock(TimeNs start) : now_(checked(start)) {}

void SimulatedClock::advance(TimeNs time) {
    checked(time);
    TimeNs now = now_.load(std::memory_order_relaxed);
    do {
        if (time < now) {
            throw Error(ErrorCode::clock_backwards,
                        "the clock stands at " + std::to_string(now) + " ns, " +
                            std::to_string(now - time) + " ns past the time it was advanced to",
                        {{"now", std::to_string(now)}, {"time", std::to_string(time)}});
        }
        // Two threads may advance at once: the earlier of two times must not win.
    } while (!now_.compare_exchange_weak(now, time, std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
}

}  // namespace klineagg::engine
