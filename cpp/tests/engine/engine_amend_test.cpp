#include <map>
#include <tuple>

#include "batch_run.hpp"
#include "catch.hpp"
#include "engine/random_runs.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// The newest revision of every bar with trades.
std::map<std::tuple<int, std::int32_t, TimeNs>, Row> resolved(const Series& series) {
    std::map<std::tuple<int, std::int32_t, TimeNs>, Row> newest;
    for (const auto& [key, rows] : series) {
        for (const Row& row : rows) {
            if (row.trade_count == 0) continue;
            Row& kept = newest.try_emplace({key.first, key.second, row.open_time}, row).first->second;
            if (row.revision >= kept.revision) kept = row;
        }
    }
    return newest;
}

}  // namespace

TEST_CASE("late trades amend closed bars as they do in the batch path", "[engine]") {
    Rng rng(411);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 22; ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.ids = chance(rng, 60);
        mix.flags = chance(rng, 40);
        const Table mixed = disordered(rng, random_table(rng, 1 + pick(rng, 6), 200, mix),
                                       {.late = 10, .reach = 40, .repeated = 0});

        EngineOptions options;
        options.workers = 1 + static_cast<int>(pick(rng, 3));
        options.aggregator.amend_horizon_ns =
            chance(rng, 50) ? HORIZON_UNLIMITED : between(rng, 0, 5) * NS_PER_HOUR;
        options.aggregator.gaps = chance(rng, 50) ? GapMode::none : GapMode::runs;
        options.clock = std::make_shared<engine::SimulatedClock>();
        options.max_ahead_ns = HORIZON_UNLIMITED;
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        const auto producer = engine.producer("feed");
        BatchOptions batch_options;
        batch_options.aggregator = options.aggregator;
        BatchRun batch(intervals, batch_options);
        Series closed;
        for (std::size_t from = 0; from < mixed.size();) {
            const std::size_t to = std::min(mixed.size(), from + 1 + pick(rng, 100));
            (void)producer->push(mixed.view(from, to));
            // Row by row, so that the horizon of the batch path forgets at the same moments.
            for (std::size_t row = from; row < to; ++row) batch.add({mixed.view(row, row + 1)});
            from = to;
            if (chance(rng, 60)) continue;
            Snapshot snapshot = engine.take("lake");
            collect(snapshot.closed(), closed);
            snapshot.ack();
        }
        Snapshot snapshot = engine.take("lake");
        collect(snapshot.closed(), closed);
        const auto a = resolved(closed);
        const auto b = resolved(batch.series);
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(a.size() == b.size());
        for (const auto& [key, row] : b) {
            REQUIRE(a.count(key) == 1);
            REQUIRE(a.at(key) == row);
        }
        const BatchReport& report = batch.aggregator.report();
        REQUIRE(engine.counts().beyond_horizon == report.beyond_horizon);
    }
}
