// Calls of the system that fail under an engine with a log.
#include <algorithm>
#include <chrono>
#include <thread>

#include "catch.hpp"
#include "engine/journal_runs.hpp"
#include "klineagg/wal/segment.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

const std::vector<Interval> INTERVALS{Interval::parse("1s"), Interval::parse("1m")};

Table some_trades(std::size_t rows) {
    Rng rng(31);
    TradeMix mix;
    mix.ids = true;
    return random_table(rng, 5, rows, mix);
}

EngineOptions options_of(int workers) {
    EngineOptions options;
    options.workers = workers;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.block_timeout_ns = NS_PER_SECOND;
    return options;
}

/// Pushes everything, with a look at the clock now and then, and a checkpoint if somebody `commits`;
/// what fails ends it. Returns the rows that were accepted for certain.
std::size_t feed(Logged& live, const Table& table, bool commits, std::size_t from = 0) {
    std::size_t accepted = from;
    try {
        while (from < table.size()) {
            const std::size_t to = std::min(table.size(), from + 50);
            (void)live.producer->push(table.view(from, to));
            from = to;
            if (!live.engine->flush()) break;
            accepted = to;
            if (to % 400 == 0) (void)live.engine->advance(table.time[to - 1]);
            if (commits && to % 200 == 0) live.take(true).ack();
        }
    } catch (const Error& error) {
        const ErrorCode code = error.code();
        CHECK((code == ErrorCode::wal_halted || code == ErrorCode::wal_full));
    }
    return accepted;
}

std::uint64_t calls_of_a_run(const Table& table, wal::SyncMode sync) {
    Logged live(INTERVALS, options_of(2), std::make_shared<FaultyFiles>(), log_options(sync));
    (void)feed(live, table, true);
    return live.files->calls();
}

}  // namespace

