// Engines that stop and go on from a checkpoint against engines that never stopped.
#include <algorithm>
#include <optional>
#include <thread>

#include "batch_run.hpp"
#include "catch.hpp"
#include "engine/random_runs.hpp"
#include "klineagg/engine.hpp"
#include "klineagg/engine/checkpoint.hpp"
#include "klineagg/symbol_table.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

using Written = std::vector<std::byte>;

/// An engine with one producer, and all it has told.
struct Live {
    Live(const std::vector<Interval>& intervals, EngineOptions options, const Written* from = nullptr) {
        options.clock = std::make_shared<engine::SimulatedClock>();
        engine = std::make_unique<Engine>(RollupPlan(intervals), options);
        if (from != nullptr) (void)engine->restore(*from);
        engine->start();
        producer = engine->producer("feed", 3);
    }
    void take() {
        Snapshot snapshot = engine->take("lake");
        collect(snapshot.closed(), closed);
        snapshot.ack();
    }
    Series view() {
        Series open;
        collect(*engine->view().open, open);
        return open;
    }

    std::unique_ptr<Engine> engine;
    std::shared_ptr<Producer> producer;
    Series closed;
};

/// Where the states differ; what stands before them is not state.
std::string difference(const Written& a, const Written& b) {
    for (std::size_t i = engine::CHECKPOINT_STATE_BEGIN; i < std::min(a.size(), b.size()); ++i)
        if (a[i] != b[i]) return "byte " + std::to_string(i) + " of " + std::to_string(a.size());
    return a.size() == b.size() ? "" : "another size";
}

/// Does the same to all of them.
template <class... Engines>
void feed(Rng& rng, const Table& table, std::size_t from, std::size_t to, TimeNs& clock,
          Engines&... engines) {
    while (from < to) {
        const std::size_t next = std::min(to, from + 1 + pick(rng, 60));
        ((void)engines.producer->push(table.view(from, next)), ...);
        // Or a worker may find two pushes at once, when the machine is busy, and hand out rows that
        // trades of the second have revised already: equal in what holds, but not row by row.
        ((void)engines.producer->flush(), ...);
        from = next;
        if (chance(rng, 25)) {
            const TimeNs time = table.time[next - 1] + between(rng, -600, 600) * NS_PER_SECOND;
            clock = std::max(clock, time);
            (engines.engine->advance(clock), ...);
        }
        if (chance(rng, 20)) (engines.take(), ...);
    }
}

void stop_and_go_on(Rng& rng, std::size_t rounds) {
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < rounds; ++round) {
        const auto& intervals = sets[round % sets.size()];
        const Table table = some_trades(rng);
        EngineOptions options = random_options(rng, table);
        INFO("round " << round << ", " << intervals[0].name() << " ..., " << table.size() << " rows");
        Live whole(intervals, options);
        std::optional<Live> other(std::in_place, intervals, options);
        TimeNs clock = TIME_MIN;
        std::size_t done = 0;
        for (int stop = 0; stop < 3; ++stop) {
            const std::size_t to = done + pick(rng, table.size() - done + 1);
            feed(rng, table, done, to, clock, whole, *other);
            done = to;
            whole.take();
            other->take();
            const Written bytes = other->engine->checkpoint();
            REQUIRE(difference(whole.engine->checkpoint(), bytes) == "");
            const Series before = other->closed;
            options.workers = 1 + static_cast<int>(pick(rng, 4));
            other.emplace(intervals, options, &bytes);
            other->closed = before;
            INFO("stop " << stop);
            REQUIRE(other->engine->checkpoint() == bytes);
            REQUIRE(difference(whole.view(), other->view()) == "");
        }
        feed(rng, table, done, table.size(), clock, whole, *other);
        whole.take();
        other->take();
        REQUIRE(difference(whole.closed, other->closed) == "");
        REQUIRE(difference(whole.view(), other->view()) == "");
        const EngineCounts a = whole.engine->counts();
        const EngineCounts b = other->engine->counts();
        REQUIRE(a.applied == b.applied);
        REQUIRE(a.late == b.late);
        REQUIRE(a.duplicates == b.duplicates);
        REQUIRE(a.beyond_horizon == b.beyond_horizon);
        REQUIRE(a.outside == b.outside);
        REQUIRE(whole.engine->id_counts(3).gaps == other->engine->id_counts(3).gaps);
        if (options.keep_bars == 0) continue;
        for (const auto& [key, rows] : whole.closed) {
            Series kept_a;
            Series kept_b;
            collect(*whole.engine->bars(key.second, key.first), kept_a);
            collect(*other->engine->bars(key.second, key.first), kept_b);
            REQUIRE(difference(kept_a, kept_b) == "");
        }
    }
}

}  // namespace

