// Engines of the tests: how they are made, fed and read.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"
#include "klineagg/engine.hpp"

namespace klineagg::test {

/// On a clock that the test moves, and that nothing is ahead of.
inline EngineOptions live_options(int workers = 1, LatePolicy late = LatePolicy::drop) {
    EngineOptions options;
    options.workers = workers;
    options.aggregator.late = late;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    return options;
}

inline std::vector<Interval> parse_all(std::initializer_list<const char*> names) {
    std::vector<Interval> intervals;
    for (const char* name : names) intervals.push_back(Interval::parse(name));
    return intervals;
}

inline RollupPlan plan_of(std::initializer_list<const char*> names) {
    return RollupPlan(parse_all(names));
}

inline Trade trade_at(TimeNs time, double price = 100.0) {
    Trade trade;
    trade.time = time;
    trade.price = price;
    trade.quantity = 1.0;
    return trade;
}

inline Table one_trade(std::int32_t symbol, const Trade& trade) {
    Table table;
    table.add(symbol, trade);
    return table;
}

inline Table one_trade(std::int32_t symbol, TimeNs time) {
    return one_trade(symbol, trade_at(time));
}

/// Appends what consumer "lake" has not had, and acknowledges it.
inline void take_into(Engine& engine, Series& closed) {
    Snapshot snapshot = engine.take("lake");
    REQUIRE(snapshot.rows_lost() == 0);
    collect(snapshot.closed(), closed);
    snapshot.ack();
}

/// A table on its way into an engine: two threads push it in random batches, each the trades of
/// its own symbols.
class Feeds {
public:
    Feeds(Engine& engine, const Table& table, Rng& rng) {
        for (std::int32_t part = 0; part < THREADS; ++part) {
            threads_.emplace_back([&, part, seed = rng()] {
                Rng own(seed);
                const auto producer = engine.producer("feed");
                const Table mine = table.filtered(
                    [&](std::size_t row) { return table.symbol[row] % THREADS == part; });
                for (std::size_t from = 0; from < mine.size();) {
                    const std::size_t to = std::min(mine.size(), from + 1 + pick(own, 300));
                    (void)producer->push(mine.view(from, to));
                    from = to;
                }
                at_work_.fetch_sub(1);
            });
        }
    }
    ~Feeds() { join(); }
    Feeds(const Feeds&) = delete;
    Feeds& operator=(const Feeds&) = delete;

    [[nodiscard]] bool at_work() const noexcept { return at_work_.load() != 0; }
    void join() {
        for (std::thread& thread : threads_)
            if (thread.joinable()) thread.join();
    }

private:
    static constexpr std::int32_t THREADS = 2;
    std::atomic<int> at_work_{THREADS};
    std::vector<std::thread> threads_;
};

}  // namespace klineagg::test
