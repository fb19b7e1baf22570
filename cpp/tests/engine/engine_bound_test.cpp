// The bound of what consumers leave unacknowledged, with workers that stand at it; engines at rest.
#include "klineagg/engine.hpp"

#include <atomic>
#include <chrono>
#include <ctime>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr std::int64_t BARS = 60'000;

EngineOptions bounded(BoundPolicy policy) {
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.aggregator.gaps = GapMode::none;
    options.unacknowledged_rows_max = engine::ClosedLog::CHUNK_ROWS;
    options.on_bound = policy;
    options.lane_capacity = 1 << 17;
    return options;
}

/// One bar a trade: the log is at its bound long before the lane is empty.
Table many_bars() {
    Table table;
    for (std::int64_t i = 0; i <= BARS; ++i) {
        Trade trade;
        trade.time = WEDNESDAY + i * NS_PER_SECOND;
        trade.price = 100.0;
        trade.quantity = 1.0;
        table.add(1, trade);
    }
    return table;
}

std::int64_t processor_ns() {
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<std::int64_t>(used.tv_sec) * NS_PER_SECOND + used.tv_nsec;
}

}  // namespace

TEST_CASE("a take goes through while the workers wait for consumers", "[engine]") {
    Engine engine(RollupPlan({Interval::parse("1s")}), bounded(BoundPolicy::block));
    engine.start();
    const auto producer = engine.producer("feed");
    REQUIRE(producer->push(many_bars().view()).queued == BARS + 1);
    while (engine.counts().log_waits == 0) std::this_thread::yield();
    // Its cut lies behind all of the rows, and the worker stands in the middle of them.
    std::int64_t closed = 0;
    {
        Snapshot snapshot = engine.take("lake");
        closed = snapshot.closed().rows();
        REQUIRE(snapshot.rows_lost() == 0);
        snapshot.ack();
    }
    REQUIRE(closed == BARS);
    engine.flush();
    REQUIRE(engine.counts().applied == BARS + 1);
    engine.stop();
}

TEST_CASE("takes and losses at the bound leave no row unaccounted for", "[engine]") {
    Engine engine(RollupPlan({Interval::parse("1s")}), bounded(BoundPolicy::lose));
    engine.start();
    const auto producer = engine.producer("feed");
    const Table table = many_bars();
    std::atomic<bool> over{false};
    std::int64_t seen = 0;
    std::int64_t lost = 0;
    const auto take = [&] {
        Snapshot snapshot = engine.take("lake");
        seen += snapshot.closed().rows();
        lost += static_cast<std::int64_t>(snapshot.rows_lost());
        snapshot.ack();
    };
    std::thread taker([&] {
        while (!over.load()) take();
    });
    REQUIRE(producer->push(table.view()).queued == BARS + 1);
    engine.flush();
    over.store(true);
    taker.join();
    take();
    REQUIRE(seen + lost == BARS);
    engine.stop();
}

TEST_CASE("an engine that does not run gives its rows all the same", "[engine]") {
    auto clock = std::make_shared<engine::SimulatedClock>();
    EngineOptions options = bounded(BoundPolicy::lose);
    options.clock = clock;
    options.unacknowledged_rows_max = 1U << 20U;
    Engine engine(RollupPlan({Interval::parse("1s")}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    constexpr int SYMBOLS = 20'000;  // more rows than are ever held ready
    Table table;
    for (int i = 0; i < SYMBOLS; ++i) {
        Trade trade;
        trade.time = WEDNESDAY;
        trade.price = trade.quantity = 1.0;
        table.add(i, trade);
    }
    (void)producer->push(table.view());
    engine.stop();
    engine.advance(WEDNESDAY + NS_PER_SECOND);  // closes them, with no thread left to make room
    Snapshot snapshot = engine.take("lake");
    REQUIRE(snapshot.closed().rows() == SYMBOLS);
    snapshot.ack();
}

TEST_CASE("an idle engine costs next to nothing", "[engine]") {
    const engine::WaitKind wait = GENERATE(engine::WaitKind::backoff, engine::WaitKind::park);
    EngineOptions options;
    options.workers = 2;
    options.wait = wait;
    Engine engine(RollupPlan({Interval::parse("1s")}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // it comes to rest
    // Waiting as a busy one does would take more than 10 % (measured: below 0.1 %). Where the
    // machine is busy it may come to rest later.
    std::int64_t used = NS_PER_SECOND;
    for (int look = 0; look < 20 && used >= 500'000'000 / 40; ++look) {
        const std::int64_t before = processor_ns();
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        used = processor_ns() - before;
    }
    REQUIRE(used < 500'000'000 / 40);
    engine.stop();
}

TEST_CASE("engines that have stopped have no threads", "[engine]") {
    const auto threads = [] {
        std::ifstream status("/proc/self/status");
        std::string word;
        while (status >> word && word != "Threads:") {}
        int count = 0;
        status >> count;
        return count;
    };
    std::thread([] {}).join();  // with the first one comes a sanitizer's own
    const int before = threads();
    std::vector<std::unique_ptr<Engine>> engines;
    for (int i = 0; i < 20; ++i) {
        engines.push_back(std::make_unique<Engine>(RollupPlan({Interval::parse("1s")})));
        engines.back()->start();
        engines.back()->stop();
    }
    // A thread that was joined stays in the system's count for a moment: here, and in `before`.
    const engine::MonotonicNs patience = engine::deadline_after(60 * NS_PER_SECOND);
    while (threads() > before && engine::monotonic_ns() < patience)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    REQUIRE(threads() <= before);
}
