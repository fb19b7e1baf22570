#include "klineagg/rollup.hpp"

#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "reference.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

std::vector<Interval> parsed(const std::vector<std::string>& names) {
    std::vector<Interval> intervals;
    for (const std::string& name : names) intervals.push_back(Interval::parse(name));
    return intervals;
}

/// The level that feeds each level, NO_LEVEL where none does or more than one.
std::vector<int> sources(const RollupPlan& plan) {
    const auto& levels = plan.levels();
    std::vector<int> source(levels.size(), NO_LEVEL);
    std::vector<int> feeders(levels.size(), 0);
    for (std::size_t level = 0; level < levels.size(); ++level) {
        for (int feed = levels[level].first_feed; feed != NO_LEVEL;
             feed = levels[static_cast<std::size_t>(feed)].sibling) {
            source[static_cast<std::size_t>(feed)] = static_cast<int>(level);
            ++feeders[static_cast<std::size_t>(feed)];
        }
    }
    for (std::size_t level = 0; level < levels.size(); ++level) {
        if (feeders[level] != 1) source[level] = NO_LEVEL;
    }
    return source;
}

/// Every boundary of `coarse` in three years is one of `fine`, found by walking over them.
bool subdivides(const Interval& fine, const Interval& coarse) {
    const auto is_boundary = [&fine](TimeNs time) {
        Span span;
        return fine.locate(time, span) && span.open == time;
    };
    const TimeNs end = WEDNESDAY + 3 * 366 * NS_PER_DAY;
    std::int64_t steps = 0;
    for (Span span = coarse.next(WEDNESDAY - 10 * NS_PER_DAY); span.open < end && steps < 5'000;
         span = coarse.next(span.close), ++steps) {
        if (!is_boundary(span.open) || !is_boundary(span.close)) return false;
    }
    return true;
}

/// What every plan promises, for any intervals.
void check_plan(const std::vector<Interval>& intervals) {
    std::string names;
    for (const Interval& interval : intervals) names += interval.name() + " ";
    INFO(names);
    const RollupPlan plan(intervals);
    const auto& levels = plan.levels();
    REQUIRE(plan.output_count() == intervals.size());
    const bool hidden = levels[0].output == HIDDEN_LEVEL;
    REQUIRE(levels.size() == intervals.size() + (hidden ? 1 : 0));

    std::vector<int> places(intervals.size(), 0);
    for (std::size_t level = 0; level < levels.size(); ++level) {
        const RollupLevel& at = levels[level];
        if (at.output == HIDDEN_LEVEL) {
            REQUIRE(level == 0);
            continue;
        }
        const Interval& wanted = intervals[static_cast<std::size_t>(at.output)];
        ++places[static_cast<std::size_t>(at.output)];
        REQUIRE(*at.interval == wanted);
        REQUIRE(at.period_ns == (wanted.kind() == IntervalKind::fixed ? wanted.period() : 0));
    }
    REQUIRE(places == std::vector<int>(intervals.size(), 1));
    // A trade touches the base alone, so the base has to cut time at least as finely as all.
    REQUIRE(levels[0].interval->kind() == IntervalKind::fixed);
    for (const RollupLevel& level : levels) REQUIRE(subdivides(*levels[0].interval, *level.interval));
    // A hidden base is only for want of a configured one.
    for (const Interval& interval : intervals) {
        bool refines_all = interval.kind() == IntervalKind::fixed;
        for (const Interval& other : intervals)
            refines_all = refines_all && interval.refines(other);
        REQUIRE_FALSE((hidden && refines_all));
    }

    const std::vector<int> source = sources(plan);
    REQUIRE(source[0] == NO_LEVEL);
    for (std::size_t level = 1; level < levels.size(); ++level) {
        INFO("level " << level << ": " << levels[level].interval->name());
        REQUIRE(source[level] != NO_LEVEL);
        const RollupLevel& fed_by = levels[static_cast<std::size_t>(source[level])];
        REQUIRE(subdivides(*fed_by.interval, *levels[level].interval));
        int steps = 0;  // up to the base, never in a circle
        for (int above = source[level]; above != 0; above = source[static_cast<std::size_t>(above)])
            REQUIRE(++steps < static_cast<int>(levels.size()));
        // The coarsest one that will do: fewer bars to merge.
        for (std::size_t other = 0; other < levels.size(); ++other) {
            const RollupLevel& rival = levels[other];
            if (rival.period_ns <= fed_by.period_ns || other == level) continue;
            if (rival.interval->same_spans(*levels[level].interval)) continue;
            REQUIRE_FALSE(rival.interval->refines(*levels[level].interval));
        }
    }
}

}  // namespace

TEST_CASE("plans: each level is fed once by the coarsest one that refines it", "[rollup]") {
    for (const auto& intervals : interval_sets()) check_plan(intervals);
    for (const std::vector<std::string>& names : {
             std::vector<std::string>{"1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d"},
             {"1s", "2s", "5s", "10s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "2h",
              "4h", "12h", "1d"},
             {"2m", "3m"},
             {"1w", "1d", "1M", "3d"},
             {"1d+8h", "1d+9h30m", "1w", "1M"},
             {"12M+3M", "3M", "1M"},
             {"1w", "1w+12h"},
             {"90s", "1m", "7s"},
         }) {
        check_plan(parsed(names));
    }
    Rng rng(21);
    const std::vector<std::string> pool{"1s", "2s", "3s", "7s", "10s", "1m", "90s", "5m", "7m", "1h",
                                        "1h+30m", "4h", "6h", "1d", "1d+8h", "3d", "1w", "1M", "3M"};
    for (int round = 0; round < 60; ++round) {
        std::vector<std::string> names;
        for (const std::string& name : pool) {
            if (chance(rng, 30)) names.insert(names.begin() + (names.empty() ? 0 : static_cast<long>(pick(rng, names.size()))), name);
        }
        if (!names.empty()) check_plan(parsed(names));
    }
}

