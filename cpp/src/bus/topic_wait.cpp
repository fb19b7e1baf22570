// Sleeping until a publisher of another process calls.
#include <algorithm>
#include <chrono>
#include <climits>
#include <thread>

#include "klineagg/bus/topic.hpp"

#if defined(__linux__)
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>
#endif

namespace klineagg::bus {
namespace {

// Where a wake-up could be missed, nobody sleeps for longer than this.
constexpr DurationNs NAP_NS = 500'000;

#if defined(__linux__)
bool remote_barrier() noexcept {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}
void sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t value, DurationNs left) noexcept {
    timespec timeout{};
    timeout.tv_sec = static_cast<decltype(timeout.tv_sec)>(left / NS_PER_SECOND);
    timeout.tv_nsec = static_cast<decltype(timeout.tv_nsec)>(left % NS_PER_SECOND);
    // Not the private kind: the word is shared between processes.
    syscall(SYS_futex, &word, FUTEX_WAIT, value, &timeout, nullptr, 0);
}
void wake_all(std::atomic<std::uint32_t>& word) noexcept {
    syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}
#else
bool remote_barrier() noexcept { return false; }
void sleep_on(std::atomic<std::uint32_t>&, std::uint32_t, DurationNs left) noexcept {
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(left, NAP_NS)));
}
void wake_all(std::atomic<std::uint32_t>&) noexcept {}
#endif

}  // namespace

bool Topic::register_remote_fence() noexcept {
#if defined(__linux__)
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
#else
    return false;
#endif
}

void Topic::wake() noexcept {
    std::atomic<std::uint32_t>& word = header_->wait_word;
    std::uint32_t value = word.load(std::memory_order_relaxed);
    do {
        if ((value & 1) == 0) return;  // of several publishers one calls the system
        // The next epoch, so that who is about to fall asleep on the old one does not.
    } while (!word.compare_exchange_weak(value, value + 1, std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
    wake_all(word);
}

void Topic::roster_changed() noexcept {
    header_->roster.fetch_add(1, std::memory_order_acq_rel);
    notify(false);
}

void Topic::park(const std::function<bool()>& has_work, engine::MonotonicNs deadline,
                 bool remote_fence) noexcept {
    std::atomic<std::uint32_t>& word = header_->wait_word;
    const std::uint32_t announced = word.fetch_or(1, std::memory_order_seq_cst) | 1;
    // Now each publisher passes a fence: one whose look at the word came before it has also shown
    // its record before it, to the look that follows; one that looks later sees the announcement.
    // Publishers that do not take part use a locked instruction of their own instead.
    const bool fenced = remote_barrier();
    if (has_work()) return;
    DurationNs left = NS_PER_SECOND / 4;
    if (deadline != engine::NO_DEADLINE) left = std::min(left, deadline - engine::monotonic_ns());
    if (remote_fence && !fenced) left = std::min(left, NAP_NS);
    if (left > 0) sleep_on(word, announced, left);
}

}  // namespace klineagg::bus
