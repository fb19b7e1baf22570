#include "klineagg/detail/row_counter.hpp"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;
using detail::OpenedBars;
using detail::RowCounter;
using detail::SymbolRouter;

namespace {

struct Tick {
    TimeNs at;
    std::int32_t from;
};

struct Ticks {
    const std::vector<Tick>* rows;

    [[nodiscard]] TimeNs time(std::size_t i) const { return (*rows)[i].at; }
    [[nodiscard]] std::int32_t symbol(std::size_t i) const { return (*rows)[i].from; }
};

RollupPlan plan_of(const std::vector<std::string>& names) {
    std::vector<Interval> intervals;
    for (const std::string& name : names) intervals.push_back(Interval::parse(name));
    return RollupPlan(intervals);
}

/// Trades of some symbols, each in order; `mixed`: symbols are not in order to each other.
std::vector<Tick> trades(Rng& rng, std::size_t count, DurationNs step, bool mixed) {
    std::vector<TimeNs> clocks;
    TimeNs clock = WEDNESDAY + between(rng, 0, 86'399) * NS_PER_SECOND;
    for (std::size_t symbol = 1 + pick(rng, 6); symbol != 0; --symbol)
        clocks.push_back(clock + (mixed ? between(rng, 0, 9) * step : 0));
    std::vector<Tick> rows;
    while (rows.size() < count) {
        const std::size_t symbol = pick(rng, clocks.size());
        const DurationNs pause = chance(rng, 3) ? between(rng, 0, 500) * step
                                 : chance(rng, 30) ? between(rng, 0, 3 * step) : 0;
        TimeNs& at = mixed ? clocks[symbol] : clock;
        at += pause;
        rows.push_back({at, static_cast<std::int32_t>(symbol)});
    }
    return rows;
}

/// Not inlined: GCC 12 takes the growth of a table of one symbol for a write behind its end.
[[gnu::noinline]] void know(SymbolRouter& router, RowCounter& counter, std::int32_t symbol,
                            std::int32_t place, TimeNs newest) {
    router.insert(symbol, place);
    counter.add_symbol(newest);
}

/// Runs the counter in blocks, taking what it does not take as a slice does.
void count_all(RowCounter& counter, SymbolRouter& router, const std::vector<Tick>& rows, Rng& rng) {
    const Ticks view{&rows};
    std::int32_t known = 0;
    for (std::size_t from = 0; from < rows.size();) {
        const std::size_t to = std::min(rows.size(), from + 1 + pick(rng, 300));
        while ((from = counter.count(view, router.view(), from, to)) != to) {
            const Tick& row = rows[from++];
            if (router.find(row.from) == SymbolRouter::ABSENT)
                know(router, counter, row.from, known++, TIME_NONE);
            counter.count_one(static_cast<std::size_t>(router.find(row.from)), row.at);
        }
    }
    counter.finish();
}

}  // namespace

TEST_CASE("bars that open are counted without running the aggregator", "[batch]") {
    const std::vector<std::vector<std::string>> sets = {
        {"1s"},
        {"1m"},
        {"1d", "1w", "1M"},
        {"1s", "2s", "5s", "10s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "4h", "1d"},
        {"1s", "7s", "21s", "13s", "1m", "91s"},
        {"1s", "64s", "128s", "192s"},
        {"2s", "3s", "1m"},
        {"5s+2s", "1m+7s", "1h"},
        {"1m", "5m+1m", "1h+30m", "1d+8h", "1w", "1M", "3M"},
        {"1h+1s", "4h+1s", "12h+1s"},
        {"3d", "1w", "12M+3M"},
    };
    Rng rng(7);
    for (int round = 0; round < 400; ++round) {
        const auto& names = sets[pick(rng, sets.size())];
        const RollupPlan plan = plan_of(names);
        const DurationNs step = plan.levels()[0].interval->period();
        const auto rows = trades(rng, 1 + pick(rng, 2000), step, chance(rng, 30));
        RowCounter counter(plan);
        SymbolRouter router;
        count_all(counter, router, rows, rng);

        INFO("round " << round << ", from " << names.front());
        for (std::size_t level = 0; level < plan.levels().size(); ++level) {
            std::map<std::int32_t, std::set<TimeNs>> opens;
            for (const Tick& row : rows) {
                Span span;
                REQUIRE(plan.levels()[level].interval->locate(row.at, span));
                opens[row.from].insert(span.open);
            }
            for (const auto& [symbol, times] : opens) {
                const auto place = static_cast<std::size_t>(router.find(symbol));
                const OpenedBars opened = counter.opened(place, static_cast<int>(level));
                REQUIRE(opened.count == static_cast<std::int64_t>(times.size()));
                REQUIRE(opened.first_open == *times.begin());
                REQUIRE(opened.last_open == *times.rbegin());
            }
        }
    }
}

TEST_CASE("rows are counted at both ends of time", "[batch]") {
    const RollupPlan plan = plan_of({"7s", "1m", "1h", "1d", "1M"});
    for (const TimeNs start : {TIME_MIN, TIME_MAX - 100 * NS_PER_SECOND}) {
        std::vector<Tick> rows;
        for (int i = 0; i < 100; ++i) rows.push_back({start + i * NS_PER_SECOND, 0});
        rows.push_back({TIME_MAX, 0});
        RowCounter counter(plan);
        SymbolRouter router;
        know(router, counter, 0, 0, TIME_NONE);
        // Out of range: left to the caller.
        REQUIRE(counter.count(Ticks{&rows}, router.view(), 0, rows.size()) == 100);
        counter.finish();
        for (std::size_t level = 0; level < plan.levels().size(); ++level) {
            std::set<TimeNs> opens;
            for (int i = 0; i < 100; ++i) {
                Span span;
                const TimeNs time = rows[static_cast<std::size_t>(i)].at;
                (void)plan.levels()[level].interval->locate(time, span);
                opens.insert(span.open);
            }
            CHECK(counter.opened(0, static_cast<int>(level)).count ==
                  static_cast<std::int64_t>(opens.size()));
        }
    }
}

TEST_CASE("a step back and an unknown symbol are left to the caller", "[batch]") {
    const RollupPlan plan = plan_of({"1s", "1m"});
    const std::vector<Tick> rows = {{WEDNESDAY, 0}, {WEDNESDAY, 5}, {WEDNESDAY + 5, 0},
                                   {WEDNESDAY + 4, 0}};
    RowCounter counter(plan);
    SymbolRouter router;
    know(router, counter, 0, 0, WEDNESDAY);
    CHECK(counter.count(Ticks{&rows}, router.view(), 0, rows.size()) == 1);
    CHECK(counter.count(Ticks{&rows}, router.view(), 2, rows.size()) == 3);
    CHECK(counter.newest(0) == WEDNESDAY + 5);
    counter.finish();
    CHECK(counter.opened(0, 0).count == 1);
    CHECK(counter.opened(0, 1).count == 1);
}
