#include "klineagg/interval.hpp"

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;

namespace {

constexpr TimeNs S = NS_PER_SECOND;
constexpr TimeNs DAY = NS_PER_DAY;

bool leap(std::int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

// Midnight of a date, counted year by year and month by month.
TimeNs utc(std::int64_t year, int month, int day) {
    static constexpr std::array<int, 12> LENGTH{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    std::int64_t days = 0;
    for (std::int64_t y = 1970; y < year; ++y) days += leap(y) ? 366 : 365;
    for (std::int64_t y = year; y < 1970; ++y) days -= leap(y) ? 366 : 365;
    for (int m = 1; m < month; ++m) {
        days += LENGTH[static_cast<std::size_t>(m - 1)] + (m == 2 && leap(year) ? 1 : 0);
    }
    return (days + day - 1) * DAY;
}

Span located(const Interval& interval, TimeNs time) {
    Span span;
    REQUIRE(interval.locate(time, span));
    return span;
}

Error refusal(const std::string& text) {
    try {
        (void)Interval::parse(text);
    } catch (const Error& error) {
        return error;
    }
    FAIL("accepted: " << text);
    throw;  // not reached: FAIL ends the test
}

std::string field(const Error& error, const std::string& key) {
    for (const auto& [name, value] : error.fields()) {
        if (name == key) return value;
    }
    return "(no field " + key + ")";
}

std::string table_refusal(std::vector<Span> spans) {
    try {
        (void)Interval::table("day", std::move(spans));
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::invalid_session_table);
        return field(error, "row") + ": " + field(error, "reason");
    }
    return "accepted";
}

// What must hold at any time for an interval without holes.
void check_partition(const Interval& interval, TimeNs time) {
    INFO(interval.name() << " at " << time);
    const Span span = located(interval, time);
    const Interval::Grid grid = interval.grid();
    REQUIRE(span.open <= time);
    REQUIRE(time < span.close);
    REQUIRE(span.open % S == 0);
    REQUIRE(floor_to(span.open, grid.period, grid.phase) == span.open);
    REQUIRE(located(interval, span.open) == span);
    REQUIRE(located(interval, span.close - 1) == span);
    const Span after = located(interval, span.close);
    REQUIRE(after.open == span.close);
    REQUIRE(interval.next(span.open) == span);
    REQUIRE(interval.next(span.open + 1) == after);
    REQUIRE(interval.next(span.close) == after);
    REQUIRE(interval.count(span.open, span.close) == 1);
    REQUIRE(interval.count(span.open, after.close) == 2);
    REQUIRE(interval.count(span.close, span.open) == 0);
    REQUIRE(interval.count(span.open, span.open + 1) == 1);
    REQUIRE(interval.count(span.open + 1, span.close) == 0);
    REQUIRE(interval.count(span.open + 1, span.close + 1) == 1);
}

}  // namespace

TEST_CASE("a text becomes a period, a phase and a canonical name") {
    struct Case {
        const char* text;
        const char* name;
        std::int64_t period;
        std::int64_t phase;
    };
    const std::array<Case, 15> cases{{
        {"1s", "1s", S, 0},
        {"60s", "60s", 60 * S, 0},
        {" 5 m ", "5m", 300 * S, 0},
        {"007h", "7h", 7 * NS_PER_HOUR, 0},
        {"1d", "1d", DAY, 0},
        {"1d+8h", "1d+8h", DAY, 8 * NS_PER_HOUR},
        {"1d - 8h", "1d-8h", DAY, 16 * NS_PER_HOUR},
        {"1d+9h30m", "1d+9h30m", DAY, 9 * NS_PER_HOUR + 30 * NS_PER_MINUTE},
        {"1d+0h", "1d", DAY, 0},
        {"1d+0h30m", "1d+30m", DAY, 30 * NS_PER_MINUTE},
        {"1w", "1w", 7 * DAY, 4 * DAY},
        {"1w-1d", "1w-1d", 7 * DAY, 3 * DAY},
        {"1w+6d", "1w+6d", 7 * DAY, 3 * DAY},
        {"10000d", "10000d", INTERVAL_PERIOD_MAX, 0},
        {"1428w", "1428w", 1428 * (7 * DAY), 4 * DAY},
    }};
    for (const Case& expected : cases) {
        INFO(expected.text);
        const Interval interval = Interval::parse(expected.text);
        CHECK(interval.kind() == IntervalKind::fixed);
        CHECK(interval.name() == expected.name);
        CHECK(interval.period() == expected.period);
        CHECK(interval.phase() == expected.phase);
        CHECK(Interval::parse(interval.name()) == interval);
    }
    const Interval years = Interval::parse("12M+3M8h");
    CHECK(years.kind() == IntervalKind::month);
    CHECK(years.name() == "12M+3M8h");
    CHECK(years.period() == 12);
    CHECK(years.month_phase() == 3);
    CHECK(years.phase() == 8 * NS_PER_HOUR);
}

TEST_CASE("a text that is no interval is refused with its position and reason") {
    struct Case {
        const char* text;
        const char* position;
        const char* reason;
    };
    const std::array<Case, 23> cases{{
        {"", "0", "expected a number"},
        {"   ", "3", "expected a number"},
        {"m", "0", "expected a number"},
        {"-1m", "0", "expected a number"},
        {"1", "1", "expected one of the units s m h d w M"},
        {"1 5m", "2", "expected one of the units s m h d w M"},
        {"1.5h", "1", "expected one of the units s m h d w M"},
        {"1D", "1", "expected one of the units s m h d w M"},
        {"1min", "2", "expected '+', '-' or the end"},
        {"1m,5m", "2", "expected '+', '-' or the end"},
        {"0m", "0", "the period is zero"},
        {"0M", "0", "the period is zero"},
        {"1d+", "3", "expected a number"},
        {"1d+8h+8h", "5", "expected the end"},
        {"1d+8h1h", "5", "larger units come first, each once"},
        {"1d+8m1h", "5", "larger units come first, each once"},
        {"1d+24h", "2", "the offset is not less than the period"},
        {"1d-1d", "2", "the offset is not less than the period"},
        {"1d+1M", "2", "months can only shift months"},
        {"12M+12M", "3", "the offset is not less than the period"},
        {"1M-28d", "2", "the offset within the month is not less than 28d"},
        {"301M", "0", "longer than 300M"},
        {"10001d", "0", "longer than 10000d"},
    }};
    for (const Case& expected : cases) {
        INFO(expected.text);
        const Error error = refusal(expected.text);
        CHECK(error.code() == ErrorCode::invalid_interval);
        CHECK(field(error, "text") == expected.text);
        CHECK(field(error, "position") == expected.position);
        CHECK(field(error, "reason") == expected.reason);
    }
    CHECK(field(refusal("864000001s"), "reason") == "the number is too large");
    CHECK(field(refusal(std::string(40, '9') + "M"), "reason") == "the number is too large");
    CHECK(field(refusal(std::string(65, '1')), "reason") == "longer than 64 bytes");
    CHECK(field(refusal(std::string("1\0m\x01", 4)), "text") == "1?m?");
}

TEST_CASE("names and lengths outside the limits are refused, also without a text") {
    CHECK_THROWS_AS(Interval::fixed("", S, 0), Error);
    CHECK_THROWS_AS(Interval::fixed(std::string(65, 'x'), S, 0), Error);
    CHECK_THROWS_AS(Interval::fixed("a\nb", S, 0), Error);
    CHECK_THROWS_AS(Interval::fixed("x", 0, 0), Error);
    CHECK_THROWS_AS(Interval::fixed("x", -S, 0), Error);
    CHECK_THROWS_AS(Interval::fixed("x", S / 2, 0), Error);
    CHECK_THROWS_AS(Interval::fixed("x", S, 1), Error);
    CHECK_THROWS_AS(Interval::fixed("x", INTERVAL_PERIOD_MAX + S, 0), Error);
    CHECK_THROWS_AS(Interval::months("x", 0, 0), Error);
    CHECK_THROWS_AS(Interval::months("x", 301, 0), Error);
    CHECK_THROWS_AS(Interval::months("x", 1, 28 * DAY), Error);
    CHECK_THROWS_AS(Interval::months("x", 1, -28 * DAY), Error);
    CHECK_THROWS_AS(Interval::months("x", 1, 1), Error);
    CHECK(Interval::fixed(std::string(64, 'x'), S, -S).phase() == 0);
    CHECK(Interval::months("x", 12, 0, -9).month_phase() == 3);
}

TEST_CASE("weeks start on Monday, days and three days at the epoch, also before 1970") {
    CHECK(located(Interval::parse("1w"), utc(2024, 3, 3)) ==
          Span{utc(2024, 2, 26), utc(2024, 3, 4)});
    CHECK(located(Interval::parse("1w"), utc(2024, 3, 4)) ==
          Span{utc(2024, 3, 4), utc(2024, 3, 11)});
    CHECK(located(Interval::parse("1w"), 0) == Span{utc(1969, 12, 29), utc(1970, 1, 5)});
    CHECK(located(Interval::parse("1w-1d"), utc(2024, 3, 3)).open == utc(2024, 3, 3));
    CHECK(located(Interval::parse("1d"), -1) == Span{-DAY, 0});
    CHECK(located(Interval::parse("3d"), -1) == Span{-3 * DAY, 0});
    CHECK(located(Interval::parse("3d"), utc(2017, 8, 17)).open % (3 * DAY) == 0);
    CHECK(located(Interval::parse("1d+8h"), utc(2024, 1, 1)).open ==
          utc(2023, 12, 31) + 8 * NS_PER_HOUR);
}

TEST_CASE("months follow the calendar") {
    const Interval month = Interval::parse("1M");
    CHECK(located(month, utc(2024, 2, 29)) == Span{utc(2024, 2, 1), utc(2024, 3, 1)});
    CHECK(located(month, utc(1900, 2, 28)) == Span{utc(1900, 2, 1), utc(1900, 3, 1)});
    CHECK(located(month, utc(2000, 2, 29)) == Span{utc(2000, 2, 1), utc(2000, 3, 1)});
    CHECK(located(month, -1) == Span{utc(1969, 12, 1), 0});
    CHECK(located(Interval::parse("3M"), utc(2023, 6, 30)) ==
          Span{utc(2023, 4, 1), utc(2023, 7, 1)});
    CHECK(located(Interval::parse("12M"), utc(1968, 2, 29)) ==
          Span{utc(1968, 1, 1), utc(1969, 1, 1)});
    CHECK(located(Interval::parse("12M+3M"), utc(2024, 3, 31)) ==
          Span{utc(2023, 4, 1), utc(2024, 4, 1)});
    CHECK(located(Interval::parse("12M-9M"), utc(2024, 4, 1)).open == utc(2024, 4, 1));
    CHECK(located(Interval::parse("1M-1d"), utc(2024, 2, 29)) ==
          Span{utc(2024, 2, 29), utc(2024, 3, 31)});
    CHECK(located(Interval::parse("1M+8h"), utc(2024, 3, 1)) ==
          Span{utc(2024, 2, 1) + 8 * NS_PER_HOUR, utc(2024, 3, 1) + 8 * NS_PER_HOUR});
    CHECK(month.count(utc(1999, 1, 1), utc(2024, 1, 1)) == 300);
    CHECK(month.next(utc(2024, 1, 1) + 1).open == utc(2024, 2, 1));
    for (std::int64_t year = 1900; year < 2200; ++year) {
        for (int number = 1; number <= 12; ++number) {
            const TimeNs open = utc(year, number, 1);
            const TimeNs close = number < 12 ? utc(year, number + 1, 1) : utc(year + 1, 1, 1);
            REQUIRE(located(month, open) == Span{open, close});
            REQUIRE(located(month, close - 1) == Span{open, close});
        }
    }
}

TEST_CASE("spans partition time from 1900 to 2200") {
    std::mt19937_64 random(20240229);
    std::uniform_int_distribution<TimeNs> anywhere(TIME_MIN, TIME_MAX);
    for (const char* text :
         {"1s",       "7s",     "1m", "5m",    "1h",     "7h",        "1d",
          "1d+9h30m", "3d",     "1w", "1w-1d", "10000d", "10000d-1s", "1M",
          "1M+27d",   "1M-27d", "3M", "7M",    "12M+3M", "300M",      "300M+299M27d"}) {
        const Interval interval = Interval::parse(text);
        for (const TimeNs edge : {TIME_MIN, TimeNs{-1}, TimeNs{0}, TIME_MAX - 1, TIME_MAX}) {
            check_partition(interval, edge);
        }
        for (int draw = 0; draw < 200; ++draw) check_partition(interval, anywhere(random));
    }
}

TEST_CASE("counts add up over the whole range of time") {
    // The distance from 1900 to 2200 does not fit into int64.
    CHECK(Interval::parse("1d").count(TIME_MIN, TIME_MAX) == 25567 + 84006);
    CHECK(Interval::parse("1s").count(TIME_MIN, TIME_MAX) == (25567LL + 84006LL) * 86400);
    CHECK(Interval::parse("1M").count(TIME_MIN, TIME_MAX) == 3600);
}

TEST_CASE("a table has holes where it has no session") {
    const Interval sessions =
        Interval::table("day", {{100 * S, 200 * S}, {200 * S, 260 * S}, {300 * S, 400 * S}});
    Span span;
    CHECK(sessions.kind() == IntervalKind::table);
    CHECK(located(sessions, 100 * S) == Span{100 * S, 200 * S});
    CHECK(located(sessions, 200 * S - 1) == Span{100 * S, 200 * S});
    CHECK(located(sessions, 200 * S) == Span{200 * S, 260 * S});
    CHECK_FALSE(sessions.locate(100 * S - 1, span));
    CHECK(span == Span{TIME_MIN, 100 * S});
    CHECK_FALSE(sessions.locate(260 * S, span));
    CHECK(span == Span{260 * S, 300 * S});
    CHECK_FALSE(sessions.locate(400 * S, span));
    CHECK(span == Span{400 * S, TIME_MAX});
    CHECK_FALSE(sessions.locate(TIME_MIN, span));
    CHECK_FALSE(sessions.locate(TIME_MAX, span));
    CHECK(sessions.next(TIME_MIN).open == 100 * S);
    CHECK(sessions.next(200 * S).open == 200 * S);
    CHECK(sessions.next(200 * S + 1).open == 300 * S);
    CHECK(sessions.next(300 * S + 1) == Span{TIME_MAX, TIME_MAX});
    CHECK(sessions.count(100 * S, 300 * S) == 2);
    CHECK(sessions.count(100 * S, 300 * S + 1) == 3);
    CHECK(sessions.count(TIME_MIN, TIME_MAX) == 3);
    CHECK(sessions.grid().period == 20 * S);
    CHECK(sessions.grid().phase == 0);
}

TEST_CASE("a table that is not sorted, disjoint and on whole seconds is refused") {
    CHECK(table_refusal({}) == "0: the table is empty");
    CHECK(table_refusal({{5 * S, 5 * S}}) == "0: it closes before it has opened");
    CHECK(table_refusal({{0, 2 * S}, {S, 3 * S}}) == "1: it opens before the row above closes");
    CHECK(table_refusal({{0, S}, {2 * S, 2 * S + 1}}) == "1: not on a whole second");
    CHECK(table_refusal({{TIME_MIN - S, S}}) == "0: outside 1900 to 2200");
    CHECK(table_refusal({{0, TIME_MAX + S}}) == "0: outside 1900 to 2200");
    CHECK(table_refusal({{TIME_MIN, TIME_MAX}}) == "accepted");
}

TEST_CASE("a lookup in a table finds what a scan of its rows finds") {
    std::mt19937_64 random(7);
    const auto draw = [&](std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    };
    for (int round = 0; round < 60; ++round) {
        // Even rows, clusters far apart, and a table that reaches from 1900 to 2200.
        const std::int64_t widest = std::array<std::int64_t, 3>{
            10, 100'000, 40'000'000}[static_cast<std::size_t>(round % 3)];
        std::vector<Span> spans;
        TimeNs time = round % 3 == 2 ? TIME_MIN : draw(-1000, 1000) * S;
        for (int row = 0; row < 120; ++row) {
            time += (draw(0, 3) == 0 ? draw(0, widest) : 0) * S;
            spans.push_back({time, time + draw(1, draw(0, 9) == 0 ? widest : 10) * S});
            time = spans.back().close;
        }
        const Interval table = Interval::table("t", spans);
        const auto grid = table.grid();
        for (std::size_t row = 0; row < spans.size(); ++row) {
            for (const TimeNs at : {spans[row].open - 1, spans[row].open, spans[row].close - 1,
                                    spans[row].close, draw(spans[row].open, spans[row].close)}) {
                if (at < TIME_MIN) continue;
                Span expected{TIME_MIN, TIME_MAX};
                bool inside = false;
                std::int64_t opened = 0;
                for (const Span& span : spans) {
                    if (span.open < at) ++opened;
                    if (span.open <= at && at < span.close) {
                        expected = span;
                        inside = true;
                    }
                    if (!inside && span.close <= at) expected.open = span.close;
                    if (!inside && span.open > at && expected.close == TIME_MAX) {
                        expected.close = span.open;
                    }
                }
                Span found;
                REQUIRE(table.locate(at, found) == inside);
                REQUIRE(found == expected);
                REQUIRE(table.count(TIME_MIN, at) == opened);
            }
            REQUIRE(floor_to(spans[row].open, grid.period, grid.phase) == spans[row].open);
            REQUIRE(floor_to(spans[row].close, grid.period, grid.phase) == spans[row].close);
        }
    }
}

TEST_CASE("the grid of a table is the coarsest one") {
    const TimeNs five = 5 * NS_PER_HOUR;
    const Interval days = Interval::table(
        "ny",
        {{five, five + 24 * NS_PER_HOUR}, {five + 24 * NS_PER_HOUR, five + 47 * NS_PER_HOUR}});
    CHECK(days.grid().period == NS_PER_HOUR);
    CHECK(days.grid().phase == 0);
    const Interval one = Interval::table("one", {{-7 * S, 3 * S}});
    CHECK(one.grid().period == 10 * S);
    CHECK(one.grid().phase == 3 * S);
    const Interval century = Interval::table("all", {{TIME_MIN, TIME_MAX}});
    CHECK(century.grid().period == DAY);
    CHECK(Interval::parse("1M+8h").grid().period == DAY);
    CHECK(Interval::parse("1M+8h").grid().phase == 8 * NS_PER_HOUR);
}

TEST_CASE("an interval refines another when its boundaries include the other's") {
    const auto refines = [](const char* fine, const char* coarse) {
        return Interval::parse(fine).refines(Interval::parse(coarse));
    };
    CHECK(refines("1s", "1M"));
    CHECK(refines("1m", "5m"));
    CHECK(refines("60s", "1m"));
    CHECK(refines("1d", "3d"));
    CHECK(refines("1d", "1w"));
    CHECK(refines("1d", "1M"));
    CHECK(refines("8h", "1d+8h"));
    CHECK(refines("1h", "1M+8h"));
    CHECK_FALSE(refines("3d", "1w"));
    CHECK_FALSE(refines("5m", "1m"));
    CHECK_FALSE(refines("2m", "5m"));
    CHECK_FALSE(refines("1d", "1d+8h"));
    CHECK_FALSE(refines("1w", "1M"));
    CHECK_FALSE(refines("1d+8h", "1M"));
    CHECK_FALSE(refines("7d", "1w"));
    const Interval sessions = Interval::table("s", {{570 * NS_PER_MINUTE, 960 * NS_PER_MINUTE},
                                                    {2010 * NS_PER_MINUTE, 2400 * NS_PER_MINUTE}});
    CHECK(Interval::parse("30m").refines(sessions));
    CHECK(Interval::parse("5m").refines(sessions));
    CHECK_FALSE(Interval::parse("1h").refines(sessions));
    CHECK(sessions.refines(sessions));
    CHECK_FALSE(sessions.refines(Interval::parse("1d")));
}

TEST_CASE("two names for the same spans are recognised") {
    CHECK(Interval::parse("60s").same_spans(Interval::parse("1m")));
    CHECK_FALSE(Interval::parse("60s") == Interval::parse("1m"));
    CHECK(Interval::parse("1w-1d").same_spans(Interval::parse("1w+6d")));
    CHECK(Interval::parse("12M-9M").same_spans(Interval::parse("12M+3M")));
    CHECK_FALSE(Interval::parse("7d").same_spans(Interval::parse("1w")));
    CHECK_FALSE(Interval::parse("12M").same_spans(Interval::parse("12M+3M")));
    CHECK_FALSE(Interval::parse("12s").same_spans(Interval::parse("12M")));
    const Interval table = Interval::table("a", {{0, S}});
    CHECK(table.same_spans(Interval::table("b", {{0, S}})));
    CHECK_FALSE(table.same_spans(Interval::table("a", {{0, 2 * S}})));
    CHECK(table.spans().size() == 1);
    CHECK(Interval::parse("1m").spans().empty());
}