namespace {

using Fault = FaultyFiles::Fault;

/// A call of the log failed, and it halts; or one for a checkpoint, and it counts.
bool has_told(const Logged& live) {
    const auto stats = live.engine->journal_stats();
    // As long as something is to be synced, that may fail too.
    const bool rests = stats->log.durable == stats->log.written;
    return stats->halted || (stats->checkpoint_failures != 0 && rests);
}

/// Nothing is accepted, with a reason; reads go on, and what they give outlives a power cut.
void check_halted(Logged& live, const Table& table, std::size_t accepted) {
    CHECK(live.engine->journal_stats()->cause == "wal_io");
    CHECK_THROWS_AS(live.engine->flush(), Error);
    CHECK_THROWS_AS(live.producer->push(table.view(0, 1)), Error);
    (void)live.view();
    CHECK(static_cast<std::size_t>(live.engine->counts().applied) >= accepted);
    {
        // Reading disturbs nobody: the rows come again.
        Snapshot snapshot = live.engine->take("lake");
        CHECK(snapshot.position() == live.engine->accepted_position());
    }
    // A consumer may commit meanwhile. It must not be ahead of what is left of the log.
    const auto files = live.files->clone();
    const Snapshot snapshot = live.engine->take("lake", {}, true);
    const auto stats = live.engine->journal_stats();
    CHECK((snapshot.checkpoint() != nullptr) == (stats->log.durable >= snapshot.position()));
    files->power_cut(Cut::lose_all, 0);
    EngineOptions options = options_of(1);
    options.journal.checkpoint = snapshot.checkpoint();
    const Logged after(INTERVALS, options, files, log_options(live.log->sync_mode()));
    CHECK(after.engine->counts().applied <= live.engine->counts().applied);
}

/// So many of the calls fail, each in a run of its own, once or from then on; 0: every one.
void fail_calls(std::uint64_t parts, Fault fault, bool forever) {
    const Table table = some_trades(700);
    for (const wal::SyncMode sync : {wal::SyncMode::interval, wal::SyncMode::always}) {
        const std::uint64_t calls = calls_of_a_run(table, sync);
        const std::uint64_t step = parts == 0 ? 1 : 1 + calls / parts;
        for (std::uint64_t call = 0; call < calls; call += step) {
            INFO("mode " << static_cast<int>(sync) << ", call " << call << ", fault "
                         << static_cast<int>(fault) << (forever ? ", forever" : ", once"));
            Logged live(INTERVALS, options_of(2), std::make_shared<FaultyFiles>(),
                        log_options(sync));
            live.files->fail_at(call, fault, forever);
            std::size_t accepted = feed(live, table, true);
            if (live.files->failed() == 0) continue;
            // The last sync of "interval" may fail behind everything that was accepted.
            for (int i = 0; i < 240'000 && !has_told(live); ++i)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            REQUIRE(has_told(live));
            if (live.engine->journal_stats()->halted) check_halted(live, table, accepted);
            live.files->heal();
            live.engine->resume();
            REQUIRE(live.engine->flush());
            CHECK_FALSE(live.engine->journal_stats()->halted);
            accepted = static_cast<std::size_t>(live.engine->counts().applied);
            if (table.size() > accepted) {
                CHECK(feed(live, table, true, accepted) == table.size());
            }
            const auto failures = live.engine->journal_stats()->checkpoint_failures;
            live.take(true).ack();
            CHECK(live.engine->journal_stats()->checkpoint_failures == failures);
            const auto state = live.state();
            Logged after(INTERVALS, options_of(1), live.files->clone(), log_options(sync));
            CHECK(differs(state, after.state()) == "");
            CHECK(after.engine->counts().applied == static_cast<std::int64_t>(table.size()));
            CHECK(after.engine->recovery().checkpoint == live.engine->journal_stats()->committed);
        }
    }
}

}  // namespace

TEST_CASE("whichever call fails, acceptance halts once, reads go on, and resume goes on",
          "[engine][journal]") {
    fail_calls(30, Fault::io_error, true);
    fail_calls(8, Fault::no_space, false);
}
TEST_CASE("every call fails, in every way, once and from then on", "[.slow][engine][journal]") {
    for (const Fault fault : {Fault::io_error, Fault::no_space, Fault::short_write})
        for (const bool forever : {false, true}) fail_calls(0, fault, forever);
}

namespace {

/// Cut at each `step`-th byte or so.
void cut_log(std::uint64_t step) {
    const Table table = some_trades(300);
    auto files = std::make_shared<FaultyFiles>();
    {
        Logged live(INTERVALS, options_of(2), files);
        CHECK(feed(live, table, false) == table.size());
    }
    const auto segments = wal::list_segments(*files, "log");
    REQUIRE(segments.size() == 1);
    const std::string path = segments[0].path;
    wal::SegmentScanner scanner(files->open(path, OpenMode::read), path, 1);
    std::vector<std::uint64_t> offsets;
    wal::FrameView frame;
    while (scanner.next(frame) == wal::ScanResult::frame) offsets.push_back(frame.offset);
    offsets.push_back(frame.offset);
    std::vector<std::byte> whole;  // the state after the last whole frame
    std::size_t next = 0;
    std::int64_t trades = -1;
    for (std::uint64_t size = offsets.front(); size < offsets.back(); size += step == 1 ? 1 : 1 + size % step) {
        while (next < offsets.size() && offsets[next] <= size) {
            ++next;
            whole.clear();
        }
        const auto cut = files->clone();
        cut->bytes_of(path).resize(static_cast<std::size_t>(size));
        INFO("cut at byte " << size);
        Logged after(INTERVALS, options_of(1 + static_cast<int>(size % 3)), cut);
        const auto state = after.state();
        if (whole.empty()) whole = state;
        CHECK(differs(whole, state) == "");
        CHECK(after.engine->counts().applied >= trades);
        trades = after.engine->counts().applied;
    }
    CHECK(trades > 200);
}

/// Each `step`-th byte of a closed log is flipped: the engine does not begin with other bars.
void flip_log(std::size_t step) {
    const Table table = some_trades(300);
    auto files = std::make_shared<FaultyFiles>();
    std::vector<std::byte> whole;
    {
        Logged live(INTERVALS, options_of(2), files);
        CHECK(feed(live, table, false) == table.size());
        whole = live.state();
    }
    const auto segments = wal::list_segments(*files, "log");
    REQUIRE(segments.size() == 1);
    const std::size_t size = files->bytes_of(segments[0].path).size();
    constexpr std::size_t SEAL = 64;  // and more; behind it nothing counts
    for (std::size_t at = 0; at < size; at += step) {
        const auto spoiled = files->clone();
        spoiled->bytes_of(segments[0].path)[at] ^= std::byte{0x40};
        INFO("byte " << at << " of " << size);
        bool begins = true;
        try {
            Logged after(INTERVALS, options_of(1), spoiled);
            REQUIRE(differs(whole, after.state()) == "");
        } catch (const Error& error) {
            REQUIRE(error.code() == ErrorCode::wal_damaged);
            begins = false;
        }
        if (at < wal::SEGMENT_HEADER_BYTES) REQUIRE(begins);  // it is there twice
        else if (at + SEAL < size) REQUIRE(!begins);
    }
}

}  // namespace

TEST_CASE("a log cut anywhere gives the bars of the trades that are left", "[engine][journal]") {
    cut_log(41);
}
TEST_CASE("a log cut at every byte", "[.slow][engine][journal]") { cut_log(1); }

TEST_CASE("a byte of a log that is not what was written is noticed", "[engine][journal]") {
    flip_log(97);
}
TEST_CASE("any byte of a log that is not what was written", "[.slow][engine][journal]") {
    flip_log(1);
}
