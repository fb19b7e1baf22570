#include <atomic>
#include <cmath>
#include <cstdio>
#include <thread>

#include "engines.hpp"

using namespace klineagg;
using namespace klineagg::test;
using engine::LanePolicy;

namespace {

EngineOptions options_of(int workers, LanePolicy policy) {
    EngineOptions options = live_options(workers);
    options.policy = policy;
    return options;
}

/// Trades of a few symbols, some of them late, some of them no trades at all.
Table mixed_table(Rng& rng, std::int32_t first_symbol, std::size_t rows) {
    Table table;
    TimeNs time = WEDNESDAY;
    for (std::size_t i = 0; i < rows; ++i) {
        time += NS_PER_SECOND / 10;
        Trade trade = trade_at(chance(rng, 5) ? time - 5 * NS_PER_SECOND : time);
        if (chance(rng, 3)) trade.price = std::nan("");
        table.add(first_symbol + static_cast<std::int32_t>(pick(rng, 7)), trade);
    }
    return table;
}

template <class Stats>
bool balanced(const Stats& stats, std::uint64_t rejected) {
    return stats.offered == stats.accepted + rejected + stats.refused.total() +
                                stats.dropped_newest + stats.dropped_oldest + stats.in_flight;
}

/// What a feeding thread says of itself, before and behind each of its pushes.
struct Feed {
    std::shared_ptr<Producer> producer;
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> settled{0};
    std::uint64_t rejected = 0;
    std::uint64_t dropped = 0;
};

void run_feed(Feed& feed, std::size_t number, int rounds) {
    Rng rng(700 + number);
    const Table table = mixed_table(rng, static_cast<std::int32_t>(10 * (number + 1)), 3'000);
    for (int round = 0; round < rounds; ++round) {
        const std::size_t rows = 1 + pick(rng, table.size());
        feed.begun.fetch_add(rows);
        const PushResult done = feed.producer->push(table.view(0, rows), nullptr, 1'000'000);
        feed.begun.fetch_sub(done.timed_out_rows);
        feed.settled.fetch_add(done.settled_rows());
        feed.rejected += done.rejected;
        feed.dropped += done.dropped;
    }
}

void check_while_running(const Engine& engine, std::vector<Feed>& feeds, std::atomic<bool>& over) {
    std::vector<std::uint64_t> last(feeds.size(), 0);
    int checks = 0;
    while (!over.load() || checks == 0) {
        for (std::size_t i = 0; i < feeds.size(); ++i) {
            const std::uint64_t settled = feeds[i].settled.load();
            const ProducerStats stats = feeds[i].producer->stats();
            REQUIRE(balanced(stats, stats.rejected_total()));
            REQUIRE(stats.offered >= settled);
            REQUIRE(stats.offered >= last[i]);
            // Two lanes full, and what a worker has in hand.
            REQUIRE(stats.in_flight <= 2 * (2 * 256 + 4096));
            last[i] = stats.offered;
        }
        const EngineStats stats = engine.stats();
        REQUIRE(balanced(stats, stats.rejected));
        ++checks;
    }
}

}  // namespace

TEST_CASE("offered = accepted + dropped + rejected + in flight, whenever one looks",
          "[engine][stats]") {
    for (const LanePolicy policy :
         {LanePolicy::block, LanePolicy::drop_newest, LanePolicy::drop_oldest}) {
        EngineOptions options = options_of(2, policy);
        options.lane_capacity = 256;
        Engine engine(plan_of({"1s", "1m"}), options);
        engine.start();
        std::vector<Feed> feeds(2);
        for (Feed& feed : feeds) feed.producer = engine.producer("feed");
        std::atomic<bool> over{false};
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < feeds.size(); ++i)
            threads.emplace_back([&, i] { run_feed(feeds[i], i, 60); });
        std::thread switching([&] {
            // What was promised of a block stays so while symbols and workers change.
            for (std::uint32_t i = 0; i < 20; ++i) {
                (void)engine.move({{11, i % 2}, {12, (i + 1) % 2}, {21, i % 2}}, NS_PER_MINUTE);
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        });
        std::thread finishing([&] {
            for (std::thread& thread : threads) thread.join();
            switching.join();
            over.store(true);
        });
        check_while_running(engine, feeds, over);
        finishing.join();
        engine.flush();
        const EngineStats stats = engine.stats();
        REQUIRE(stats.in_flight == 0);
        REQUIRE(balanced(stats, stats.rejected));
        REQUIRE(stats.refused.late > 0);
        REQUIRE(stats.rejected > 0);
        if (policy == LanePolicy::block) REQUIRE(stats.dropped() == 0);
        std::uint64_t settled = 0;
        for (std::size_t i = 0; i < feeds.size(); ++i) {
            settled += feeds[i].settled.load();
            const ProducerStats& one = stats.producers[i];
            REQUIRE(one.offered == feeds[i].settled.load());
            REQUIRE(one.rejected_total() == feeds[i].rejected);
            REQUIRE(one.rejected[static_cast<std::size_t>(RejectReason::price_not_finite)] ==
                    feeds[i].rejected);
            REQUIRE(one.dropped_newest == feeds[i].dropped);
        }
        REQUIRE(stats.offered == settled);
        std::int64_t in_bars = 0;
        const View view = engine.view();
        Snapshot snapshot = engine.take("all");
        for (const BarTable* table : {&snapshot.closed(), view.open.get()}) {
            const BarColumns& at = table->columns();
            for (std::int64_t row = 0; row < table->rows(); ++row)
                if (at.interval[row] == 0) in_bars += at.trade_count[row];
        }
        REQUIRE(in_bars == static_cast<std::int64_t>(stats.accepted));
        engine.stop();
    }
}

TEST_CASE("counts outlive the lanes and workers that they are of", "[engine][stats]") {
    Engine engine(plan_of({"1s"}), options_of(2, LanePolicy::block));
    engine.start();
    const auto producer = engine.producer("feed", 3);
    Rng rng(5);
    const Table table = mixed_table(rng, 1, 2'000);
    std::uint64_t pushed = 0;
    for (const int workers : {3, 1, 2}) {
        pushed += producer->push(table.view()).offered;
        engine.resize(workers, NS_PER_MINUTE);
        const ProducerStats stats = producer->stats();
        REQUIRE(stats.offered == pushed);
        REQUIRE(balanced(stats, stats.rejected_total()));
        REQUIRE(stats.lanes.size() == static_cast<std::size_t>(workers));
    }
    REQUIRE(producer->flush());
    REQUIRE(producer->stats().in_flight == 0);
    const EngineStats stats = engine.stats();
    REQUIRE(stats.offered == pushed);
    REQUIRE(stats.ingest.count() == pushed - stats.rejected);
}

TEST_CASE("the policy may change while rows are pushed", "[engine][stats]") {
    EngineOptions options = options_of(1, LanePolicy::block);
    options.lane_capacity = 64;
    Engine engine(plan_of({"1s"}), options);
    engine.start();
    std::vector<Feed> feeds(1);
    feeds[0].producer = engine.producer("feed");
    std::atomic<bool> over{false};
    std::thread pushing([&] {
        run_feed(feeds[0], 0, 150);
        over.store(true);
    });
    std::thread switching([&] {
        Rng rng(9);
        while (!over.load()) {
            ConfigChange change;
            change.policy = static_cast<LanePolicy>(pick(rng, 3));
            (void)engine.reconfigure(change, NS_PER_MINUTE);
            std::this_thread::yield();
        }
    });
    check_while_running(engine, feeds, over);
    pushing.join();
    switching.join();
    engine.flush();
    const ProducerStats stats = feeds[0].producer->stats();
    REQUIRE(stats.in_flight == 0);
    REQUIRE(stats.offered == feeds[0].settled.load());
    REQUIRE(stats.dropped_newest == feeds[0].dropped);
}

TEST_CASE("a push that times out settles whole blocks from the front", "[engine][stats]") {
    EngineOptions options = options_of(1, LanePolicy::block);
    options.lane_capacity = 1024;
    Engine engine(plan_of({"1s"}), options);  // not started: nobody takes rows
    const auto producer = engine.producer("feed");
    Table table;
    for (std::int64_t i = 0; i < 3'000; ++i) {
        Trade trade = trade_at(WEDNESDAY + i);
        if (i % 100 == 50) trade.price = -1.0;
        table.add(1, trade);
    }
    std::vector<RejectedRow> rejected;
    const PushResult first = producer->push(table.view(), &rejected, 0);
    REQUIRE(first.settled_rows() == 1024);
    REQUIRE(first.queued + first.rejected == 1024);
    REQUIRE(rejected.size() == first.rejected);
    REQUIRE(rejected.back().row < 1024);
    REQUIRE(producer->stats().offered == 1024);
    engine.start();
    rejected.clear();
    const PushResult second = producer->push(table.view(first.settled_rows(), table.size()), &rejected);
    REQUIRE(second.timed_out_rows == 0);
    REQUIRE(first.rejected + second.rejected == 30);
    engine.flush();
    REQUIRE(producer->stats().accepted == 2'970);
}

TEST_CASE("a drained engine takes no trades but goes on", "[engine][stats]") {
    auto clock = std::make_shared<engine::SimulatedClock>(WEDNESDAY);
    EngineOptions options = options_of(1, LanePolicy::block);
    options.clock = clock;
    Engine engine(plan_of({"1s"}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    Table table;
    for (std::int64_t i = 0; i < 1'000; ++i) table.add(1, trade_at(WEDNESDAY + i));
    std::atomic<bool> refused{false};
    std::thread pushing([&] {
        try {
            while (true) {
                if (producer->push(table.view()).timed_out_rows != 0) break;
            }
            (void)producer->push(table.view());
        } catch (const Error& error) {
            refused.store(error.code() == ErrorCode::engine_state);
        }
    });
    while (producer->stats().offered == 0) std::this_thread::yield();
    engine.drain();
    const ProducerStats stats = producer->stats();
    REQUIRE(stats.in_flight == 0);
    pushing.join();
    REQUIRE(refused.load());
    REQUIRE(producer->stats().offered == stats.offered);
    REQUIRE(engine.state() == EngineState::draining);
    REQUIRE(error_of([&] { (void)producer->push_one(1, trade_at(WEDNESDAY)); }).code() ==
            ErrorCode::engine_state);
    engine.advance(WEDNESDAY + NS_PER_SECOND);
    REQUIRE(engine.take("c").closed().rows() == 1);
    engine.stop();
    REQUIRE(engine.state() == EngineState::stopped);
}

TEST_CASE("latencies are measured where they arise", "[engine][stats]") {
    EngineOptions options;  // a trade that comes when its second is over closes its bar at once
    options.wait = engine::WaitKind::park;
    Engine engine(plan_of({"1s"}), options);  // the system's clock
    engine.start();
    const auto producer = engine.producer("feed");
    const TimeNs now = engine::SystemClock().now();
    REQUIRE(producer->push_one(1, trade_at(now)) == PushOne::queued);
    Table table;
    for (std::int64_t i = 0; i < 100; ++i) table.add(2, trade_at(now + i));
    (void)producer->push(table.view());
    engine.flush();
    EngineStats stats = engine.stats();
    REQUIRE(stats.ingest.count() == 101);
    REQUIRE(stats.ingest.max() > 0);
    REQUIRE(stats.ingest.max() < NS_PER_HOUR);
    while (engine.stats().close.count() < 2)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    (void)engine.take("c");
    stats = engine.stats();
    REQUIRE(stats.close.count() == 2);
    REQUIRE(stats.snapshot.count() == 1);
    REQUIRE(stats.workers.at(0).name == "kla-worker-0");
    REQUIRE(stats.producers.at(0).lanes.at(0).capacity == options.lane_capacity);
}

TEST_CASE("rows one by one are judged and counted as batches are", "[engine][stats]") {
    EngineOptions options = options_of(1, LanePolicy::block);
    options.lane_capacity = 8;
    options.admit_unknown = false;
    options.max_ahead_ns = NS_PER_SECOND;
    options.clock = std::make_shared<engine::SimulatedClock>(WEDNESDAY);
    Engine engine(plan_of({"1s"}), options);
    REQUIRE(engine.add_symbol(1));
    const auto producer = engine.producer("feed");
    std::uint8_t reason = 0;
    const auto refused_for = [&](std::int32_t symbol, const Trade& trade) {
        REQUIRE(producer->push_one(symbol, trade, &reason) == PushOne::rejected);
        return engine_reason_name(reason);
    };
    const auto with = [](auto&& change) {
        Trade trade = trade_at(WEDNESDAY);
        change(trade);
        return trade;
    };
    REQUIRE(refused_for(-1, trade_at(WEDNESDAY)) == "symbol_missing");
    REQUIRE(refused_for(2, trade_at(WEDNESDAY)) == "symbol_unknown");
    REQUIRE(refused_for(1, trade_at(TIME_NONE)) == "time_missing");
    REQUIRE(refused_for(1, trade_at(WEDNESDAY + 2 * NS_PER_SECOND)) == "time_ahead");
    REQUIRE(refused_for(1, with([](Trade& t) { t.price = std::nan(""); })) == "price_not_finite");
    REQUIRE(refused_for(1, with([](Trade& t) { t.price = 0.0; })) == "price_not_positive");
    REQUIRE(refused_for(1, with([](Trade& t) { t.quantity = -1.0; })) == "quantity_not_positive");
    REQUIRE(refused_for(1, with([](Trade& t) { t.id = 5; t.last_id = 4; })) == "id_invalid");
    REQUIRE(refused_for(1, with([](Trade& t) { t.flags = 0x80; })) == "flags_invalid");
    // Odd but admissible: far from plain.
    REQUIRE(producer->push_one(1, with([](Trade& t) { t.price = 0x1p-60; })) == PushOne::queued);
    REQUIRE(producer->push_one(1, with([](Trade& t) { t.id = 4; t.last_id = 9; })) ==
            PushOne::queued);
    for (int i = 2; i < 8; ++i)
        REQUIRE(producer->push_one(1, trade_at(WEDNESDAY + i)) == PushOne::queued);
    REQUIRE(producer->push_one(1, trade_at(WEDNESDAY + 8)) == PushOne::full);
    ConfigChange change;
    change.policy = LanePolicy::drop_newest;
    (void)engine.reconfigure(change);
    REQUIRE(producer->push_one(1, trade_at(WEDNESDAY + 8)) == PushOne::dropped);
    engine.start();
    REQUIRE(producer->flush(30 * NS_PER_SECOND));
    const ProducerStats stats = producer->stats();
    REQUIRE(stats.offered == 9 + 8 + 1);
    REQUIRE(stats.rejected_total() == 9);
    REQUIRE(stats.accepted == 8);
    REQUIRE(stats.dropped_newest == 1);
    REQUIRE(engine.view().open->columns().trade_count[0] == 7 + 6);
}
