#include "klineagg/engine/wait.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#if defined(__linux__)
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>
#endif

namespace klineagg::engine {
namespace {

constexpr DurationNs SLEEP_NS_MIN = 20'000;
constexpr DurationNs SIGNAL_LOOK_NS = 100'000'000;  // for what nobody notifies of

#if defined(__linux__)

/// Whether a thread can make all other threads of the process pass a fence. Asked for each
/// waiter, since the process that registered may have been forked.
bool register_remote_fence() noexcept {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}
void remote_fence() noexcept {
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}
static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

#else

bool register_remote_fence() noexcept { return false; }
void remote_fence() noexcept {}

#endif

void sleep_until(MonotonicNs deadline, DurationNs at_most) noexcept {
    const DurationNs left =
        deadline == NO_DEADLINE ? at_most : std::min(at_most, deadline - monotonic_ns());
    if (left > 0) std::this_thread::sleep_for(std::chrono::nanoseconds(left));
}

/// Until somebody wakes who waits for this number, or at once when it is another one already.
void sleep_while(std::atomic<std::uint32_t>& number, std::uint32_t value,
                 MonotonicNs deadline) noexcept {
#if defined(__linux__)
    timespec timeout{};
    timespec* limit = nullptr;
    if (deadline != NO_DEADLINE) {
        const DurationNs left = deadline - monotonic_ns();
        if (left <= 0) return;
        timeout.tv_sec = static_cast<decltype(timeout.tv_sec)>(left / NS_PER_SECOND);
        timeout.tv_nsec = static_cast<decltype(timeout.tv_nsec)>(left % NS_PER_SECOND);
        limit = &timeout;
    }
    syscall(SYS_futex, &number, FUTEX_WAIT_PRIVATE, value, limit, nullptr, 0);
#else
    // No timed wait on a number here: short sleeps, each of which looks for work when it is over.
    if (number.load() == value) sleep_until(deadline, WAIT_SLEEP_NS_MAX);
#endif
}

}  // namespace

Waiter::Waiter(WaitKind kind)
    : kind_(kind), remote_fence_(kind != WaitKind::spin && register_remote_fence()) {}

void Waiter::back_off(MonotonicNs deadline) noexcept {
    const std::uint32_t step = rounds_++ - SPIN_ROUNDS;
    if (step < YIELD_ROUNDS) {
        std::this_thread::yield();
        return;
    }
    const std::uint32_t doublings = step - YIELD_ROUNDS;
    sleep_until(deadline, std::min(SLEEP_NS_MIN << doublings, WAIT_SLEEP_NS_MAX));
}

void Waiter::announce() noexcept {
    if (!remote_fence_) {
        // A read-modify-write here and one in notify(): whichever comes second sees the other.
        parked_.exchange(1, std::memory_order_seq_cst);
        return;
    }
    parked_.store(1, std::memory_order_relaxed);
    // Now every other core passes a fence: a notifier whose load came before it has also made its
    // work visible before it, to the look that follows; one whose load comes after it sees the 1.
    remote_fence();
}

void Waiter::sleep(MonotonicNs deadline) noexcept { sleep_while(parked_, 1, deadline); }

void Waiter::withdraw() noexcept { parked_.store(0, std::memory_order_relaxed); }

void Waiter::wake() noexcept {
    // Of several notifiers one calls the system.
    if (parked_.exchange(0, std::memory_order_acq_rel) == 0) return;
    wakes_.fetch_add(1, std::memory_order_relaxed);
#if defined(__linux__)
    syscall(SYS_futex, &parked_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
#endif
}

Signal::Signal() : remote_fence_(register_remote_fence()) {}

void Signal::begin_wait() noexcept {
    waiters_.fetch_add(1, std::memory_order_seq_cst);
    if (remote_fence_) remote_fence();
}

void Signal::sleep(std::uint32_t seen, MonotonicNs deadline) noexcept {
    sleep_while(version_, seen, std::min(deadline, deadline_after(SIGNAL_LOOK_NS)));
}

void Signal::wake() noexcept {
    version_.fetch_add(1, std::memory_order_release);
#if defined(__linux__)
    syscall(SYS_futex, &version_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
#endif
}

}  // namespace klineagg::engine
