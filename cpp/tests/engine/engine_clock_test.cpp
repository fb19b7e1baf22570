// What the clock decides besides the trades: which of them are late, and genesis bars.
#include <tuple>

#include "batch_run.hpp"
#include "catch.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

EngineOptions live(LatePolicy late, DurationNs lateness = 0) {
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.aggregator.late = late;
    options.aggregator.lateness_ns = lateness;
    return options;
}

/// What became of the trades, told by counts, and the bars of the coarsest interval.
struct Outcome {
    std::int64_t late;
    std::int64_t beyond_horizon;
    Rows closed;
};

Outcome run(const Table& table, const std::vector<TimeNs>& ticks, const std::string& intervals,
            EngineOptions options) {
    std::vector<Interval> parsed;
    for (std::size_t from = 0, to = 0; to != std::string::npos; from = to + 1) {
        to = intervals.find(',', from);
        parsed.push_back(Interval::parse(intervals.substr(from, to - from)));
    }
    options.clock = std::make_shared<engine::SimulatedClock>();
    Engine engine(RollupPlan(parsed), options);
    engine.start();
    const auto producer = engine.producer("feed");
    for (std::size_t row = 0; row < table.size(); ++row) {
        (void)producer->push(table.view(row, row + 1));
        if (ticks[row] != TIME_NONE) engine.advance(ticks[row]);
    }
    engine.advance(ticks.back());
    Snapshot snapshot = engine.take("lake");
    Series closed;
    collect(snapshot.closed(), closed);
    const EngineCounts counts = engine.counts();
    return {counts.late, counts.beyond_horizon,
            closed[{static_cast<int>(parsed.size()) - 1, 0}]};
}

}  // namespace

TEST_CASE("a clock makes trades late, whatever the intervals", "[engine]") {
    Rng rng(7001);
    for (int round = 0; round < 60; ++round) {
        TradeMix mix;
        mix.ids = chance(rng, 50);
        Table table = random_table(rng, 1, 60, mix).filtered([](std::size_t) { return false; });
        TimeNs time = WEDNESDAY;
        TimeNs clock = TIME_NONE;
        std::vector<TimeNs> ticks;
        for (std::size_t i = 0; i < 60; ++i) {
            time += between(rng, -3, 5) * NS_PER_SECOND / 2;
            Trade trade;
            trade.time = time;
            trade.price = 100.0 + static_cast<double>(pick(rng, 10));
            trade.quantity = 1.0;
            table.add(0, trade);
            const bool ticked = chance(rng, 40);
            if (ticked) clock = std::max(clock, time + between(rng, -2, 8) * NS_PER_SECOND / 2);
            ticks.push_back(ticked ? clock : TIME_NONE);
        }
        ticks.push_back(std::max(clock, time) + NS_PER_DAY);
        EngineOptions options =
            live(chance(rng, 50) ? LatePolicy::drop : LatePolicy::amend,
                 chance(rng, 50) ? 0 : between(rng, 1, 3) * NS_PER_SECOND);
        options.aggregator.gaps = GapMode::none;
        options.aggregator.amend_horizon_ns = between(rng, 0, 4) * NS_PER_SECOND;
        const Outcome coarse = run(table, ticks, "1h", options);
        for (const char* intervals : {"1s,1h", "7s,1h", "1m,1h"}) {
            INFO("round " << round << ", " << intervals);
            const Outcome other = run(table, ticks, intervals, options);
            CHECK(coarse.late == other.late);
            CHECK(coarse.beyond_horizon == other.beyond_horizon);
            CHECK(coarse.closed == other.closed);
        }
    }
}

TEST_CASE("the clock closes genesis bars, whatever becomes of late trades", "[engine]") {
    for (const LatePolicy late : {LatePolicy::drop, LatePolicy::amend}) {
        for (const GapMode gaps : {GapMode::none, GapMode::runs}) {
            EngineOptions options = live(late);
            options.aggregator.gaps = gaps;
            options.aggregator.coverage_start = WEDNESDAY;
            options.last_prices = {{0, 5.0}};
            Engine engine(RollupPlan({Interval::parse("1s"), Interval::parse("1m"),
                                      Interval::parse("1d")}),
                          options);
            engine.start();
            engine.advance(WEDNESDAY + 90 * NS_PER_SECOND);
            Series closed;
            Snapshot first = engine.take("lake");
            collect(first.closed(), closed);
            first.ack();
            REQUIRE(closed.size() == 2);
            for (const int output : {0, 1}) {
                const Rows& rows = closed.at({output, 0});
                REQUIRE(rows.size() == 1);
                CHECK(rows[0].flags == (BAR_GENESIS | BAR_CLOSED));
                CHECK(rows[0].open_time == WEDNESDAY);
                CHECK(rows[0].close == 5.0);
            }
            engine.advance(WEDNESDAY + NS_PER_DAY);
            Snapshot second = engine.take("lake");
            closed.clear();
            collect(second.closed(), closed);
            REQUIRE(closed.size() == 1);
            CHECK(closed.at({2, 0}).size() == 1);
            second.ack();
        }
    }
}

TEST_CASE("a view has no genesis bar behind a bar that closed before it", "[engine]") {
    for (const LatePolicy late : {LatePolicy::drop, LatePolicy::amend}) {
        for (const GapMode gaps : {GapMode::none, GapMode::runs}) {
            const TimeNs start = WEDNESDAY + NS_PER_HOUR;
            EngineOptions options = live(late);
            options.aggregator.gaps = gaps;
            options.aggregator.coverage_start = start;
            options.last_prices = {{0, 5.0}, {1, 6.0}};
            Engine engine(RollupPlan({Interval::parse("10s")}), options);
            engine.start();
            const auto rows_now = [&] {
                Series open;
                collect(*engine.view().open, open);
                return open;
            };
            CHECK(rows_now().size() == 2);
            Table table;
            Trade trade;
            trade.time = WEDNESDAY + NS_PER_SECOND;
            trade.price = 7.0;
            trade.quantity = 1.0;
            table.add(0, trade);
            (void)engine.producer("feed")->push(table.view());
            // The clock closes the bar of the trade long before the coverage begins.
            engine.advance(WEDNESDAY + NS_PER_MINUTE);
            const Series open = rows_now();
            CHECK(open.count({0, 0}) == 0);
            REQUIRE(open.count({0, 1}) == 1);
            CHECK(open.at({0, 1})[0].flags == BAR_GENESIS);
            Series closed;
            engine.advance(start + NS_PER_MINUTE);
            collect(engine.take("lake").closed(), closed);
            REQUIRE(closed.count({0, 0}) == 1);
            REQUIRE(closed.at({0, 0}).size() == 1);
            CHECK(closed.at({0, 0})[0].open_time == WEDNESDAY);
            REQUIRE(closed.at({0, 1}).size() == 1);
            CHECK(closed.at({0, 1})[0].flags == (BAR_GENESIS | BAR_CLOSED));
        }
    }
}
