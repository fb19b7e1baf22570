#include <atomic>
#include <chrono>
#include <csignal>
#include <pthread.h>
#include <thread>

#include "engines.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

Series batch_series(const std::vector<Interval>& intervals, const EngineOptions& options,
                    const Table& table) {
    BatchOptions batch_options;
    batch_options.aggregator = options.aggregator;
    BatchRun batch(intervals, batch_options);
    batch.add({table.view()});
    return batch.series;
}

/// One of everything that moves symbols.
void disturb(Engine& engine, Rng& rng) {
    const auto workers = static_cast<std::size_t>(engine.worker_count());
    switch (pick(rng, 5)) {
        case 0:
        case 1:
            engine.resize(1 + static_cast<int>(pick(rng, 4)));
            break;
        case 2:
            engine.rebuild(static_cast<int>(pick(rng, workers)));
            break;
        case 3:
            engine.rebalance();
            break;
        default: {
            std::vector<std::pair<std::int32_t, std::uint32_t>> moves;
            for (std::int32_t symbol = 0; symbol < 70; ++symbol)
                if (chance(rng, 30))
                    moves.emplace_back(symbol, static_cast<std::uint32_t>(pick(rng, workers)));
            engine.move(moves);
        }
    }
}

}  // namespace

TEST_CASE("workers come, go and are rebuilt while trades flow, and nothing else changes",
          "[engine]") {
    Rng rng(431);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 6; ++round) {
        const auto& intervals = sets[round % sets.size()];
        EngineOptions options = live_options(1 + static_cast<int>(pick(rng, 3)));
        options.lane_capacity = round % 2 == 0 ? 64 : 4096;  // full most of the time, or never
        options.wait = round % 3 == 0 ? engine::WaitKind::park : engine::WaitKind::backoff;
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        TradeMix mix;
        mix.ids = true;
        mix.aggregated = chance(rng, 40);
        const Table table = random_table(rng, 20, 3'000, mix);
        const auto idle = engine.producer("idle");
        Feeds feeds(engine, table, rng);
        Series closed;
        int disturbed = 0;
        while (feeds.at_work()) {
            disturb(engine, rng);
            ++disturbed;
            if (!chance(rng, 30)) continue;
            Snapshot snapshot = engine.take("lake");
            if (chance(rng, 30)) continue;
            collect(snapshot.closed(), closed);
            snapshot.ack();
        }
        feeds.join();
        for (int i = 0; i < 3; ++i) disturb(engine, rng);
        take_into(engine, closed);
        INFO("round " << round << ", " << intervals[0].name() << " ..., " << disturbed << " times");
        REQUIRE(difference(closed, batch_series(intervals, options, table)) == "");
        engine.stop();
        REQUIRE(engine.counts().applied == static_cast<std::int64_t>(table.size()));
        REQUIRE(engine.counts().late == 0);
    }
}

TEST_CASE("the log of a worker that has gone stays until every consumer has it", "[engine]") {
    const std::vector<Interval> intervals{Interval::parse("1s"), Interval::parse("1m")};
    EngineOptions options = live_options(3);
    options.aggregator.gaps = GapMode::none;
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    const auto producer = engine.producer("feed");
    Table table;
    for (int i = 0; i < 600; ++i) table.add(i % 9, trade_at(WEDNESDAY + i * NS_PER_SECOND / 4));
    { (void)engine.take("lake"); }
    { (void)engine.take("slow"); }
    (void)producer->push(table.view(0, 300));
    engine.flush();
    engine.resize(1);
    engine.rebuild(0);
    REQUIRE(engine.worker_count() == 1);
    REQUIRE(engine.log_count() == 5 - 1);  // three that have gone, one at work
    (void)producer->push(table.view(300, 600));
    const Series expected = batch_series(intervals, options, table);
    Series lake;
    take_into(engine, lake);
    REQUIRE(difference(lake, expected) == "");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // nobody may take them away now
    Snapshot slow = engine.take("slow");
    Series rows;
    collect(slow.closed(), rows);
    REQUIRE(difference(rows, expected) == "");
    REQUIRE(engine.log_count() == 4);
    slow.ack();
    while (engine.log_count() > 1) std::this_thread::yield();
    // Their counts stay, their places in the order of logs are closed up.
    REQUIRE(engine.counts().applied == 600);
    engine.resize(3);
    (void)producer->push(one_trade(1, WEDNESDAY + NS_PER_HOUR).view());
    REQUIRE(engine.take("lake").closed().rows() == 2);
    REQUIRE(engine.take("slow").closed().rows() == 2);
    Snapshot late = engine.take("new");
    std::int64_t total = 2;
    for (const auto& [key, series] : expected) total += static_cast<std::int64_t>(series.size());
    REQUIRE(late.closed().rows() + static_cast<std::int64_t>(late.rows_lost()) == total);
}

