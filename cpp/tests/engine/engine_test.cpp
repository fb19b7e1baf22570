#include "klineagg/engine.hpp"

#include <thread>
#include <utility>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

EngineOptions live_options(int workers, std::shared_ptr<engine::SimulatedClock> clock) {
    EngineOptions options;
    options.workers = workers;
    options.aggregator.late = LatePolicy::drop;
    options.aggregator.gaps = GapMode::none;
    options.clock = std::move(clock);
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.lane_capacity = 4096;
    return options;
}

BatchOptions batch_of(const EngineOptions& options) {
    BatchOptions batch;
    batch.aggregator = options.aggregator;
    batch.last_prices = options.last_prices;
    return batch;
}

/// Rows that no trade made: an engine leaves those behind the last bar to the reader.
Series without_flats(Series series) {
    for (auto place = series.begin(); place != series.end();) {
        std::erase_if(place->second, [](const Row& row) { return row.trade_count == 0; });
        place = place->second.empty() ? series.erase(place) : std::next(place);
    }
    return series;
}

Series series_of(const BarTable& table) {
    Series series;
    collect(table, series);
    return series;
}

TradeMix random_mix(Rng& rng) {
    TradeMix mix;
    mix.ids = chance(rng, 60);
    mix.aggregated = chance(rng, 40);
    mix.flags = chance(rng, 40);
    mix.wild_amounts = chance(rng, 20);
    return mix;
}

}  // namespace

TEST_CASE("an engine closes the bars of the batch path, bit for bit", "[engine]") {
    Rng rng(401);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 44; ++round) {
        const auto& intervals = sets[round % sets.size()];
        const Table table = random_table(rng, 1 + pick(rng, 12), 300, random_mix(rng));
        auto clock = std::make_shared<engine::SimulatedClock>();
        EngineOptions options = live_options(1 + static_cast<int>(pick(rng, 3)), clock);
        if (chance(rng, 50)) options.aggregator.gaps = GapMode::runs;
        if (chance(rng, 50)) options.aggregator.lateness_ns = between(rng, 0, NS_PER_MINUTE);
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        const auto producer = engine.producer("feed");

        BatchRun batch(intervals, batch_of(options));
        Series closed;
        for (std::size_t from = 0; from < table.size();) {
            const std::size_t to = std::min(table.size(), from + 1 + pick(rng, 200));
            const PushResult pushed = producer->push(table.view(from, to));
            REQUIRE(pushed.queued == to - from);
            batch.add({table.view(from, to)});
            from = to;
            if (chance(rng, 40)) continue;
            Snapshot snapshot = engine.take("lake");
            if (chance(rng, 30)) continue;  // dropped: its rows come again
            collect(snapshot.closed(), closed);
            snapshot.ack();
        }
        {
            Snapshot snapshot = engine.take("lake");
            collect(snapshot.closed(), closed);
            snapshot.ack();
        }
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(difference(closed, batch.series) == "");

        // What is open: the batch path hands it out at the end, when all that is left closes by
        // the newest trade; so with a lateness that has to be closed here too.
        const Series before = batch.series;
        if (options.aggregator.lateness_ns == 0) {
            batch.series.clear();
            batch.finish();
            REQUIRE(difference(series_of(*engine.view().open), without_flats(batch.series)) == "");
        }
        engine.stop();
        REQUIRE(engine.counts().applied == static_cast<std::int64_t>(table.size()));
    }
}

TEST_CASE("a clock closes what trades would have closed later", "[engine]") {
    Rng rng(402);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 33; ++round) {
        const auto& intervals = sets[round % sets.size()];
        const Table table = random_table(rng, 1 + pick(rng, 12), 300, random_mix(rng));
        auto clock = std::make_shared<engine::SimulatedClock>();
        EngineOptions options = live_options(1 + static_cast<int>(pick(rng, 3)), clock);
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        // All known from the beginning, so that none joins inside of its first bars.
        for (const auto& [symbol, trades] : table.by_symbol()) (void)engine.add_symbol(symbol);
        const auto producer = engine.producer("feed");
        Series closed;
        const auto take = [&] {
            Snapshot snapshot = engine.take("lake");
            collect(snapshot.closed(), closed);
            REQUIRE(snapshot.watermark() == clock->now());
            snapshot.ack();
        };
        for (std::size_t from = 0; from < table.size();) {
            const std::size_t to = std::min(table.size(), from + 1 + pick(rng, 100));
            (void)producer->push(table.view(from, to));
            from = to;
            if (chance(rng, 70)) engine.advance(table.time[to - 1]);
            if (chance(rng, 20)) engine.advance(clock->now());
            if (chance(rng, 30) && clock->now() != TIME_MIN) take();
        }
        const TimeNs end = table.time.back() + between(rng, 0, 3) * 20 * NS_PER_HOUR;
        engine.advance(end);
        take();
        BatchOptions whole = batch_of(options);
        whole.aggregator.coverage_end = end;
        whole.aggregator.include_open = false;
        BatchRun batch(intervals, whole);
        batch.add({table.view()}, true);
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(difference(closed, batch.series) == "");
        for (const auto& [key, rows] : series_of(*engine.view().open)) {
            for (const Row& row : rows) REQUIRE(row.close_time > end);
        }
    }
}
