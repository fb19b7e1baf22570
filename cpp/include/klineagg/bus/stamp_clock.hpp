// The system's UTC for the stamps of messages, at a fraction of what asking for it costs.
#pragma once

#include <cstdint>

#include "klineagg/time.hpp"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace klineagg::bus {

/// A counter of the core and the clocks of the system.
struct SystemTicks {
    /// The system's own clock makes the core finish all that comes before it, so that asking for
    /// the time costs a message up to 80 ns. The counter alone does not.
    static std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
        return __rdtsc();
#else
        return 0;
#endif
    }
    /// Whether the counter runs at one rate on all cores, asleep or awake.
    static bool steady() noexcept;
    static TimeNs utc() noexcept;
    static std::int64_t monotonic_ns() noexcept;
};

/// The system's UTC, for one thread at a time. Between its looks at the system's clock, which it
/// takes again after SPAN_NS, it counts ticks at the rate that it has measured: less than a
/// microsecond off, and a step of the system's clock is followed within SPAN_NS.
template <class Ticks>
class TickClock {
public:
    static constexpr std::int64_t SPAN_NS = 1'000'000;

    TickClock() noexcept : steady_(Ticks::steady()) {}

    [[nodiscard]] TimeNs now() noexcept {
        const std::uint64_t ticks = Ticks::ticks();
        // Also after a counter that stepped back: the difference is huge then.
        const std::uint64_t passed = ticks - anchor_ticks_;
        if (passed >= span_ticks_) [[unlikely]] return look();
        return anchor_utc_ + scaled(passed);
    }

private:
    static constexpr int SHIFT = 24;
    // Of what a look at both clocks takes at most, unless the thread loses its core in it.
    static constexpr std::int64_t LOOK_NS_MAX = 2'000;
    static constexpr std::int64_t RATE_NS_MIN = 10'000'000;

    [[nodiscard]] std::int64_t scaled(std::uint64_t ticks) const noexcept {
        return static_cast<std::int64_t>((ticks * rate_) >> SHIFT);
    }

    TimeNs look() noexcept {
        if (!steady_) return Ticks::utc();
        const std::int64_t since = Ticks::monotonic_ns();
        const TimeNs utc = Ticks::utc();
        const std::uint64_t ticks = Ticks::ticks();
        const std::int64_t until = Ticks::monotonic_ns();
        // Without its core in between: then the three do not belong together. Until the next
        // call, which looks again.
        span_ticks_ = 0;
        if (until - since > LOOK_NS_MAX) return utc;
        const TimeNs counted = anchor_utc_ + scaled(ticks - anchor_ticks_);
        measure(ticks, until);
        if (rate_ == 0) return utc;
        // What was counted may have been ahead of the system by a little: the stamps of one
        // publisher do not step back for that.
        const bool ahead = anchor_utc_ != 0 && counted > utc && counted - utc < LOOK_NS_MAX;
        anchor_utc_ = ahead ? counted : utc;
        anchor_ticks_ = ticks;
        span_ticks_ = (static_cast<std::uint64_t>(SPAN_NS) << SHIFT) / rate_;
        return anchor_utc_;
    }

    /// Nanoseconds a tick, out of two looks that lie far enough apart.
    void measure(std::uint64_t ticks, std::int64_t monotonic) noexcept {
        const std::int64_t passed = monotonic - rate_since_ns_;
        if (rate_since_ns_ != 0 && passed < RATE_NS_MIN) return;
        const std::uint64_t counted = ticks - rate_since_ticks_;
        // A counter that stood still or stepped back is none; one faster than 16 GHz neither.
        const bool fits = counted != 0 && counted / 16 < static_cast<std::uint64_t>(passed) &&
                          passed < RATE_NS_MAX;
        if (rate_since_ns_ != 0)
            rate_ = fits ? (static_cast<std::uint64_t>(passed) << SHIFT) / counted : 0;
        rate_since_ns_ = monotonic;
        rate_since_ticks_ = ticks;
    }
    // Beyond it the product in measure() would not fit.
    static constexpr std::int64_t RATE_NS_MAX = std::int64_t{1} << 39;

    bool steady_;
    std::uint64_t anchor_ticks_ = 0;
    std::uint64_t span_ticks_ = 0;
    std::uint64_t rate_ = 0;  // nanoseconds a tick, << SHIFT
    TimeNs anchor_utc_ = 0;
    std::int64_t rate_since_ns_ = 0;
    std::uint64_t rate_since_ticks_ = 0;
};

using StampClock = TickClock<SystemTicks>;

}  // namespace klineagg::bus
