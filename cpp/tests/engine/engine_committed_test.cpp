// The files beside a log that say what consumers have committed, while calls for them fail.
#include <chrono>
#include <thread>

#include "catch.hpp"
#include "engine/journal_runs.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

using Fault = FaultyFiles::Fault;

const std::vector<Interval> INTERVALS{Interval::parse("1s"), Interval::parse("1m")};
constexpr std::uint64_t SIZE_MAX_BYTES = 1U << 17U;  // two segments
constexpr std::size_t BEFORE = 500;                  // rows before there is a log

Table many_trades() {
    Rng rng(47);
    return random_table(rng, 5, 60'000, {});
}

EngineOptions options_of(std::vector<std::byte> checkpoint = {}) {
    EngineOptions options;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    if (!checkpoint.empty())
        options.journal.checkpoint =
            std::make_shared<const std::vector<std::byte>>(std::move(checkpoint));
    return options;
}

void push(Logged& to, const Table& table, std::size_t from, std::size_t end) {
    (void)to.producer->push(table.view(from, end));
    REQUIRE(to.engine->flush());
}

/// An engine whose new log goes on from a state, which has no other place than beside it; with
/// many segments, of which none may go yet.
Logged continued(const Table& table, std::size_t end) {
    Logged without(INTERVALS, options_of(), nullptr);
    push(without, table, 0, BEFORE);
    Logged live(INTERVALS, options_of(without.engine->checkpoint()),
                std::make_shared<FaultyFiles>(), log_options(wal::SyncMode::none));
    push(live, table, BEFORE, end);
    REQUIRE(live.log->stats().segments > 3);
    return live;
}

void await_trim(const Logged& live) {
    while (live.log->stats().segment_bytes > SIZE_MAX_BYTES)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

/// Whoever goes on from the files has the same state.
void check_goes_on(Logged& live) {
    const auto state = live.state();
    Logged after(INTERVALS, options_of(), live.files->clone(), log_options(wal::SyncMode::none));
    CHECK(differs(state, after.state()) == "");
}

}  // namespace

TEST_CASE("whichever call for a checkpoint's file fails, the log keeps what the files need",
          "[engine][journal]") {
    const Table table = many_trades();
    std::uint64_t failures = 0;
    for (std::uint64_t call = 0; call < 6; ++call) {  // open, write, two syncs, rename, remove
        INFO("call " << call);
        Logged live = continued(table, table.size() - 2);
        {
            Snapshot snapshot = live.take(true);
            live.files->fail_at(call, Fault::io_error, false);
            snapshot.ack();
        }
        CHECK(live.files->failed() == 1);
        failures += live.engine->journal_stats()->checkpoint_failures;
        live.files->heal();
        live.log->set_retention(SIZE_MAX_BYTES, 0);
        check_goes_on(live);
        push(live, table, table.size() - 2, table.size());
        live.take(true).ack();
        await_trim(live);
        check_goes_on(live);
    }
    CHECK(failures == 6);
}

TEST_CASE("a consumer whose file cannot be removed is there still", "[engine][journal]") {
    const Table table = many_trades();
    Logged live = continued(table, table.size() / 2);
    live.engine->take("slow", {}, true).ack();
    live.files->fail_at(0, Fault::io_error, false);
    CHECK_THROWS_AS(live.engine->remove_consumer("slow"), Error);
    CHECK(live.files->failed() == 1);
    live.files->heal();
    push(live, table, table.size() / 2, table.size());
    live.log->set_retention(SIZE_MAX_BYTES, 0);
    live.take(true).ack();
    check_goes_on(live);
    CHECK(live.engine->remove_consumer("slow"));
    await_trim(live);
    check_goes_on(live);
    CHECK(live.engine->consumers().size() == 1);
}
