#include "klineagg/bus/stamp_clock.hpp"

#include "klineagg/bus/topic.hpp"
#include "klineagg/engine/clock.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace klineagg::bus {

bool SystemTicks::steady() noexcept {
#if defined(__x86_64__)
    constexpr unsigned POWER_LEAF = 0x80000007;
    constexpr unsigned INVARIANT_COUNTER = 1U << 8U;
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    return __get_cpuid(POWER_LEAF, &eax, &ebx, &ecx, &edx) != 0 && (edx & INVARIANT_COUNTER) != 0;
#else
    return false;
#endif
}

TimeNs SystemTicks::utc() noexcept { return utc_now(); }

std::int64_t SystemTicks::monotonic_ns() noexcept { return engine::monotonic_ns(); }

}  // namespace klineagg::bus
