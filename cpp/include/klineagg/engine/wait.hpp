// How a thread waits for work: from never letting go of its core to sleeping until it is called.
#pragma once

#include <atomic>
#include <cstdint>

#include "klineagg/engine/clock.hpp"

namespace klineagg::engine {

enum class WaitKind : std::uint8_t {
    spin,     // for a core of its own: answers at once, uses the core to the full
    backoff,  // spins, then yields, then sleeps for up to WAIT_SLEEP_NS_MAX, and after 10 ms parks
    park,     // spins for a moment, then sleeps until it is notified or the deadline has come
};

inline constexpr DurationNs WAIT_SLEEP_NS_MAX = 500'000;

/// Lets the core's other thread, and the memory bus, have a moment.
inline void spin_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb" ::: "memory");
#endif
}

/// One thread waits, any number of others notify. Usage, on the side that waits:
///
///     if (work()) waiter.reset();
///     else waiter.idle([&] { return anything_to_do(); }, deadline);
///
/// and on the other: make the work visible (any store will do), then `notify()`. A parked thread
/// announces itself before it looks once more, so whatever was visible before a `notify()` is
/// seen by that look, or the `notify()` sees the announcement: no wake-up is missed.
class Waiter {
public:
    explicit Waiter(WaitKind kind);
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

    [[nodiscard]] WaitKind kind() const noexcept { return kind_; }

    // --- The waiting thread ---

    /// There was work: the next wait starts with spinning again.
    void reset() noexcept { rounds_ = 0; }

    /// One step of waiting: returns after a moment, or when there may be work, or at `deadline`,
    /// to be called again as long as nothing was found. `has_work` is asked right before the
    /// thread falls asleep for longer.
    /// True when it slept parked.
    template <class HasWork>
    bool idle(HasWork&& has_work, MonotonicNs deadline = NO_DEADLINE) {
        if (rounds_ < SPIN_ROUNDS) {
            if (kind_ != WaitKind::spin) ++rounds_;
            for (int i = 0; i < SPIN_PAUSES; ++i) spin_pause();
            return false;
        }
        if (kind_ == WaitKind::backoff && rounds_ < PARK_ROUNDS) {
            back_off(deadline);
            return false;
        }
        announce();
        const bool sleeps = !has_work();
        if (sleeps) sleep(deadline);
        withdraw();
        return sleeps;
    }

    // --- Any thread ---

    /// Costs one load of a line that nobody writes as long as nobody is parked; no system call.
    void notify() noexcept {
        if (kind_ == WaitKind::spin) return;
        if (remote_fence_) {
            // The parking thread's own fence reaches every core: see announce().
            std::atomic_signal_fence(std::memory_order_seq_cst);
            if (parked_.load(std::memory_order_relaxed) == 0) return;
        } else if (parked_.fetch_add(0, std::memory_order_seq_cst) == 0) {
            return;
        }
        wake();
    }

    /// It sleeps until it is notified or its deadline has come, or is about to.
    [[nodiscard]] bool is_parked() const noexcept {
        return parked_.load(std::memory_order_acquire) != 0;
    }
    /// How often `notify()` had to call a parked thread: each is a system call of the notifier.
    [[nodiscard]] std::uint64_t wake_count() const noexcept {
        return wakes_.load(std::memory_order_relaxed);
    }

private:
    static constexpr int SPIN_PAUSES = 16;
    static constexpr std::uint32_t SPIN_ROUNDS = 64;
    static constexpr std::uint32_t YIELD_ROUNDS = 16;
    static constexpr std::uint32_t SLEEP_ROUNDS = 24;  // of backing off: 10 ms
    static constexpr std::uint32_t PARK_ROUNDS = SPIN_ROUNDS + YIELD_ROUNDS + SLEEP_ROUNDS;

    void back_off(MonotonicNs deadline) noexcept;
    void announce() noexcept;
    void sleep(MonotonicNs deadline) noexcept;
    void withdraw() noexcept;
    void wake() noexcept;

    const WaitKind kind_;
    const bool remote_fence_;
    std::uint32_t rounds_ = 0;  // of the waiting thread, since its last work
    alignas(128) std::atomic<std::uint32_t> parked_{0};
    alignas(128) std::atomic<std::uint64_t> wakes_{0};
};

/// Any number of threads wait for something that others make happen all the time, and that costs
/// these one load while nobody waits.
class Signal {
public:
    Signal();
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;

    /// Waits until `is_true()` or the deadline. It must become true before a `notify()`; is asked
    /// again now and then without one.
    template <class IsTrue>
    bool wait(MonotonicNs deadline, IsTrue&& is_true) {
        if (is_true()) return true;
        begin_wait();
        bool result = false;
        while (true) {
            const std::uint32_t seen = version_.load(std::memory_order_acquire);
            result = is_true();
            if (result || (deadline != NO_DEADLINE && monotonic_ns() >= deadline)) break;
            sleep(seen, deadline);
        }
        waiters_.fetch_sub(1, std::memory_order_relaxed);
        return result;
    }
    void notify() noexcept {
        if (remote_fence_) {
            // The fence of who begins to wait reaches every core: see Waiter::announce().
            std::atomic_signal_fence(std::memory_order_seq_cst);
            if (waiters_.load(std::memory_order_relaxed) == 0) return;
        } else if (waiters_.fetch_add(0, std::memory_order_seq_cst) == 0) {
            return;
        }
        wake();
    }

private:
    void begin_wait() noexcept;
    void sleep(std::uint32_t seen, MonotonicNs deadline) noexcept;
    void wake() noexcept;

    const bool remote_fence_;
    alignas(128) std::atomic<std::uint32_t> waiters_{0};
    alignas(128) std::atomic<std::uint32_t> version_{0};
};

}  // namespace klineagg::engine
