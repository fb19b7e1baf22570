#include "klineagg/engine/wait.hpp"

#include <atomic>
#include <cstdint>
#include <ctime>
#include <thread>
#include <vector>

#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::engine;

namespace {

/// Waits until `ready`, as a worker does.
template <class Ready>
void wait_for(Waiter& waiter, Ready&& ready, MonotonicNs deadline = NO_DEADLINE) {
    while (!ready() && (deadline == NO_DEADLINE || monotonic_ns() < deadline))
        waiter.idle(ready, deadline);
    waiter.reset();
}

}  // namespace

TEST_CASE("two threads that wait for each other lose no wake-up", "[engine][wait]") {
    // Without deadlines: one lost wake-up and this never ends.
    const WaitKind kind = GENERATE(WaitKind::park, WaitKind::backoff, WaitKind::spin);
    const int rounds = kind == WaitKind::park ? 20'000 : 300;
    Waiter here(kind);
    Waiter there(kind);
    std::atomic<int> ping{0};
    std::atomic<int> pong{0};
    std::thread other([&] {
        for (int i = 1; i <= rounds; ++i) {
            wait_for(there, [&] { return ping.load(std::memory_order_acquire) == i; });
            pong.store(i, std::memory_order_release);
            here.notify();
        }
    });
    for (int i = 1; i <= rounds; ++i) {
        ping.store(i, std::memory_order_release);
        there.notify();
        wait_for(here, [&] { return pong.load(std::memory_order_acquire) == i; });
    }
    other.join();
    CHECK(ping == pong);
    if (kind == WaitKind::spin) CHECK(here.wake_count() + there.wake_count() == 0);
}

TEST_CASE("work that comes at the very moment of parking is seen", "[engine][wait]") {
    // Straight into the parked stage each time, by never resetting: the notifier hits the moment
    // between the look and the sleep again and again.
    Waiter waiter(WaitKind::park);
    constexpr std::uint64_t COUNT = 20'000;
    std::atomic<std::uint64_t> work{0};
    std::atomic<std::uint64_t> seen{0};
    std::thread worker([&] {
        std::uint64_t last = 0;
        while (last < COUNT) {
            waiter.idle([&] { return work.load(std::memory_order_acquire) != last; });
            last = work.load(std::memory_order_acquire);
            seen.store(last, std::memory_order_release);
        }
    });
    for (std::uint64_t i = 1; i <= COUNT; ++i) {
        work.store(i, std::memory_order_relaxed);
        waiter.notify();
        while (seen.load(std::memory_order_acquire) != i) spin_pause();
    }
    worker.join();
    CHECK(seen == COUNT);
}

TEST_CASE("many may notify one", "[engine][wait]") {
    Waiter waiter(WaitKind::park);
    constexpr int NOTIFIERS = 3;
    constexpr std::uint64_t EACH = 5'000;
    std::atomic<std::uint64_t> work{0};
    std::vector<std::thread> notifiers;
    for (int i = 0; i < NOTIFIERS; ++i) {
        notifiers.emplace_back([&] {
            for (std::uint64_t n = 0; n < EACH; ++n) {
                work.fetch_add(1, std::memory_order_release);
                waiter.notify();
            }
        });
    }
    wait_for(waiter, [&] { return work.load() == NOTIFIERS * EACH; });
    for (std::thread& thread : notifiers) thread.join();
    CHECK(work == NOTIFIERS * EACH);
}

TEST_CASE("waiting ends at the deadline without any call", "[engine][wait]") {
    const WaitKind kind = GENERATE(WaitKind::park, WaitKind::backoff, WaitKind::spin);
    Waiter waiter(kind);
    const MonotonicNs deadline = deadline_after(20'000'000);
    wait_for(waiter, [] { return false; }, deadline);
    CHECK(monotonic_ns() >= deadline);
    // One that has passed is no wait at all.
    wait_for(waiter, [] { return false; }, monotonic_ns() - 1);
}

TEST_CASE("a parked thread uses no processor time", "[engine][wait]") {
    Waiter waiter(WaitKind::park);
    const auto processor_ns = [] {
        timespec used{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        return static_cast<std::int64_t>(used.tv_sec) * NS_PER_SECOND + used.tv_nsec;
    };
    const std::int64_t before = processor_ns();
    wait_for(waiter, [] { return false; }, deadline_after(NS_PER_SECOND / 2));
    // Of half a second, spinning and falling asleep may take a tenth under a sanitizer.
    CHECK(processor_ns() - before < NS_PER_SECOND / 20);
}

TEST_CASE("nobody is called who is not parked", "[engine][wait]") {
    Waiter waiter(WaitKind::park);
    for (int i = 0; i < 1'000; ++i) waiter.notify();
    CHECK(waiter.wake_count() == 0);
    bool asked = false;
    for (int i = 0; i < 1'000 && !asked; ++i)
        waiter.idle([&] { return asked = true; });  // work there: it does not fall asleep
    CHECK(asked);
    waiter.notify();
    CHECK(waiter.wake_count() == 0);
}
