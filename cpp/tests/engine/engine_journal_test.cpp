// Engines that go on from their log against engines that never stopped.
#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "catch.hpp"
#include "engine/journal_runs.hpp"
#include "engine/random_runs.hpp"
#include "klineagg/symbol_table.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// One thing that may happen to an engine, done to both.
void step(Rng& rng, const Table& table, std::size_t& done, TimeNs& clock, std::int32_t& fresh,
          Logged& a, Logged& b) {
    const std::size_t next = std::min(table.size(), done + 1 + pick(rng, 60));
    for (Logged* const each : {&a, &b}) {
        (void)each->producer->push(table.view(done, next));
        REQUIRE(each->engine->flush());
    }
    done = next;
    if (chance(rng, 25)) {
        const TimeNs time = table.time[next - 1] + between(rng, -600, 600) * NS_PER_SECOND;
        clock = std::max(clock, time);
        for (Logged* const each : {&a, &b}) REQUIRE(each->engine->advance(clock));
    }
    if (chance(rng, 10)) {
        const bool is_fresh = chance(rng, 70);
        const std::int32_t symbol =
            is_fresh ? fresh++ : static_cast<std::int32_t>(pick(rng, 12));
        const TimeNs start = clock == TIME_MIN ? table.time.front() : clock;
        REQUIRE(a.engine->add_symbol(symbol, 5.0, start) ==
                b.engine->add_symbol(symbol, 5.0, start));
    }
    if (chance(rng, 5)) {
        // One that does not come again: a second bar of one span would be another one.
        const std::int32_t symbol = 2000 + static_cast<std::int32_t>(pick(rng, 4));
        REQUIRE(a.engine->remove_symbol(symbol, true) == b.engine->remove_symbol(symbol, true));
    }
    for (Logged* const each : {&a, &b}) {
        const auto workers = each->engine->worker_count();
        if (chance(rng, 8))
            (void)each->engine->move({{1, static_cast<std::uint32_t>(pick(rng, workers))}});
    }
    if (chance(rng, 5))
        for (Logged* const each : {&a, &b}) each->engine->resize(1 + static_cast<int>(pick(rng, 3)));
    if (chance(rng, 6)) {
        ConfigChange change;
        change.amend_horizon_ns = between(rng, 0, 5) * NS_PER_HOUR;
        change.gaps = chance(rng, 50) ? GapMode::runs : GapMode::none;
        for (Logged* const each : {&a, &b}) (void)each->engine->reconfigure(change);
    }
}

void crash_and_go_on(Rng& rng, std::size_t rounds) {
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < rounds; ++round) {
        const auto& intervals = sets[round % sets.size()];
        const Table table = some_trades(rng);
        EngineOptions options = random_options(rng, table);
        INFO("round " << round << ", " << intervals[0].name() << " ..., " << table.size() << " rows");
        Logged whole(intervals, options, nullptr);
        std::optional<Logged> other(std::in_place, intervals, options,
                                    std::make_shared<FaultyFiles>());
        TimeNs clock = TIME_MIN;
        std::size_t done = 0;
        std::int32_t fresh = 2000;
        while (done < table.size()) {
            step(rng, table, done, clock, fresh, whole, *other);
            if (chance(rng, 15)) {
                // Acknowledged with its checkpoint: the rows come no more after a crash.
                Snapshot a = whole.take();
                Snapshot b = other->take(true);
                a.ack();
                b.ack();
                REQUIRE(difference(whole.closed, other->closed) == "");
            }
            if (!chance(rng, 15)) continue;
            const auto files = other->files->clone();
            const Series acknowledged = other->closed;
            EngineOptions next = options;
            next.workers = 1 + static_cast<int>(pick(rng, 3));
            if (chance(rng, 30)) next.workers = 1;
            // What was changed while it ran is in the log; what it is made with comes last.
            next.aggregator = whole.engine->rules();
            other.emplace(intervals, next, files);
            other->closed = acknowledged;
            REQUIRE(other->engine->recovery().position != 0);
            REQUIRE(differs(whole.state(), other->state()) == "");
            REQUIRE(difference(whole.view(), other->view()) == "");
        }
        Snapshot a = whole.take();
        Snapshot b = other->take();
        REQUIRE(difference(whole.closed, other->closed) == "");
        REQUIRE(difference(whole.view(), other->view()) == "");
        REQUIRE(whole.engine->counts().applied == other->engine->counts().applied);
        REQUIRE(whole.engine->counts().late == other->engine->counts().late);
        REQUIRE(whole.engine->counts().duplicates == other->engine->counts().duplicates);
    }
}

}  // namespace

TEST_CASE("an engine that goes on from its log is the engine that never stopped",
          "[engine][journal]") {
    Rng rng(9001);
    crash_and_go_on(rng, 25);
}