TEST_CASE("an engine that goes on from a checkpoint is the engine that never stopped",
          "[engine][checkpoint]") {
    Rng rng(5005);
    stop_and_go_on(rng, 40);
}

TEST_CASE("many engines that go on from checkpoints", "[engine][checkpoint][.slow]") {
    Rng rng(5006);
    stop_and_go_on(rng, 1500);
}

TEST_CASE("a checkpoint is taken at the cut of a snapshot, while trades flow",
          "[engine][checkpoint]") {
    Rng rng(77);
    const std::vector<Interval> intervals = interval_sets()[0];
    TradeMix mix;
    mix.ids = true;
    const Table table = random_table(rng, 40, 20000, mix);
    EngineOptions options;
    options.workers = 2;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    Live live(intervals, options);
    std::thread pusher([&] {
        for (std::size_t from = 0; from < table.size(); from += 97)
            (void)live.producer->push(table.view(from, std::min(table.size(), from + 97)));
    });
    int taken = 0;
    while (taken < 12) {
        Snapshot snapshot = live.engine->take("lake", {}, true);
        REQUIRE(snapshot.checkpoint() != nullptr);
        options.workers = 1 + taken % 3;
        Live restored(intervals, options, snapshot.checkpoint().get());
        Series open;
        collect(snapshot.open(), open);
        const Series view = restored.view();
        // The snapshot has those that changed, the view has all.
        for (const auto& [key, rows] : open) {
            REQUIRE(view.count(key) == 1);
            REQUIRE(view.at(key) == rows);
        }
        snapshot.ack();
        ++taken;
    }
    pusher.join();
    live.engine->flush();
    Snapshot snapshot = live.engine->take("lake");
    REQUIRE(snapshot.checkpoint() == nullptr);
}

TEST_CASE("a checkpoint is restored with other intervals as they are reconfigured",
          "[engine][checkpoint]") {
    Rng rng(8118);
    const auto parsed = [](std::initializer_list<const char*> names) {
        std::vector<Interval> intervals;
        for (const char* name : names) intervals.push_back(Interval::parse(name));
        return intervals;
    };
    const std::vector<Interval> first = parsed({"1m", "1h"});
    for (const auto& second : {parsed({"1h", "5m", "1m"}), parsed({"1h"}), parsed({"15m", "1d"}),
                               parsed({"10s", "1m", "3m"}), parsed({"1h", "1m"})}) {
        for (const LatePolicy late : {LatePolicy::amend, LatePolicy::drop}) {
            TradeMix mix;
            mix.ids = true;
            const Table table = disordered(rng, random_table(rng, 4, 300, mix));
            EngineOptions options;
            options.max_ahead_ns = HORIZON_UNLIMITED;
            options.aggregator.late = late;
            Live changed(first, options);
            TimeNs clock = TIME_MIN;
            feed(rng, table, 0, table.size() / 2, clock, changed);
            changed.take();
            const Written bytes = changed.engine->checkpoint();
            Live restored(second, options, &bytes);
            ConfigChange change;
            change.intervals = second;
            (void)changed.engine->reconfigure(change);
            changed.closed.clear();
            feed(rng, table, table.size() / 2, table.size(), clock, changed, restored);
            changed.take();
            restored.take();
            // The reconfigured engine keeps the numbers of its intervals.
            const auto renumbered = [&](const Series& series) {
                Series by_name;
                for (const auto& [key, rows] : series) {
                    const Interval& interval =
                        changed.engine->intervals()[static_cast<std::size_t>(key.first)];
                    const auto place = std::find(second.begin(), second.end(), interval);
                    if (place != second.end())
                        by_name[{static_cast<int>(place - second.begin()), key.second}] = rows;
                }
                return by_name;
            };
            INFO(second[0].name());
            REQUIRE(difference(renumbered(changed.closed), restored.closed) == "");
            REQUIRE(difference(renumbered(changed.view()), restored.view()) == "");
        }
    }
}

