#include <algorithm>
#include <cmath>

#include "engines.hpp"

using namespace klineagg;
using namespace klineagg::test;

TEST_CASE("symbols move between workers while trades flow, and nothing else changes", "[engine]") {
    Rng rng(421);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 6; ++round) {
        const auto& intervals = sets[round % sets.size()];
        constexpr std::uint32_t WORKERS = 3;
        EngineOptions options = live_options(static_cast<int>(WORKERS));
        options.lane_capacity = 64;  // full most of the time
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        TradeMix mix;
        mix.ids = true;
        mix.aggregated = chance(rng, 40);
        const Table table = random_table(rng, 20, 3'000, mix);
        const auto idle = engine.producer("idle");
        Feeds feeds(engine, table, rng);
        Series closed;
        std::size_t moved = 0;
        while (feeds.at_work()) {
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
        feeds.join();
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

namespace {

/// Trades of symbols whose numbers follow Zipf's law, mixed.
Table zipf_table(std::int32_t symbols, std::int32_t rows) {
    std::vector<double> weights;
    double total = 0.0;
    for (std::int32_t i = 0; i < symbols; ++i) {
        weights.push_back(std::pow(i + 1, -1.05));
        total += weights.back();
    }
    std::vector<std::int32_t> order;
    for (std::int32_t i = 0; i < symbols; ++i)
        order.insert(order.end(),
                     static_cast<std::size_t>(weights[static_cast<std::size_t>(i)] / total * rows) + 1,
                     i);
    Rng rng(433);
    std::shuffle(order.begin(), order.end(), rng);
    Table table;
    for (const std::int32_t symbol : order) table.add(symbol, trade_at(WEDNESDAY));
    return table;
}

}  // namespace

TEST_CASE("a rebalance evens out the workers' loads as far as single symbols allow", "[engine]") {
    for (const int workers : {2, 4, 8}) {
        for (const std::int32_t symbols : {20, 400, 2'000}) {
            const Table table = zipf_table(symbols, 30'000);
            const auto top = std::count(table.symbol.begin(), table.symbol.end(), 0);
            Engine engine(plan_of({"1m"}), live_options(workers));
            engine.start();
            const auto producer = engine.producer("feed");
            (void)producer->push(table.view());
            if (symbols == 400) {  // all of them on one worker
                std::vector<std::pair<std::int32_t, std::uint32_t>> moves;
                for (std::int32_t i = 0; i < symbols; ++i) moves.emplace_back(i, 0U);
                (void)engine.move(moves);
            }
            (void)engine.rebalance();
            const auto before = engine.worker_loads();
            (void)producer->push(table.view());
            engine.flush();
            const auto loads = engine.worker_loads();
            std::int64_t total = 0;
            std::int64_t most = 0;
            for (std::size_t i = 0; i < loads.size(); ++i) {
                total += loads[i] - before[i];
                most = std::max(most, loads[i] - before[i]);
            }
            INFO(workers << " workers, " << symbols << " symbols: " << most << " of " << total);
            REQUIRE(total == static_cast<std::int64_t>(table.size()));
            const double even = 1.2 * static_cast<double>(total) / workers;
            REQUIRE(static_cast<double>(most) <= std::max(even, static_cast<double>(top)));
        }
    }
}
