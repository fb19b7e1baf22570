#include "klineagg/bus/stamp_clock.hpp"

#include <cstdint>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/bus/topic.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;

namespace {

constexpr std::int64_t MS = 1'000'000;

/// A machine whose clocks the test sets; 2.5 ticks a nanosecond.
struct Machine {
    static inline std::int64_t elapsed = 0;
    static inline std::int64_t utc_offset = 0;
    static inline std::uint64_t tick_offset = 0;
    static inline std::int64_t preempted = 0;  // in the middle of a look
    static inline bool is_steady = true;
    static inline int looks = 0;

    static std::uint64_t ticks() noexcept {
        return tick_offset + static_cast<std::uint64_t>(elapsed) * 5 / 2;
    }
    static bool steady() noexcept { return is_steady; }
    static TimeNs utc() noexcept {
        ++looks;
        const TimeNs now = elapsed + utc_offset;
        elapsed += preempted;
        return now;
    }
    static std::int64_t monotonic_ns() noexcept { return elapsed; }

    static void start() {
        elapsed = 1'000 * MS;
        utc_offset = 1'700'000'000'000 * MS;
        tick_offset = 77;
        preempted = 0;
        is_steady = true;
        looks = 0;
    }
    static TimeNs truth() { return elapsed + utc_offset; }
};

using TestClock = TickClock<Machine>;

/// Two looks that lie far enough apart to know the rate.
void learn(TestClock& clock) {
    CHECK(clock.now() == Machine::truth());
    Machine::elapsed += 20 * MS;
    CHECK(clock.now() == Machine::truth());
    Machine::looks = 0;
}

}  // namespace

TEST_CASE("a tick clock counts between its looks, and is right", "[bus][clock]") {
    Machine::start();
    TestClock clock;
    learn(clock);
    for (int i = 0; i < 100'000; ++i) {
        Machine::elapsed += 137;
        const TimeNs difference = clock.now() - Machine::truth();
        REQUIRE(difference <= 1);
        REQUIRE(difference >= -1);
    }
    CHECK(Machine::looks >= 13);  // 13.7 ms
    CHECK(Machine::looks <= 15);
}

TEST_CASE("a tick clock follows the system's when that is set", "[bus][clock]") {
    Machine::start();
    TestClock clock;
    learn(clock);
    const std::int64_t step = GENERATE(3'600'000 * MS, -3'600'000 * MS, 5 * MS, -5 * MS);
    Machine::utc_offset += step;
    Machine::elapsed += TestClock::SPAN_NS + 1;
    CHECK(clock.now() == Machine::truth());
    Machine::elapsed += 1000;
    CHECK(clock.now() - Machine::truth() <= 1);
    CHECK(Machine::truth() - clock.now() <= 1);
}

TEST_CASE("a tick clock does not step back for what it counted too much", "[bus][clock]") {
    Machine::start();
    TestClock clock;
    learn(clock);
    Machine::elapsed += TestClock::SPAN_NS - 100;
    const TimeNs before = clock.now();
    Machine::utc_offset -= 700;  // the system's clock is slewed
    Machine::elapsed += 200;
    CHECK(clock.now() >= before);
}

TEST_CASE("a counter that steps back, or a look that was interrupted, is not believed",
          "[bus][clock]") {
    Machine::start();
    TestClock clock;
    learn(clock);
    SECTION("the counter of another core") {
        Machine::tick_offset -= 77;
        Machine::elapsed += 20;
        const TimeNs difference = clock.now() - Machine::truth();
        CHECK(difference <= 0);
        CHECK(difference >= -20 - 77);
        Machine::tick_offset -= 2'000'000'000;
        CHECK(clock.now() == Machine::truth());
    }
    SECTION("the core was lost between the looks at the two clocks") {
        Machine::elapsed += 2 * TestClock::SPAN_NS;
        Machine::preempted = 50 * MS;
        (void)clock.now();
        Machine::preempted = 0;
        CHECK(clock.now() == Machine::truth());
    }
}

TEST_CASE("without a steady counter each look is the system's", "[bus][clock]") {
    Machine::start();
    Machine::is_steady = false;
    TestClock clock;
    for (int i = 0; i < 50; ++i) {
        Machine::elapsed += MS;
        CHECK(clock.now() == Machine::truth());
    }
    CHECK(Machine::looks == 50);
}

TEST_CASE("the publish times of a publisher rise and are the system's", "[bus][clock]") {
    const TestFolder place;
    Publisher publisher(place.folder(), "ticks", "feed", checked_type());
    Subscriber subscriber(place.folder(), "ticks", checked_type());
    constexpr TimeNs OFF = MS;  // of clocks that are being set
    TimeNs last = 0;
    Checked record;
    const std::int64_t until = engine::monotonic_ns() + 50 * MS;
    while (engine::monotonic_ns() < until) {
        const TimeNs before = utc_now();
        publisher.publish(Checked());
        const TimeNs after = utc_now();
        REQUIRE(subscriber.receive(std::span<Checked>(&record, 1)) == 1);
        const TimeNs stamp = record.header.publish_time;
        REQUIRE(stamp >= before - OFF);
        REQUIRE(stamp <= after + OFF);
        REQUIRE(stamp >= last);
        last = stamp;
    }
}
