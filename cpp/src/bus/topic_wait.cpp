// Sleeping until a publisher of another process calls.
#include <algorithm>
#include <chrono>
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
// A publisher wakes so many readers, each of which wakes others: what it pays does not grow with
// their number. Two, so that one that is stopped or killed in between does not hold up the rest;
// whoever is not called all the same looks by himself, see PARK_NS.
constexpr int PUBLISHER_CALLS = 2;
constexpr int READER_CALLS = 4;
constexpr DurationNs PARK_NS = 250'000'000;

#if defined(__linux__)
bool remote_barrier() noexcept {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}
// Sleepers are told apart by their epoch, so that a call reaches those who slept before it and
// nobody who has fallen asleep since: readers that call each other would keep each other awake.
std::uint32_t epoch_bit(std::uint32_t value) noexcept { return 1U << ((value >> 1U) & 31U); }

/// True when somebody called.
bool sleep_on(std::atomic<std::uint32_t>& word, std::uint32_t value, DurationNs left) noexcept {
    const engine::MonotonicNs until = engine::monotonic_ns() + left;
    timespec timeout{};
    timeout.tv_sec = static_cast<decltype(timeout.tv_sec)>(until / NS_PER_SECOND);
    timeout.tv_nsec = static_cast<decltype(timeout.tv_nsec)>(until % NS_PER_SECOND);
    // Not the private kind: the word is shared between processes.
    return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, value, &timeout, nullptr,
                   epoch_bit(value)) == 0;
}
void call(std::atomic<std::uint32_t>& word, int sleepers) noexcept {
    const std::uint32_t now = word.load(std::memory_order_relaxed);
    syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, sleepers, nullptr, nullptr, ~epoch_bit(now));
}
#else
bool remote_barrier() noexcept { return false; }
bool sleep_on(std::atomic<std::uint32_t>&, std::uint32_t, DurationNs left) noexcept {
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(left, NAP_NS)));
    return false;
}
void call(std::atomic<std::uint32_t>&, int) noexcept {}
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
    call(word, PUBLISHER_CALLS);
}

void Topic::roster_changed() noexcept {
    header_->roster.fetch_add(1, std::memory_order_acq_rel);
    notify(false);
}

void Topic::park(const std::function<bool()>& has_work, engine::MonotonicNs deadline,
                 bool remote_fence) noexcept {
    std::atomic<std::uint32_t>& word = header_->wait_word;
    // Somebody else may have announced himself: then the word, which publishers look at for each
    // message, is left alone. His store came before this load, and a look that does not see it has
    // shown its record before it; should it be taken back meanwhile, nobody falls asleep on it.
    std::uint32_t announced = word.load(std::memory_order_acquire);
    if ((announced & 1) == 0) announced = word.fetch_or(1, std::memory_order_seq_cst) | 1;
    // Now each publisher passes a fence: one whose look at the word came before it has also shown
    // its record before it, to the look that follows; one that looks later sees the announcement.
    // Publishers that do not take part use a locked instruction of their own instead.
    const bool fenced = remote_barrier();
    if (has_work()) return;
    DurationNs left = PARK_NS;
    if (deadline != engine::NO_DEADLINE) left = std::min(left, deadline - engine::monotonic_ns());
    if (remote_fence && !fenced) left = std::min(left, NAP_NS);
    if (left > 0 && sleep_on(word, announced, left)) call(word, READER_CALLS);
}

}  // namespace klineagg::bus
