#include <atomic>
#include <thread>

#include "engines.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

EngineOptions options_of(int workers, std::shared_ptr<engine::SimulatedClock> clock = {}) {
    EngineOptions options = live_options(workers);
    if (clock) options.clock = std::move(clock);
    return options;
}

std::int64_t trades_in(const BarTable& table, std::int32_t symbol) {
    std::int64_t count = 0;
    for (std::int64_t row = 0; row < table.rows(); ++row)
        if (table.columns().symbol[row] == symbol) count += table.columns().trade_count[row];
    return count;
}

}  // namespace

TEST_CASE("a snapshot that is not acknowledged comes again, with newer state", "[engine]") {
    Engine engine(plan_of({"1s", "1m"}), options_of(2));
    engine.start();
    const auto producer = engine.producer("feed");
    const auto push = [&](std::int32_t symbol, TimeNs time) {
        (void)producer->push(one_trade(symbol, trade_at(time)).view());
    };
    push(1, WEDNESDAY);
    push(2, WEDNESDAY);
    push(1, WEDNESDAY + NS_PER_SECOND);  // closes the first second of symbol 1
    {
        Snapshot snapshot = engine.take("lake");
        REQUIRE(snapshot.closed().rows() == 1);
        REQUIRE(snapshot.open().rows() == 4);
        REQUIRE(trades_in(snapshot.open(), 1) == 1 + 2);
        const Error error = error_of([&] { (void)engine.take("lake"); });
        REQUIRE(error.code() == ErrorCode::snapshot_outstanding);
        REQUIRE(field_of(error, "consumer") == "lake");
        push(1, WEDNESDAY + 2 * NS_PER_SECOND);
        REQUIRE(snapshot.open().rows() == 4);  // frozen
    }
    Snapshot again = engine.take("lake");
    REQUIRE(again.closed().rows() == 2);
    REQUIRE(again.open().rows() == 4);  // symbol 2 has not changed, but was not acknowledged
    REQUIRE(trades_in(again.open(), 1) == 1 + 3);
    again.ack();
    REQUIRE(error_of([&] { again.ack(); }).code() == ErrorCode::snapshot_over);

    push(2, WEDNESDAY + 1);
    Snapshot next = engine.take("lake");
    REQUIRE(next.id() > again.id());
    REQUIRE(next.closed().rows() == 0);
    REQUIRE(next.open().rows() == 2);
    REQUIRE(trades_in(next.open(), 2) == 4);
    next.nack();
    REQUIRE(engine.take("lake").open().rows() == 2);

    // Another consumer has seen nothing yet: it gets what is kept, and hears of what is not.
    Snapshot other = engine.take("dashboard");
    REQUIRE(other.closed().rows() + static_cast<std::int64_t>(other.rows_lost()) == 2);
    REQUIRE(other.open().rows() == 4);
    other.ack();
    REQUIRE(engine.view().open->rows() == 4);
    REQUIRE(engine.take("dashboard").open().rows() == 0);
}

TEST_CASE("an expired lease gives the rows back", "[engine]") {
    auto clock = std::make_shared<engine::SimulatedClock>(WEDNESDAY);
    Engine engine(plan_of({"1s"}), options_of(1, clock));
    engine.start();
    const auto producer = engine.producer("feed");
    (void)producer->push(one_trade(7, trade_at(WEDNESDAY)).view());
    engine.advance(WEDNESDAY + NS_PER_SECOND);
    Snapshot first = engine.take("lake", 5 * NS_PER_SECOND);
    REQUIRE(first.closed().rows() == 1);
    engine.advance(WEDNESDAY + 5 * NS_PER_SECOND);
    REQUIRE(error_of([&] { (void)engine.take("lake"); }).code() == ErrorCode::snapshot_outstanding);
    engine.advance(WEDNESDAY + 6 * NS_PER_SECOND);
    Snapshot second = engine.take("lake");
    REQUIRE(second.closed().rows() == 1);
    REQUIRE(error_of([&] { first.ack(); }).code() == ErrorCode::snapshot_over);
    first.nack();  // nor does it touch the second
    second.ack();
    REQUIRE(engine.take("lake").closed().rows() == 0);
}