TEST_CASE("a restored engine's own checkpoint is the one that it was restored from",
          "[engine][checkpoint]") {
    const std::vector<Interval> intervals{Interval::parse("1m")};
    EngineOptions options;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    Rng rng(4242);
    const Table table = disordered(rng, random_table(rng, 3, 100, {}));
    Live first(intervals, options);
    Live twin(intervals, options);
    for (Live* const live : {&first, &twin}) (void)live->producer->push(table.view());
    // Their snapshots would have other epochs, but there were none.
    REQUIRE(first.engine->checkpoint() == twin.engine->checkpoint());
    const SnapshotId taken = first.engine->take("lake").id();
    const Written bytes = first.engine->checkpoint();
    CHECK(bytes != twin.engine->checkpoint());
    // Room for other workers and more rows changes nothing that there is.
    options.workers = 3;
    options.keep_bars = 5;
    Live second(intervals, options, &bytes);
    REQUIRE(second.engine->checkpoint() == bytes);
    Live third(intervals, options, &bytes);
    const SnapshotId next = third.engine->take("lake").id();
    CHECK(next.epoch > taken.epoch);
    // From here on it is told apart.
    REQUIRE(third.engine->checkpoint() != bytes);
    CHECK(difference(third.engine->checkpoint(), bytes) == "");
}

TEST_CASE("symbols go by their names", "[engine][checkpoint]") {
    const std::vector<Interval> intervals{Interval::parse("1m")};
    EngineOptions options;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    Live live(intervals, options);
    const std::int32_t named = symbol_table().intern("checkpoint-test-symbol");
    live.engine->add_symbol(named);                        // known, without a trade
    live.engine->add_symbol(2'000'000'000, 5.0, WEDNESDAY);  // an id that is nobody's
    const Written bytes = live.engine->checkpoint();
    const engine::Checkpoint checkpoint(bytes, intervals);
    REQUIRE(checkpoint.symbols.size() == 2);
    CHECK(checkpoint.symbols[0].name.id == 2'000'000'000);
    CHECK(checkpoint.symbols[1].name.text == "checkpoint-test-symbol");
    Live restored(intervals, options, &bytes);
    CHECK(restored.view().size() == 1);
    CHECK(restored.engine->checkpoint().size() == bytes.size());
}

TEST_CASE("a checkpoint that is damaged, of another version or for another engine is refused",
          "[engine][checkpoint]") {
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
    Rng rng(31);
    TradeMix mix;
    mix.ids = true;
    const Table table = disordered(rng, random_table(rng, 2, 30, mix));
    EngineOptions options;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.keep_bars = 2;
    options.aggregator.lateness_ns = 5 * NS_PER_MINUTE;
    Live live(intervals, options);
    (void)live.producer->push(table.view());
    const Written good = live.engine->checkpoint();
    options.clock = std::make_shared<engine::SimulatedClock>();
    const auto code_of = [&](const Written& bytes, EngineOptions with) -> std::optional<ErrorCode> {
        Engine engine(RollupPlan(intervals), with);
        try {
            (void)engine.restore(bytes);
        } catch (const Error& error) {
            // Nothing has changed: the right one is still taken.
            CHECK(engine.worker_count() == static_cast<std::size_t>(with.workers));
            if (with.aggregator.late == LatePolicy::amend) (void)engine.restore(good);
            return error.code();
        }
        return std::nullopt;
    };
    REQUIRE(code_of(good, options) == std::nullopt);
    for (std::size_t size = 0; size < good.size(); size += 1 + size / 40) {
        INFO(size);
        REQUIRE(code_of({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}, options) ==
                ErrorCode::checkpoint_format);
    }
    int refused = 0;
    for (int i = 0; i < 300; ++i) {
        Written bad = good;
        bad[pick(rng, bad.size())] ^= static_cast<std::byte>(1U << pick(rng, 8));
        const auto code = code_of(bad, options);
        refused += code.has_value() ? 1 : 0;
        const bool typed = !code || *code == ErrorCode::checkpoint_format ||
                           *code == ErrorCode::checkpoint_version;
        REQUIRE(typed);
    }
    CHECK(refused > 20);
    Written other = good;
    other[4] = std::byte{99};
    CHECK(code_of(other, options) == ErrorCode::checkpoint_version);
    options.aggregator.late = LatePolicy::drop;
    CHECK(code_of(good, options) == ErrorCode::checkpoint_mismatch);
    REQUIRE_THROWS_AS(live.engine->restore(good), Error);  // it runs
}
