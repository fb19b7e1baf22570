#include "batch_run.hpp"
#include "catch.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// Few trades of each of many symbols, ids far from dense, new ones coming all the time.
Table wide_table(Rng& rng, std::size_t symbols, std::size_t rows) {
    Table table;
    TimeNs time = WEDNESDAY;
    for (std::size_t row = 0; row < rows; ++row) {
        time += between(rng, 0, 20 * NS_PER_SECOND / static_cast<std::int64_t>(symbols));
        // Known ones and, as time goes on, all of them.
        const std::size_t known = 1 + symbols * (row + 1) / rows;
        const auto symbol = static_cast<std::int32_t>(
            std::min(symbols - 1, chance(rng, 50) ? pick(rng, known) : known - 1));
        Trade trade;
        trade.time = time;
        trade.price = static_cast<double>(between(rng, 9'900, 10'100)) / 100.0;
        trade.quantity = static_cast<double>(between(rng, 1, 5'000)) / 1'000.0;
        trade.taker_buy = chance(rng, 45);
        table.add(symbol * 7, trade);
    }
    return table;
}

void check_symbols(std::size_t symbols) {
    Rng rng(451);
    const std::vector<Interval> intervals{Interval::parse("1s"), Interval::parse("5s"),
                                          Interval::parse("1m")};
    EngineOptions options;
    options.workers = 2;
    options.aggregator.late = LatePolicy::drop;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    const auto producer = engine.producer("feed");
    const Table table = wide_table(rng, symbols, 4 * symbols + 10);
    Series closed;
    const std::size_t step = table.size() / 7 + 1;
    for (std::size_t from = 0; from < table.size(); from += step) {
        const std::size_t to = std::min(table.size(), from + step);
        REQUIRE(producer->push(table.view(from, to)).queued == to - from);
        if (from == 2 * step) engine.resize(3);
        if (from == 4 * step) engine.rebalance();
        if (from == 5 * step) engine.resize(1);
        Snapshot snapshot = engine.take("lake");
        REQUIRE(snapshot.rows_lost() == 0);
        collect(snapshot.closed(), closed);
        snapshot.ack();
    }
    BatchOptions batch_options;
    batch_options.aggregator = options.aggregator;
    BatchRun batch(intervals, batch_options);
    batch.add({table.view()});
    REQUIRE(difference(closed, batch.series) == "");
    Series open;
    collect(*engine.view().open, open);
    std::int64_t trades = 0;
    for (const auto& [key, rows] : open)
        for (const Row& row : rows) trades += key.first == 2 ? row.trade_count : 0;
    for (const auto& [key, rows] : closed)
        for (const Row& row : rows) trades += key.first == 2 ? row.trade_count : 0;
    REQUIRE(trades == static_cast<std::int64_t>(table.size()));
}

}  // namespace

TEST_CASE("an engine serves from one symbol to thousands", "[engine]") {
    for (const std::size_t symbols : {1U, 2U, 63U, 64U, 65U, 4'000U}) check_symbols(symbols);
}

TEST_CASE("an engine serves a hundred thousand symbols", "[engine][.slow]") {
    check_symbols(100'000);
}

TEST_CASE("a symbol is seeded once: the first price stays", "[engine][symbols]") {
    const std::vector<Interval> intervals{Interval::parse("1m")};
    for (const LatePolicy late : {LatePolicy::amend, LatePolicy::drop}) {
        EngineOptions options;
        options.workers = 1;
        options.clock = std::make_shared<engine::SimulatedClock>();
        options.max_ahead_ns = HORIZON_UNLIMITED;
        options.aggregator.late = late;
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        const TimeNs hour = WEDNESDAY + NS_PER_HOUR;
        REQUIRE(engine.add_symbol(1, 42.0, hour));
        // Genesis bars before those would be a series that runs backwards.
        CHECK_FALSE(engine.add_symbol(1, 43.0, WEDNESDAY));
        CHECK_FALSE(engine.add_symbol(1, 43.0, hour + NS_PER_HOUR));
        CHECK(engine.add_symbol(2));
        CHECK(engine.add_symbol(2, 7.0, hour));
        engine.advance(hour + NS_PER_MINUTE);
        Snapshot snapshot = engine.take("lake");
        Series closed;
        collect(snapshot.closed(), closed);
        REQUIRE(closed.at({0, 1}).size() == 1);
        CHECK(closed.at({0, 1})[0].open_time == hour);
        CHECK(closed.at({0, 1})[0].close == 42.0);
        snapshot.ack();
        const std::vector<std::byte> state = engine.checkpoint();
        options.clock = std::make_shared<engine::SimulatedClock>();
        Engine other(RollupPlan(intervals), options);
        CHECK(other.restore(state) == 2);
    }
}