TEST_CASE("a cut lies between two rows of each producer, whichever workers have them", "[engine]") {
    constexpr int WORKERS = 3;
    constexpr std::size_t PRODUCERS = 2;
    constexpr int ROUNDS = 300;
    EngineOptions options = options_of(WORKERS);
    options.lane_capacity = 256;
    options.wait = engine::WaitKind::park;
    Engine engine(plan_of({"1d"}), options);
    engine.start();
    std::atomic<int> at_work{static_cast<int>(PRODUCERS)};
    std::vector<std::thread> threads;
    for (std::size_t p = 0; p < PRODUCERS; ++p) {
        threads.emplace_back([&, p] {
            const auto producer = engine.producer("feed");
            Rng rng(500 + p);
            Table table;  // symbols in turn, so any prefix has counts that differ by at most one
            for (std::int64_t i = 0; i < 700; ++i)
                table.add(static_cast<std::int32_t>(10 * static_cast<std::int64_t>(p + 1) + i % 7), trade_at(WEDNESDAY + i));
            for (int round = 0; round < ROUNDS; ++round) {
                const std::size_t cut = pick(rng, table.size() + 1);
                (void)producer->push(table.view(0, cut));
                (void)producer->push(table.view(cut, table.size()));
            }
            at_work.fetch_sub(1);
        });
    }
    int cuts = 0;
    bool all = false;
    while (!all) {
        all = at_work.load() == 0;
        const View view = engine.view();
        ++cuts;
        for (std::int32_t p = 1; p <= static_cast<std::int32_t>(PRODUCERS); ++p) {
            std::int64_t before = trades_in(*view.open, 10 * p);
            const std::int64_t last = before - 1;
            for (std::int32_t symbol = 10 * p; symbol < 10 * p + 7; ++symbol) {
                const std::int64_t count = trades_in(*view.open, symbol);
                REQUIRE(count <= before);
                REQUIRE(count >= last);
                before = count;
            }
            if (all) REQUIRE(before == ROUNDS * 100);
        }
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(cuts > 1);
    engine.stop();
}

TEST_CASE("rows beyond the bound are lost with a statement", "[engine]") {
    EngineOptions options = options_of(1);
    options.aggregator.gaps = GapMode::none;
    options.unacknowledged_rows_max = 2 * engine::ClosedLog::CHUNK_ROWS;
    Engine engine(plan_of({"1s"}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    constexpr std::int64_t BARS = 40'000;
    Table table;
    for (std::int64_t i = 0; i <= BARS; ++i) table.add(1, trade_at(WEDNESDAY + i * NS_PER_SECOND));
    (void)producer->push(table.view());
    engine.flush();
    Snapshot snapshot = engine.take("slow");
    const auto lost = static_cast<std::int64_t>(snapshot.rows_lost());
    REQUIRE(lost > 0);
    REQUIRE(snapshot.closed().rows() + lost == BARS);
    REQUIRE(snapshot.closed().columns().close_time[snapshot.closed().rows() - 1] ==
            WEDNESDAY + BARS * NS_PER_SECOND);
    snapshot.ack();
    REQUIRE(engine.take("slow").rows_lost() == 0);
}

TEST_CASE("an engine that waits for its consumers can be stopped", "[engine]") {
    EngineOptions options = options_of(1);
    options.aggregator.gaps = GapMode::none;
    options.unacknowledged_rows_max = engine::ClosedLog::CHUNK_ROWS;
    options.on_bound = BoundPolicy::block;
    options.lane_capacity = 1 << 17;
    Engine engine(plan_of({"1s"}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    constexpr std::int64_t BARS = 60'000;
    Table table;
    for (std::int64_t i = 0; i <= BARS; ++i) table.add(1, trade_at(WEDNESDAY + i * NS_PER_SECOND));
    (void)producer->push(table.view());
    while (engine.counts().log_waits == 0) std::this_thread::yield();  // it stands at the bound
    engine.stop();
    REQUIRE(engine.counts().applied == BARS + 1);
    Snapshot snapshot = engine.take("lake");
    REQUIRE(snapshot.closed().rows() + static_cast<std::int64_t>(snapshot.rows_lost()) == BARS);
    REQUIRE(error_of([&] { (void)producer->push(table.view()); }).code() ==
            ErrorCode::engine_state);
}

TEST_CASE("the system's clock closes bars without trades", "[engine]") {
    EngineOptions options = options_of(2);
    options.clock = nullptr;
    options.wait = engine::WaitKind::park;
    Engine engine(plan_of({"1s"}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    const TimeNs now = engine::SystemClock().now();
    for (int symbol = 0; symbol < 4; ++symbol)
        (void)producer->push(one_trade(symbol, trade_at(now)).view());
    std::int64_t closed = 0;
    while (closed < 4) {
        Snapshot snapshot = engine.take("lake");
        closed += snapshot.closed().rows();
        REQUIRE(snapshot.watermark() >= now);
        if (snapshot.closed().rows() != 0) {
            REQUIRE(snapshot.closed().columns().close_time[0] <= snapshot.watermark());
        }
        snapshot.ack();
        std::this_thread::yield();
    }
    REQUIRE(engine.view().open->rows() == 0);
}

TEST_CASE("a worker that throws is reported to everybody who waits", "[engine]") {
    struct Throws final : engine::Command {
        void run(engine::Worker&) override { throw std::runtime_error("out of luck"); }
    };
    engine::Core core(plan_of({"1s"}), options_of(1));
    core.workers.store(1);
    engine::Worker worker(core, 0);
    worker.start();
    Throws command;
    command.expect(1);
    worker.post(command);
    worker.join();
    const Error error = error_of([&] { core.failure.check(); });
    REQUIRE(error.code() == ErrorCode::worker_failed);
    REQUIRE(field_of(error, "cause") == "out of luck");
    REQUIRE(field_of(error, "worker") == "kla-worker-0");
}

TEST_CASE("bad rows are counted by reason and handed back", "[engine]") {
    auto clock = std::make_shared<engine::SimulatedClock>(WEDNESDAY);
    EngineOptions options = options_of(2, clock);
    options.max_ahead_ns = NS_PER_MINUTE;
    Engine engine(plan_of({"1s"}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    Table table;
    for (int i = 0; i < 5; ++i) table.add(i, trade_at(WEDNESDAY + i));
    table.price[1] = -1.0;
    table.quantity[2] = std::nan("");
    table.time[3] = WEDNESDAY + NS_PER_MINUTE + 1;
    std::vector<RejectedRow> rejected;
    const PushResult result = producer->push(table.view(), &rejected);
    REQUIRE(result.queued == 2);
    REQUIRE(result.rejected == 3);
    REQUIRE(rejected.size() == 3);
    REQUIRE(engine_reason_name(rejected[0].reason) == "price_not_positive");
    REQUIRE(engine_reason_name(rejected[1].reason) == "quantity_not_finite");
    REQUIRE(engine_reason_name(rejected[2].reason) == "time_ahead");
    REQUIRE(rejected[2].row == 3);
    engine.flush();
    REQUIRE(engine.counts().applied == 2);
}
