#include "klineagg/engine/clock.hpp"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::engine;
using klineagg::test::error_of;
using klineagg::test::field_of;

TEST_CASE("the system's clock tells UTC in nanoseconds", "[engine][clock]") {
    const auto utc = [] {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(
                   std::chrono::system_clock::now().time_since_epoch())
            .count();
    };
    const SystemClock clock;
    const TimeNs before = utc();
    const TimeNs now = clock.now();
    CHECK(now >= before);
    CHECK(now <= utc());
    CHECK_FALSE(clock.simulated());
}

TEST_CASE("a simulated clock moves when it is told to, and forward only", "[engine][clock]") {
    SimulatedClock clock;
    CHECK(clock.simulated());
    CHECK(clock.now() == TIME_MIN);
    clock.advance(-1);
    CHECK(clock.now() == -1);
    clock.advance(5 * NS_PER_SECOND);
    clock.advance(5 * NS_PER_SECOND);
    CHECK(clock.now() == 5 * NS_PER_SECOND);

    const Error back = error_of([&] { clock.advance(5 * NS_PER_SECOND - 1); });
    CHECK(back.code() == ErrorCode::clock_backwards);
    CHECK(field_of(back, "now") == "5000000000");
    CHECK(field_of(back, "time") == "4999999999");
    CHECK(clock.now() == 5 * NS_PER_SECOND);

    CHECK(error_of([&] { clock.advance(TIME_MAX + 1); }).code() == ErrorCode::invalid_option);
    CHECK(error_of([&] { clock.advance(TIME_NONE); }).code() == ErrorCode::invalid_option);
    CHECK(error_of([] { SimulatedClock(TIME_MIN - 1); }).code() == ErrorCode::invalid_option);
    CHECK(clock.now() == 5 * NS_PER_SECOND);
    CHECK(SimulatedClock(TIME_MAX).now() == TIME_MAX);
}

TEST_CASE("a simulated clock never steps back between threads", "[engine][clock]") {
    SimulatedClock clock(0);
    std::atomic<bool> done{false};
    std::atomic<int> steps_back{0};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        TimeNs last = 0;
        while (!done) {
            const TimeNs now = clock.now();
            if (now < last) ++steps_back;
            last = now;
        }
    });
    std::vector<std::thread> movers;
    for (int mover = 0; mover < 3; ++mover) {
        movers.emplace_back([&clock, mover] {
            for (TimeNs time = mover; time < 20'000; time += 3) {
                try {
                    clock.advance(time);
                } catch (const Error&) {  // another one was faster
                }
            }
        });
    }
    for (std::thread& thread : movers) thread.join();
    done = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(steps_back == 0);
    CHECK(clock.now() == 19'999);
}

TEST_CASE("deadlines do not overflow", "[engine][clock]") {
    const MonotonicNs now = monotonic_ns();
    CHECK(deadline_after(0) >= now);
    const MonotonicNs past = deadline_after(-5);
    CHECK(past >= now);
    CHECK(past <= monotonic_ns());
    CHECK(deadline_after(NS_PER_DAY) >= now + NS_PER_DAY);
    CHECK(deadline_after(NO_DEADLINE) == NO_DEADLINE);
    CHECK(deadline_after(NO_DEADLINE - 1) == NO_DEADLINE);
}
