#include "klineagg/fixed_grid.hpp"

#include <vector>

#include "catch.hpp"
#include "klineagg/interval.hpp"
#include "support.hpp"

using namespace klineagg;

TEST_CASE("a grid floors as a division does", "[fixed_grid]") {
    std::vector<DurationNs> periods;
    for (const std::int64_t seconds : {1, 2, 3, 5, 7, 60, 61, 300, 3'599, 3'600, 86'400, 604'800})
        periods.push_back(seconds * NS_PER_SECOND);
    for (int bit = 30; bit < 50; ++bit) periods.push_back(DurationNs{1} << bit);  // powers of two
    periods.push_back(INTERVAL_PERIOD_MAX);
    periods.push_back(INTERVAL_PERIOD_MAX - NS_PER_SECOND);
    test::Rng rng(7);
    for (const DurationNs period : periods) {
        for (const DurationNs phase : {DurationNs{0}, NS_PER_SECOND, period - NS_PER_SECOND}) {
            const FixedGrid grid(period, phase);
            std::vector<TimeNs> times = {TIME_MIN, TIME_MIN + 1, -1, 0, 1, TIME_MAX - 1, TIME_MAX};
            for (int i = 0; i < 2'000; ++i) {
                // By days: the range of all times does not fit into int64.
                const auto day =
                    test::between(rng, TIME_MIN / NS_PER_DAY, TIME_MAX / NS_PER_DAY - 1);
                const TimeNs time = day * NS_PER_DAY + test::between(rng, 0, NS_PER_DAY - 1);
                times.push_back(time);
                const TimeNs boundary = floor_to(time, period, phase);
                if (boundary > TIME_MIN) {
                    times.push_back(boundary);
                    times.push_back(boundary - 1);
                }
            }
            bool equal = true;
            for (const TimeNs time : times) equal &= grid.open_of(time) == floor_to(time, period, phase);
            INFO("period " << period << " phase " << phase);
            REQUIRE(equal);
        }
    }
}