TEST_CASE("an engine changes its workers before it is started", "[engine]") {
    Engine engine{RollupPlan({Interval::parse("1m")}), live_options(1)};
    engine.add_symbol(4);
    engine.add_symbol(5);
    const auto producer = engine.producer("feed");
    engine.resize(3);
    engine.rebuild(1);
    REQUIRE(engine.move({{4, 0}, {5, 0}}) >= 1);
    engine.start();
    (void)producer->push(one_trade(5, WEDNESDAY).view());
    engine.flush();
    REQUIRE(engine.worker_loads()[0] == 1);
    for (const int workers : {0, -1, 65}) {
        const Error error = error_of([&] { engine.resize(workers); });
        REQUIRE(error.code() == ErrorCode::invalid_option);
        REQUIRE(field_of(error, "option") == "workers");
    }
    REQUIRE(error_of([&] { engine.rebuild(3); }).code() == ErrorCode::invalid_option);
    engine.stop();
    REQUIRE(error_of([&] { engine.resize(2); }).code() == ErrorCode::engine_state);
}

namespace {

std::atomic<bool> stalled{false};
std::atomic<bool> is_stalled{false};

extern "C" void stall_here(int) {
    is_stalled.store(true);
    while (stalled.load()) {
        timespec pause{0, 100'000};
        nanosleep(&pause, nullptr);
    }
    is_stalled.store(false);
}

}  // namespace

TEST_CASE("a producer that is stopped anywhere hinders nobody for longer than asked", "[engine]") {
    const std::vector<Interval> intervals{Interval::parse("1s"), Interval::parse("1m")};
    EngineOptions options = live_options(2);
    options.lane_capacity = 1024;
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    Rng rng(433);
    const Table table = random_table(rng, 10, 4'000, TradeMix{});
    // Known before, so that the producer is not stopped with a lock of the memory in its hands.
    for (std::int32_t symbol = 0; symbol < 40; ++symbol) engine.add_symbol(symbol);
    std::signal(SIGUSR1, stall_here);
    std::atomic<bool> done{false};
    const auto producer = engine.producer("feed");
    std::thread feed([&] {
        for (std::size_t from = 0; from < table.size(); from += 50)
            (void)producer->push(table.view(from, std::min(table.size(), from + 50)));
        done.store(true);
    });
    Series closed;
    int refused = 0;
    for (int round = 0; round < 60 && !done.load(); ++round) {
        stalled.store(true);
        pthread_kill(feed.native_handle(), SIGUSR1);
        while (!is_stalled.load() && !done.load()) std::this_thread::yield();
        const std::size_t workers = engine.worker_count();
        try {
            engine.resize(1 + static_cast<int>(workers % 3), NS_PER_SECOND / 500);
        } catch (const Error& error) {
            ++refused;
            REQUIRE(error.code() == ErrorCode::engine_state);
            REQUIRE(field_of(error, "producer") == "feed");
            REQUIRE(engine.worker_count() == workers);
        }
        take_into(engine, closed);
        stalled.store(false);
        while (is_stalled.load()) std::this_thread::yield();
    }
    stalled.store(false);
    feed.join();
    std::signal(SIGUSR1, SIG_DFL);
    engine.resize(2);
    take_into(engine, closed);
    INFO(refused << " were refused");
    REQUIRE(difference(closed, batch_series(intervals, options, table)) == "");
}

TEST_CASE("a symbol is forgotten when nothing is lost by it", "[engine]") {
    EngineOptions options = live_options(2);
    options.aggregator.gaps = GapMode::none;
    Engine engine{RollupPlan({Interval::parse("1s"), Interval::parse("1m")}), options};
    engine.start();
    const auto producer = engine.producer("feed");
    REQUIRE(engine.remove_symbol(7) == RemovedSymbol::unknown);
    for (std::int32_t symbol = 0; symbol < 8; ++symbol)
        (void)producer->push(one_trade(symbol, WEDNESDAY).view());
    REQUIRE(engine.remove_symbol(7) == RemovedSymbol::open_bars);
    engine.advance(WEDNESDAY + NS_PER_SECOND);
    REQUIRE(engine.remove_symbol(7) == RemovedSymbol::open_bars);  // its minute
    engine.advance(WEDNESDAY + NS_PER_MINUTE);
    REQUIRE(engine.remove_symbol(7) == RemovedSymbol::removed);
    REQUIRE(engine.remove_symbol(7) == RemovedSymbol::unknown);
    // Its rows are still owed; another symbol gets its slot, and it comes back as a new one.
    (void)producer->push(one_trade(100, WEDNESDAY + NS_PER_MINUTE).view());
    (void)producer->push(one_trade(7, WEDNESDAY + NS_PER_MINUTE).view());
    (void)producer->push(one_trade(7, WEDNESDAY + 2 * NS_PER_MINUTE).view());
    Snapshot snapshot = engine.take("lake");
    Series closed;
    collect(snapshot.closed(), closed);
    REQUIRE(closed.size() == 2 * 8);
    REQUIRE(closed[{0, 7}].size() == 2);
    REQUIRE(closed[{1, 7}].size() == 2);
    snapshot.ack();
    REQUIRE(engine.remove_symbol(7, true) == RemovedSymbol::removed);
    Series open;
    collect(*engine.view().open, open);
    REQUIRE(open.size() == 2);
    REQUIRE(open.count({0, 100}) == 1);
}

TEST_CASE("symbols are forgotten and come back while trades flow", "[engine]") {
    EngineOptions options = live_options(2);
    options.lane_capacity = 64;
    Engine engine{RollupPlan({Interval::parse("1s")}), options};
    engine.start();
    std::atomic<bool> done{false};
    constexpr std::int64_t TRADES = 40'000;
    std::thread feed([&] {
        const auto producer = engine.producer("feed");
        Table table;
        for (std::int64_t i = 0; i < TRADES; ++i)
            table.add(static_cast<std::int32_t>(i % 5), trade_at(WEDNESDAY + i * 1'000));
        for (std::size_t from = 0; from < TRADES; from += 100)
            (void)producer->push(table.view(from, from + 100));
        done.store(true);
    });
    std::int64_t counted = 0;
    Rng rng(437);
    while (!done.load()) {
        const auto symbol = static_cast<std::int32_t>(pick(rng, 6));
        const RemovedSymbol removed = engine.remove_symbol(symbol, false);
        // All five have an open second as soon as they have traded.
        REQUIRE(removed != RemovedSymbol::removed);
        if (chance(rng, 10)) engine.resize(1 + static_cast<int>(pick(rng, 3)));
    }
    feed.join();
    const View view = engine.view();
    for (std::int64_t row = 0; row < view.open->rows(); ++row)
        counted += view.open->columns().trade_count[row];
    REQUIRE(counted == TRADES);
}
