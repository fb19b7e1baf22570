#include <atomic>
#include <thread>

#include "batch_run.hpp"
#include "catch.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

TEST_CASE("symbols move between workers while trades flow, and nothing else changes", "[engine]") {
    Rng rng(421);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 6; ++round) {
        const auto& intervals = sets[round % sets.size()];
        constexpr std::uint32_t WORKERS = 3;
        EngineOptions options;
        options.workers = static_cast<int>(WORKERS);
        options.aggregator.late = LatePolicy::drop;
        options.clock = std::make_shared<engine::SimulatedClock>();
        options.max_ahead_ns = HORIZON_UNLIMITED;
        options.lane_capacity = 64;  // full most of the time
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        TradeMix mix;
        mix.ids = true;
        mix.aggregated = chance(rng, 40);
        const Table table = random_table(rng, 20, 3'000, mix);
        const auto idle = engine.producer("idle");
        std::atomic<int> at_work{2};
        std::vector<std::thread> threads;
        for (std::int32_t part = 0; part < 2; ++part) {  // a symbol's trades come from one of them
            threads.emplace_back([&, part, seed = rng()] {
                Rng own(seed);
                const auto producer = engine.producer("feed");
                const Table mine = table.filtered(
                    [&](std::size_t row) { return table.symbol[row] % 2 == part; });
                for (std::size_t from = 0; from < mine.size();) {
                    const std::size_t to = std::min(mine.size(), from + 1 + pick(own, 300));
                    (void)producer->push(mine.view(from, to));
                    from = to;
                }
                at_work.fetch_sub(1);
            });
        }
        Series closed;
        std::size_t moved = 0;
        while (at_work.load() != 0) {
            std::vector<std::pair<std::int32_t, std::uint32_t>> moves;
            for (std::int32_t symbol = 0; symbol < 70; ++symbol)
                if (chance(rng, 30))
                    moves.emplace_back(symbol, static_cast<std::uint32_t>(pick(rng, WORKERS)));
            moved += chance(rng, 20) ? engine.rebalance() : engine.move(moves);
            if (!chance(rng, 30)) continue;
            Snapshot snapshot = engine.take("lake");
            if (chance(rng, 30)) continue;
            collect(snapshot.closed(), closed);
            snapshot.ack();
        }
        for (std::thread& thread : threads) thread.join();
        Snapshot snapshot = engine.take("lake");
        collect(snapshot.closed(), closed);
        BatchOptions batch_options;
        batch_options.aggregator = options.aggregator;
        BatchRun batch(intervals, batch_options);
        batch.add({table.view()});
        INFO("round " << round << ", " << intervals[0].name() << " ..., " << moved << " moves");
        REQUIRE(difference(closed, batch.series) == "");
        Series open;
        collect(*engine.view().open, open);
        std::int64_t in_open = 0;
        for (const auto& [key, rows] : open)
            for (const Row& row : rows) in_open += row.trade_count;
        REQUIRE(in_open > 0);
        engine.stop();
        REQUIRE(engine.counts().applied == static_cast<std::int64_t>(table.size()));
        REQUIRE(engine.counts().late == 0);
    }
}

TEST_CASE("a rebalance evens out the workers' loads", "[engine]") {
    EngineOptions options;
    options.workers = 4;
    options.aggregator.late = LatePolicy::drop;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    Engine engine(RollupPlan({Interval::parse("1m")}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    Table table;
    for (std::int32_t i = 0; i < 30'000; ++i) {
        Trade trade;
        trade.time = WEDNESDAY + i;
        trade.price = trade.quantity = 1.0;
        table.add((i % 9 < 5) ? 4 * (i % 5) : i % 100, trade);  // some are busy on one worker
    }
    (void)producer->push(table.view());
    REQUIRE(engine.rebalance() > 0);
    const auto before = engine.worker_loads();
    (void)producer->push(table.view());
    engine.flush();
    auto loads = engine.worker_loads();
    std::int64_t total = 0;
    std::int64_t most = 0;
    for (std::size_t i = 0; i < loads.size(); ++i) {
        total += loads[i] - before[i];
        most = std::max(most, loads[i] - before[i]);
    }
    REQUIRE(total == 30'000);
    REQUIRE(static_cast<double>(most) * 4.0 <= 1.2 * static_cast<double>(total));
}