TEST_CASE("plans: the base is hidden when no interval refines all others", "[rollup]") {
    struct Case {
        std::vector<std::string> names;
        std::string base;  // the interval at level 0
        bool hidden;
    };
    for (const Case& item : {Case{{"1m", "1h"}, "1m", false}, Case{{"1h", "1m"}, "1m", false},
                             Case{{"3d", "1w"}, "1d", true}, Case{{"1M"}, "1d", true},
                             Case{{"2m", "3m"}, "1m", true}, Case{{"1d", "1d+8h"}, "8h", true},
                             Case{{"1h+30m", "1d"}, "30m", true}, Case{{"1M", "1d"}, "1d", false},
                             Case{{"1d", "1w"}, "1d", false}, Case{{"4s", "6s", "2s"}, "2s", false}}) {
        const RollupPlan plan(parsed(item.names));
        const RollupLevel& base = plan.levels()[0];
        INFO(item.names[0] << " ...: " << base.interval->name());
        CHECK(base.interval->same_spans(Interval::parse(item.base)));
        CHECK((base.output == HIDDEN_LEVEL) == item.hidden);
    }
}

TEST_CASE("plans: equal spans under two names are two intervals", "[rollup]") {
    check_plan(parsed({"1m", "60s"}));
    check_plan(parsed({"1s", "1m", "60s"}));
    check_plan(parsed({"1s", "60m", "1h", "1d", "24h"}));
    check_plan(parsed({"7m", "1d", "24h", "1w", "7d+4d"}));
}

TEST_CASE("plans: what is refused", "[rollup]") {
    const auto code_of = [](const std::vector<Interval>& intervals) {
        return error_of([&] { const RollupPlan plan(intervals); }).code();
    };
    CHECK(code_of({}) == ErrorCode::invalid_interval);
    const Error twice = error_of([] { const RollupPlan plan(parsed({"1m", "1h", "1m"})); });
    CHECK(twice.code() == ErrorCode::duplicate_interval);
    CHECK(field_of(twice, "interval") == "1m");
    std::vector<Interval> many;
    for (std::size_t i = 0; i < INTERVALS_MAX; ++i)
        many.push_back(Interval::parse(std::to_string(i + 1) + "s"));
    CHECK(RollupPlan(many).output_count() == INTERVALS_MAX);
    many.push_back(Interval::parse("70s"));
    CHECK(code_of(many) == ErrorCode::invalid_interval);
}

TEST_CASE("plans: moving a plan keeps its levels", "[rollup]") {
    RollupPlan plan(parsed({"1m", "1h"}));
    RollupPlan moved(std::move(plan));
    CHECK(moved.levels()[1].interval->name() == "1h");
    RollupPlan assigned(parsed({"3d"}));
    assigned = std::move(moved);
    CHECK(assigned.output_count() == 2);
    CHECK(assigned.levels()[0].interval->name() == "1m");
}

TEST_CASE("plans: longer tables take the place of shorter ones, or none does", "[rollup]") {
    const auto sessions = [](const char* name, DurationNs opens, std::int64_t days) {
        std::vector<Span> spans;
        for (std::int64_t day = 0; day < days; ++day) {
            const TimeNs midnight = WEDNESDAY + day * NS_PER_DAY;
            spans.push_back({midnight + opens, midnight + 20 * NS_PER_HOUR});
        }
        return Interval::table(name, spans);
    };
    const Interval hour = Interval::parse("1h");
    const Interval second = Interval::parse("1s");
    RollupPlan plan({second, hour, sessions("a", 9 * NS_PER_HOUR, 5), sessions("b", 0, 5)});
    const auto rows_of = [&plan](int output) {
        for (const RollupLevel& level : plan.levels())
            if (level.output == output) return level.interval->spans().size();
        return std::size_t{0};
    };
    plan.replace_tables({second, hour, sessions("a", 9 * NS_PER_HOUR, 9), sessions("b", 0, 8)});
    CHECK(rows_of(2) == 9);
    CHECK(rows_of(3) == 8);

    SECTION("a table that leaves the base is refused, and nothing is replaced") {
        RollupPlan hourly({hour, sessions("a", 0, 5), sessions("b", 0, 5)});
        const Error error = error_of([&] {
            hourly.replace_tables({hour, sessions("a", 0, 6), sessions("b", NS_PER_MINUTE, 6)});
        });
        CHECK(error.code() == ErrorCode::invalid_interval);
        CHECK(field_of(error, "interval") == "b");
        CHECK(hourly.levels()[1].interval->spans().size() == 5);
    }
    SECTION("a table that leaves the level that feeds it") {
        // Whole hours until now, a half from now on: bars of one hour would be cut in two.
        const auto later = sessions("a", 9 * NS_PER_HOUR + 30 * NS_PER_MINUTE, 9);
        const Error error =
            error_of([&] { plan.replace_tables({second, hour, later, sessions("b", 0, 8)}); });
        const std::vector<int> source = sources(plan);
        for (std::size_t level = 1; level < plan.levels().size(); ++level) {
            const RollupLevel& fed_by = plan.levels()[static_cast<std::size_t>(source[level])];
            INFO(plan.levels()[level].interval->name() << ", " << error.what());
            CHECK(subdivides(*fed_by.interval, *plan.levels()[level].interval));
        }
    }
}
