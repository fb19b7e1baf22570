// Calls with a timeout while a worker is stopped; waiting for closed rows; consumers.
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "batch_run.hpp"
#include "catch.hpp"
#include "gated_clock.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr DurationNs MOMENT = 20'000'000;

Table trades(TimeNs begin, int count) {
    Table table;
    for (int i = 0; i < count; ++i) {
        Trade trade;
        trade.time = begin + i * NS_PER_SECOND;
        trade.price = 100.0;
        trade.quantity = 1.0;
        table.add(1, trade);
    }
    return table;
}

EngineOptions options_of(std::shared_ptr<engine::Clock> clock, int workers) {
    EngineOptions options;
    options.clock = std::move(clock);
    options.workers = workers;
    options.wait = engine::WaitKind::spin;
    return options;
}

}  // namespace

TEST_CASE("calls with a timeout give up while a worker is stopped, and can be made again",
          "[engine]") {
    const auto clock = std::make_shared<GatedClock>(WEDNESDAY + NS_PER_HOUR);
    Engine engine(RollupPlan({Interval::parse("1s")}), options_of(clock, 1));
    engine.start();
    const auto producer = engine.producer("feed");
    clock->close();
    while (clock->waiting() == 0) std::this_thread::yield();
    REQUIRE(producer->push(trades(WEDNESDAY, 100).view()).queued == 100);
    REQUIRE_FALSE(engine.flush(MOMENT));
    REQUIRE_FALSE(engine.flush(MOMENT));  // the first one is still on its way
    REQUIRE_FALSE(engine.wait_responsive(MOMENT));
    REQUIRE_FALSE(producer->flush(MOMENT));
    REQUIRE(engine.counts().applied == 0);
    REQUIRE(producer->push(trades(WEDNESDAY + NS_PER_MINUTE * 2, 100).view()).queued == 100);
    std::thread opening([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        clock->open();
    });
    REQUIRE(engine.flush());
    opening.join();
    REQUIRE(engine.counts().applied == 200);
    REQUIRE(engine.wait_responsive(NS_PER_MINUTE));
    // What was given up left no gate closed and no command behind.
    Snapshot snapshot = engine.take("lake");
    REQUIRE(snapshot.closed().rows() + snapshot.open().rows() > 200);
    snapshot.ack();
    engine.stop();
}

TEST_CASE("a stopped call leaves one that waits for its turn to time out", "[engine]") {
    const auto clock = std::make_shared<GatedClock>(WEDNESDAY);
    Engine engine(RollupPlan({Interval::parse("1s")}), options_of(clock, 2));
    engine.start();
    clock->close();
    while (clock->waiting() < 2) std::this_thread::yield();
    std::atomic<bool> flushed{false};
    std::thread other([&] {
        engine.flush();  // holds the right to control the engine for as long as this takes
        flushed.store(true);
    });
    REQUIRE_FALSE(engine.wait_responsive(MOMENT));
    REQUIRE_FALSE(flushed.load());
    clock->open();
    other.join();
    REQUIRE(engine.wait_responsive(NS_PER_MINUTE));
    engine.stop();
}

TEST_CASE("waiting for closed rows ends when there are some", "[engine]") {
    EngineOptions options = options_of(std::make_shared<engine::SimulatedClock>(), 2);
    options.wait = engine::WaitKind::park;
    Engine engine(RollupPlan({Interval::parse("1s")}), options);
    REQUIRE_FALSE(engine.wait_closed("lake", MOMENT));  // not running: it does not wait
    engine.start();
    const auto producer = engine.producer("feed");
    REQUIRE_FALSE(engine.wait_closed("lake", MOMENT));
    REQUIRE(engine.consumers().empty());  // who waits is no consumer yet
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> seen{0};
        std::vector<std::thread> waiting;
        for (int i = 0; i < 3; ++i)
            waiting.emplace_back([&] { seen += engine.wait_closed("lake", NS_PER_MINUTE) ? 1 : 0; });
        const TimeNs begin = WEDNESDAY + round * NS_PER_MINUTE;
        REQUIRE(producer->push(trades(begin, 2).view()).queued == 2);  // the first bar closes
        for (std::thread& thread : waiting) thread.join();
        REQUIRE(seen == 3);
        engine.flush();
        Snapshot snapshot = engine.take("lake");
        REQUIRE(engine.wait_closed("lake", MOMENT));  // not acknowledged
        snapshot.ack();
        REQUIRE_FALSE(engine.wait_closed("lake", 1'000));
    }
    std::thread stopping([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        engine.stop();
    });
    REQUIRE_FALSE(engine.wait_closed("lake", NS_PER_HOUR));
    stopping.join();
}

TEST_CASE("consumers are listed with what they owe, and can go", "[engine]") {
    EngineOptions options = options_of(std::make_shared<engine::SimulatedClock>(), 1);
    options.aggregator.gaps = GapMode::none;
    Engine engine(RollupPlan({Interval::parse("1s")}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    Snapshot first = engine.take("slow");
    first.ack();
    (void)producer->push(trades(WEDNESDAY, 11).view());
    engine.flush();
    REQUIRE(engine.closed_rows() == 10);
    Snapshot held = engine.take("quick");
    const std::vector<ConsumerStats> consumers = engine.consumers();
    REQUIRE(consumers.size() == 2);
    REQUIRE(consumers[0].name == "quick");
    REQUIRE(consumers[0].outstanding);
    REQUIRE(consumers[0].rows_behind == 10);
    REQUIRE(consumers[1].name == "slow");
    REQUIRE_FALSE(consumers[1].outstanding);
    REQUIRE(consumers[1].rows_behind == 10);
    REQUIRE(consumers[1].rows_lost == 0);
    REQUIRE(engine.remove_consumer("slow"));
    REQUIRE_FALSE(engine.remove_consumer("slow"));
    REQUIRE(engine.remove_consumer("quick"));
    // Its snapshot is over, and acknowledging it does not bring the consumer back.
    REQUIRE(error_of([&] { held.ack(); }).code() == ErrorCode::snapshot_over);
    REQUIRE(engine.consumers().empty());
    engine.stop();
}