TEST_CASE("many engines that go on from their logs", "[engine][journal][.slow]") {
    for (std::uint64_t seed = 9002; seed < 9006; ++seed) {
        INFO("seed " << seed);
        Rng rng(seed);
        crash_and_go_on(rng, 500);
    }
}

namespace {

using wal::SyncMode;

/// Pushes a table in parts; a mark says up to where a crash may take nothing.
class Pusher {
public:
    Pusher(Logged& to, const Table& table, SyncMode sync)
        : thread_([this, &to, &table, sync] { run(to, table, sync); }) {}
    ~Pusher() { thread_.join(); }
    Pusher(const Pusher&) = delete;
    Pusher& operator=(const Pusher&) = delete;
    [[nodiscard]] std::uint64_t safe() const { return safe_.load(); }
    [[nodiscard]] std::uint64_t offered() const { return offered_.load(); }

private:
    void run(Logged& to, const Table& table, SyncMode sync) {
        for (std::size_t from = 0; from < table.size(); from += 53) {
            const std::size_t end = std::min(table.size(), from + 53);
            offered_.store(end);
            (void)to.producer->push(table.view(from, end));
            if (from % 7 != 0) continue;
            (void)to.producer->flush();
            // What is accepted is on the disk with "always" alone, and a little later than that
            // with "interval".
            if (sync == SyncMode::interval)
                (void)to.log->wait_durable(to.engine->accepted_position(), engine::NO_DEADLINE);
            safe_.store(end);
        }
    }

    std::atomic<std::uint64_t> safe_{0};
    std::atomic<std::uint64_t> offered_{0};
    std::thread thread_;
};

struct PowerCuts {
    std::vector<Interval> intervals{Interval::parse("1s"), Interval::parse("1m")};
    Table table;
    EngineOptions options;
    wal::LogOptions log;
    bool cuts = true;       // else the process alone is killed
    bool commits = true;    // a consumer, with checkpoints

    explicit PowerCuts(SyncMode sync) : log(log_options(sync)) {
        Rng rng(9003);
        TradeMix mix;
        mix.ids = true;
        table = random_table(rng, 20, 6000, mix);
        options.workers = 3;
        options.max_ahead_ns = HORIZON_UNLIMITED;
    }

    void run() {
        Logged live(intervals, options, std::make_shared<FaultyFiles>(), log);
        Pusher pusher(live, table, log.sync);
        for (int kill = 0; kill < 12; ++kill) {
            if (kill % 3 == 0) (void)live.engine->advance(table.time.front() + kill * NS_PER_MINUTE);
            if (commits && kill % 4 == 1) live.take(true).ack();
            const std::uint64_t safe = pusher.safe();
            const auto files = live.files->clone();
            const std::uint64_t most = pusher.offered();
            if (cuts) files->power_cut(Cut::any, static_cast<std::uint64_t>(kill));
            INFO("kill " << kill);
            judge(files, safe, most);
        }
    }

private:
    void judge(const std::shared_ptr<FaultyFiles>& files, std::uint64_t safe, std::uint64_t most) {
        EngineOptions next = options;
        next.workers = 1;
        wal::LogOptions opening = log;
        try {
            const Logged probe(intervals, next, files->clone(), opening);
        } catch (const Error& error) {
            // Nothing is promised then: a hole looks like damage, or like what was never there.
            REQUIRE((cuts && log.sync == SyncMode::none));
            REQUIRE((error.code() == ErrorCode::wal_damaged ||
                     error.code() == ErrorCode::recovery_hole));
            opening.salvage = true;
        }
        Logged one(intervals, next, files->clone(), opening);
        const auto applied = static_cast<std::uint64_t>(one.engine->counts().applied);
        INFO(safe << " <= " << applied << " <= " << most);
        if (!cuts || log.sync != SyncMode::none) REQUIRE(applied >= safe);
        REQUIRE(applied <= most);
        const auto& recovery = one.engine->recovery();
        if (recovery.checkpoint == 0) REQUIRE(recovery.trades == applied);
        next.workers = 3;
        Logged three(intervals, next, files, opening);
        REQUIRE(differs(one.state(), three.state()) == "");
    }
};

}  // namespace

TEST_CASE("what is acknowledged is there after a crash at any moment, once, and nothing else",
          "[engine][journal]") {
    for (const SyncMode sync : {SyncMode::none, SyncMode::interval, SyncMode::always}) {
        INFO("mode " << static_cast<int>(sync));
        PowerCuts runs(sync);
        runs.cuts = false;
        runs.run();
    }
}

TEST_CASE("a power cut takes nothing that the engine's log said is durable", "[engine][journal]") {
    for (const SyncMode sync : {SyncMode::interval, SyncMode::always}) {
        INFO("mode " << static_cast<int>(sync));
        PowerCuts(sync).run();
    }
}

TEST_CASE("after a power cut a log that never syncs gives nothing that was not offered",
          "[engine][journal]") {
    PowerCuts runs(SyncMode::none);
    runs.commits = false;
    runs.run();
}
