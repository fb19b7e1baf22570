#include "engines.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

EngineOptions keeping(std::size_t keep_bars, LatePolicy late = LatePolicy::drop) {
    EngineOptions options = live_options(2, late);
    options.keep_bars = keep_bars;
    return options;
}

Rows rows_of(const BarTable& table) {
    Series series;
    collect(table, series);
    return series.empty() ? Rows{} : series.begin()->second;
}

}  // namespace

TEST_CASE("the last closed bars of each series are held, the open one behind them", "[engine]") {
    Rng rng(471);
    const std::vector<Interval> intervals{Interval::parse("1s"), Interval::parse("1m"),
                                          Interval::parse("1h")};
    constexpr std::size_t KEPT = 7;
    EngineOptions options = keeping(KEPT);
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    const auto producer = engine.producer("feed");
    const Table table = random_table(rng, 6, 400, TradeMix{});
    (void)producer->push(table.view(0, table.size() / 2));
    engine.resize(3);
    (void)producer->push(table.view(table.size() / 2, table.size()));
    BatchOptions batch_options;
    batch_options.aggregator = options.aggregator;
    BatchRun batch(intervals, batch_options);
    batch.add({table.view()});
    for (const auto& [symbol, trades] : table.by_symbol()) {
        for (int output = 0; output < 3; ++output) {
            Rows rows = rows_of(*engine.bars(symbol, output));
            REQUIRE_FALSE(rows.empty());
            REQUIRE((rows.back().flags & BAR_CLOSED) == 0);
            rows.pop_back();
            Rows expected = batch.series[{output, symbol}];
            if (expected.size() > KEPT)
                expected.erase(expected.begin(), expected.end() - KEPT);
            REQUIRE(rows == expected);
        }
    }
    REQUIRE(error_of([&] { (void)engine.bars(2, 0); }).code() == ErrorCode::unknown_name);
    REQUIRE(error_of([&] { (void)engine.bars(1, 3); }).code() == ErrorCode::unknown_name);
}

TEST_CASE("amendments replace what is held of their range", "[engine]") {
    EngineOptions options = keeping(4, LatePolicy::amend);
    Engine engine{RollupPlan({Interval::parse("1m")}), options};
    engine.start();
    const auto producer = engine.producer("feed");
    const auto push = [&](int minute, double price) {
        Table table;
        table.add(1, trade_at(WEDNESDAY + minute * NS_PER_MINUTE, price));
        (void)producer->push(table.view());
    };
    push(0, 100.0);
    push(10, 101.0);  // minutes 1 ... 9 are a run
    push(11, 102.0);
    push(4, 99.0);    // late: cuts the run, and what is behind it is flat at another price
    push(10, 98.0);
    const Rows rows = rows_of(*engine.bars(1, 0));
    REQUIRE(rows.size() == 4 + 1);
    // The oldest made room: of [0], [1, 4), [4], [5, 10), [10] four are held.
    REQUIRE(rows[0].run_length == 3);
    REQUIRE(rows[0].close == 100.0);
    REQUIRE(rows[1].trade_count == 1);
    REQUIRE(rows[1].close == 99.0);
    REQUIRE(rows[2].run_length == 5);
    REQUIRE(rows[2].close == 99.0);
    REQUIRE(rows[2].revision == 1);
    REQUIRE(rows[3].trade_count == 2);
    REQUIRE(rows[3].revision == 1);
    for (std::size_t i = 0; i + 1 < rows.size(); ++i)
        REQUIRE(rows[i].close_time == rows[i + 1].open_time);
}

TEST_CASE("an engine begins where bars end", "[engine]") {
    for (const LatePolicy late : {LatePolicy::drop, LatePolicy::amend}) {
        const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
        const TimeNs end = WEDNESDAY + 65 * NS_PER_MINUTE;
        const auto push = [](Engine& engine, TimeNs time, double price) {
            Table table;
            table.add(1, trade_at(time, price));
            (void)engine.producer("feed")->push(table.view());
        };
        Engine before{RollupPlan(intervals), keeping(10, late)};
        before.start();
        push(before, WEDNESDAY, 100.0);
        push(before, WEDNESDAY + 62 * NS_PER_MINUTE, 101.0);
        before.advance(end);
        const Snapshot snapshot = before.take("lake");

        Engine after{RollupPlan(intervals), keeping(10, late)};
        REQUIRE(after.warm_start(snapshot.closed()) == 1);
        after.start();
        REQUIRE(error_of([&] { (void)after.warm_start(snapshot.closed()); }).code() ==
                ErrorCode::engine_state);
        REQUIRE(rows_of(*after.bars(1, 0)) == rows_of(*before.bars(1, 0)));
        push(after, end + 5 * NS_PER_MINUTE, 102.0);
        after.advance(WEDNESDAY + 2 * NS_PER_HOUR);
        const Rows minutes = rows_of(*after.bars(1, 0));
        const Rows hours = rows_of(*after.bars(1, 1));
        const auto last = minutes.end() - 2;
        REQUIRE(last->trade_count == 0);  // flat from where the bars ended
        REQUIRE(last->open_time == WEDNESDAY + 63 * NS_PER_MINUTE);
        REQUIRE(last->close_time == end + 5 * NS_PER_MINUTE);
        REQUIRE(last->close == 101.0);
        REQUIRE((minutes.back().flags & BAR_PARTIAL) == 0);
        REQUIRE(hours.back().trade_count == 1);
        REQUIRE((hours.back().flags & BAR_PARTIAL) != 0);
        REQUIRE(hours.size() == 2);
    }
}
