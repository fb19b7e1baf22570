// What a live engine keeps of its bars: gap runs and genesis bars that are amended, holes in the
// feed, repeated batches.
#include <map>
#include <thread>
#include <tuple>

#include "batch_run.hpp"
#include "catch.hpp"
#include "engine/random_runs.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

using Key = std::tuple<int, std::int32_t, TimeNs>;

/// Every single bar, with gap runs expanded, as its newest revision tells it.
std::map<Key, Row> newest_bars(const Series& series, const std::vector<Interval>& intervals) {
    std::map<Key, Row> newest;
    for (const auto& [key, rows] : series) {
        const Interval& interval = intervals[static_cast<std::size_t>(key.first)];
        for (const Row& row : rows) {
            std::int64_t bars = 0;
            for (Span span = interval.next(row.open_time); span.open < row.close_time;
                 span = interval.next(span.close), ++bars) {
                Row bar = row;
                bar.open_time = span.open;
                bar.close_time = span.close;
                bar.run_length = 1;
                Row& known = newest.try_emplace({key.first, key.second, span.open}, bar).first->second;
                if (bar.revision >= known.revision) known = bar;
            }
            if (bars != row.run_length) throw std::logic_error("a run of another length");
        }
    }
    return newest;
}

std::string difference(const std::map<Key, Row>& a, const std::map<Key, Row>& b) {
    std::ostringstream text;
    for (const auto& [key, row] : a) {
        const auto other = b.find(key);
        if (other != b.end() && other->second == row) continue;
        text << "interval " << std::get<0>(key) << " symbol " << std::get<1>(key) << row;
        if (other != b.end()) text << other->second;
        return text.str();
    }
    return a.size() == b.size() ? "" : "bars are only in the second";
}

EngineOptions live(int workers) {
    EngineOptions options;
    options.workers = workers;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.aggregator.amend_horizon_ns = HORIZON_UNLIMITED;
    return options;
}

void take_into(Engine& engine, Series& closed) {
    Snapshot snapshot = engine.take("lake");
    collect(snapshot.closed(), closed);
    snapshot.ack();
}

Table minutes(const std::vector<std::pair<int, double>>& minutes_and_prices, int seconds = 5) {
    Table table;
    for (const auto& [minute, price] : minutes_and_prices) {
        Trade trade;
        trade.time = WEDNESDAY + minute * NS_PER_MINUTE + seconds * NS_PER_SECOND;
        trade.price = price;
        trade.quantity = 1.0;
        table.add(1, trade);
    }
    return table;
}

const Row* find(const std::map<Key, Row>& bars, int interval, int minute) {
    const auto at = bars.find({interval, 1, WEDNESDAY + minute * NS_PER_MINUTE});
    return at == bars.end() ? nullptr : &at->second;
}

}  // namespace

TEST_CASE("gap runs that late trades cut are those of the batch path", "[engine][history]") {
    Rng rng(701);
    const auto sets = interval_sets();
    std::int64_t flats = 0;
    for (std::size_t round = 0; round < 44; ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.ids = chance(rng, 60);
        mix.flags = chance(rng, 40);
        mix.long_gaps = has_seconds(intervals) ? 0 : 3;
        const Table table =
            disordered(rng, random_table(rng, 1 + pick(rng, 5), 150, mix),
                       {.late = 15, .reach = 1 + pick(rng, 60), .repeated = 0});
        EngineOptions options = live(1 + static_cast<int>(pick(rng, 3)));
        options.aggregator.gaps = chance(rng, 70) ? GapMode::runs : GapMode::flat;
        if (chance(rng, 40)) options.aggregator.lateness_ns = between(rng, 0, NS_PER_MINUTE);
        if (chance(rng, 40)) {
            options.aggregator.coverage_start = WEDNESDAY + between(rng, -1, 40) * NS_PER_HOUR;
            options.last_prices = {{1, 88.5}, {4, 99.25}};
        }
        BatchOptions batch_options;
        batch_options.aggregator = options.aggregator;
        batch_options.last_prices = options.last_prices;
        BatchRun batch(intervals, batch_options);
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        const auto producer = engine.producer("feed");
        Series closed;
        for (std::size_t from = 0; from < table.size();) {
            const std::size_t to = std::min(table.size(), from + 1 + pick(rng, 40));
            (void)producer->push(table.view(from, to));
            batch.add({table.view(from, to)});
            from = to;
            if (chance(rng, 30)) take_into(engine, closed);
        }
        take_into(engine, closed);
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        const auto bars = newest_bars(closed, intervals);
        REQUIRE(difference(bars, newest_bars(batch.series, intervals)) == "");
        for (const auto& [key, bar] : bars) flats += bar.trade_count == 0;
    }
    CHECK(flats > 1'000);
}

TEST_CASE("a late trade costs what it changes, however much is kept", "[engine][history]") {
    // Rows in the log are what was told: a revision tells of its own bars alone.
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
    EngineOptions options = live(1);
    Engine engine(RollupPlan(intervals), options);
    engine.start();
    const auto producer = engine.producer("feed");
    std::vector<std::pair<int, double>> trades;
    for (int minute = 0; minute < 600; ++minute) trades.emplace_back(minute, 10.0);
    (void)producer->push(minutes(trades).view());
    Series closed;
    take_into(engine, closed);
    closed.clear();
    (void)producer->push(minutes({{70, 10.0}}).view());
    take_into(engine, closed);
    std::size_t rows = 0;
    for (const auto& [key, of_key] : closed) rows += of_key.size();
    CHECK(rows == 2);
    const auto bars = newest_bars(closed, intervals);
    REQUIRE(find(bars, 0, 70) != nullptr);
    CHECK(find(bars, 0, 70)->revision == 1);
    CHECK(find(bars, 1, 60)->revision == 1);
}

TEST_CASE("genesis bars live: trades replace the seed, a clock closes it", "[engine][history]") {
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("5m")};
    const EngineOptions options = live(2);
    Engine engine(RollupPlan(intervals), options);
    engine.start();
    engine.advance(WEDNESDAY + 10 * NS_PER_SECOND);
    REQUIRE(engine.add_symbol(1, 42.0, WEDNESDAY + 10 * NS_PER_SECOND));
    const View view = engine.view();
    Series open;
    collect(*view.open, open);
    for (int interval = 0; interval < 2; ++interval) {
        const Rows& rows = open.at({interval, 1});
        REQUIRE(rows.size() == 1);
        CHECK(rows[0].close == 42.0);
        CHECK(rows[0].flags == (BAR_GENESIS | BAR_PARTIAL));
    }
    const auto producer = engine.producer("feed");
    Series closed;
    SECTION("the clock closes it") {
        engine.advance(WEDNESDAY + 2 * NS_PER_MINUTE);
        take_into(engine, closed);
        const auto bars = newest_bars(closed, intervals);
        REQUIRE(find(bars, 0, 0) != nullptr);
        CHECK(find(bars, 0, 0)->flags == (BAR_GENESIS | BAR_PARTIAL | BAR_CLOSED));
        CHECK(find(bars, 1, 0) == nullptr);
        closed.clear();
        // A late trade replaces it all the same, as a revision of what was said.
        (void)producer->push(minutes({{0, 50.0}, {3, 60.0}, {4, 61.0}}, 20).view());
        take_into(engine, closed);
        const auto later = newest_bars(closed, intervals);
        CHECK(find(later, 0, 0)->trade_count == 1);
        CHECK(find(later, 0, 0)->revision == 1);
        CHECK((find(later, 0, 0)->flags & BAR_GENESIS) == 0);
        CHECK(find(later, 0, 2)->close == 50.0);
        CHECK((find(later, 0, 2)->flags & BAR_GAP) != 0);
    }
    SECTION("trades replace it") {
        (void)producer->push(minutes({{0, 50.0}, {1, 51.0}}, 20).view());
        take_into(engine, closed);
        const auto bars = newest_bars(closed, intervals);
        REQUIRE(bars.size() == 1);
        CHECK(find(bars, 0, 0)->open == 50.0);
        CHECK(find(bars, 0, 0)->revision == 0);
        CHECK(find(bars, 0, 0)->flags == (BAR_CLOSED | BAR_PARTIAL));
    }
}

TEST_CASE("a symbol's bars are PARTIAL where it joined inside them", "[engine][history]") {
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("5m")};
    Engine engine(RollupPlan(intervals), live(1));
    engine.start();
    engine.advance(WEDNESDAY + NS_PER_MINUTE);
    const auto producer = engine.producer("feed");
    (void)producer->push(minutes({{1, 10.0}, {2, 10.0}, {5, 10.0}, {10, 1.0}}).view());
    Series closed;
    take_into(engine, closed);
    const auto bars = newest_bars(closed, intervals);
    CHECK(find(bars, 0, 1)->flags == unsigned{BAR_CLOSED});
    CHECK(find(bars, 1, 0)->flags == (BAR_CLOSED | BAR_PARTIAL));
    CHECK(find(bars, 1, 5)->flags == unsigned{BAR_CLOSED});
}

TEST_CASE("what a lane drops makes bars INCOMPLETE", "[engine][history]") {
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
    for (const auto policy : {engine::LanePolicy::drop_newest, engine::LanePolicy::drop_oldest}) {
        EngineOptions options = live(1);
        options.policy = policy;
        options.lane_capacity = 64;
        Engine engine(RollupPlan(intervals), options);
        const auto producer = engine.producer("feed");
        // The engine does not run yet: its lane overflows.
        Table table;
        for (int i = 0; i < 120; ++i) {
            Trade trade;
            trade.time = WEDNESDAY + (i / 2) * NS_PER_MINUTE + (i % 2) * NS_PER_SECOND;
            trade.price = 10.0;
            trade.quantity = 1.0;
            table.add(1, trade);
        }
        (void)producer->push(table.view());
        engine.start();
        engine.flush();
        (void)producer->push(minutes({{59, 9.0}, {60, 9.0}, {121, 9.0}}, 30).view());
        Series closed;
        take_into(engine, closed);
        const auto bars = newest_bars(closed, intervals);
        INFO("policy " << static_cast<int>(policy));
        REQUIRE(engine.counts().applied < 120);
        REQUIRE(find(bars, 1, 0) != nullptr);
        CHECK((find(bars, 1, 0)->flags & BAR_INCOMPLETE) != 0);
        CHECK((find(bars, 1, 60)->flags & BAR_INCOMPLETE) == 0);
        CHECK((find(bars, 0, 60)->flags & BAR_INCOMPLETE) == 0);
        // Which minute lost trades: the last ones, or the first ones.
        const bool newest = policy == engine::LanePolicy::drop_newest;
        CHECK(((find(bars, 0, 59)->flags & BAR_INCOMPLETE) != 0) == newest);
        // Every bar that has fewer trades than were sent says so.
        for (int minute = 0; minute < 59; ++minute) {
            const Row* const bar = find(bars, 0, minute);
            if (bar == nullptr || bar->trade_count == 0 || bar->trade_count == 2) continue;
            CHECK((bar->flags & BAR_INCOMPLETE) != 0);
        }
        std::int64_t flat = 0;
        for (const Row& row : closed.at({0, 1})) {
            if ((row.flags & BAR_GAP) == 0 || row.open_time >= WEDNESDAY + 59 * NS_PER_MINUTE)
                continue;
            CHECK((row.flags & BAR_INCOMPLETE) != 0);  // nobody traded, as far as is known
            flat += row.run_length;
        }
        CHECK((flat != 0) == newest);
    }
}

TEST_CASE("closed bars over a hole are revised", "[aggregator][history]") {
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
    const RollupPlan plan(intervals);
    AggregatorOptions options;
    options.lateness_ns = 0;
    options.late = LatePolicy::amend;
    SymbolAggregator<PartialBar> bars(plan, options);
    struct Sink {
        std::map<std::pair<int, TimeNs>, PartialBar>* rows;
        void bars(int output, const PartialBar* bar, std::size_t count, double) const {
            for (std::size_t i = 0; i < count; ++i) (*rows)[{output, bar[i].open_time}] = bar[i];
        }
        void gap(int, Span, std::int64_t, double, std::uint16_t, std::int32_t) const {}
        void outside(int, const PartialBar&) const {}
    };
    std::map<std::pair<int, TimeNs>, PartialBar> rows;
    const Sink sink{&rows};
    const Table table = minutes({{0, 1.0}, {1, 1.0}, {2, 1.0}, {5, 1.0}, {6, 1.0}});
    for (std::size_t i = 0; i < table.size(); ++i) (void)bars.add(table.trade(i), sink);
    bars.hand_out(sink, false);
    bars.mark_given();
    rows.clear();
    const auto at = [](int minute) { return WEDNESDAY + minute * NS_PER_MINUTE; };
    bars.mark_incomplete(at(1), at(4));
    bars.hand_out(sink, false);
    bars.mark_given();
    CHECK(rows.size() == 2);  // minutes 1 and 2; 3 and 4 are gaps, 0 and 5 outside
    CHECK(rows.at({0, at(1)}).revision == 1);
    CHECK((rows.at({0, at(2)}).flags & BAR_INCOMPLETE) != 0);
    rows.clear();
    bars.mark_incomplete(at(1), at(4));
    bars.hand_out(sink, false);
    CHECK(rows.empty());  // known already
    bars.mark_incomplete(at(6), at(7) + 1);  // an open bar, and one to come
    for (const TimeNs time : {at(7) + 5, at(8), at(9), at(60)}) {
        Trade trade = table.trade(0);
        trade.time = time;
        (void)bars.add(trade, sink);
    }
    bars.hand_out(sink, false);
    CHECK((rows.at({0, at(6)}).flags & BAR_INCOMPLETE) != 0);
    CHECK((rows.at({0, at(7)}).flags & BAR_INCOMPLETE) != 0);
    CHECK(rows.at({0, at(7)}).revision == 0);
    CHECK((rows.at({0, at(8)}).flags & BAR_INCOMPLETE) == 0);
    CHECK((rows.at({1, at(0)}).flags & BAR_INCOMPLETE) != 0);
    CHECK(rows.at({1, at(0)}).revision == 0);
}

TEST_CASE("a feed that repeats and reorders its batches gives the same bars", "[engine][history]") {
    Rng rng(702);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 22; ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.ids = true;
        mix.aggregated = chance(rng, 50);
        mix.long_gaps = has_seconds(intervals) ? 0 : 2;
        const std::size_t symbols = 1 + pick(rng, 5);
        const Table table = random_table(rng, symbols, 200, mix);
        EngineOptions options = live(1 + static_cast<int>(pick(rng, 3)));
        BatchOptions whole;
        whole.aggregator.gaps = GapMode::runs;
        BatchRun batch(intervals, whole);
        batch.add({table.view()});
        Engine engine(RollupPlan(intervals), options);
        engine.start();
        const auto producer = engine.producer("feed", 3);
        std::vector<std::pair<std::size_t, std::size_t>> batches;
        for (std::size_t from = 0; from < table.size();) {
            const std::size_t to = std::min(table.size(), from + 1 + pick(rng, 30));
            batches.emplace_back(from, to);
            from = to;
        }
        // Each comes at least once, some several times, some before those that they follow.
        const std::size_t count = batches.size();
        for (std::size_t i = 0; i < count; ++i) {
            if (chance(rng, 30)) batches.push_back(batches[pick(rng, count)]);
        }
        for (std::size_t i = 0; i + 1 < batches.size(); ++i) {
            if (chance(rng, 30)) std::swap(batches[i], batches[i + 1]);
        }
        std::int64_t repeated = -static_cast<std::int64_t>(table.size());
        for (const auto& [from, to] : batches) {
            (void)producer->push(table.view(from, to));
            repeated += static_cast<std::int64_t>(to - from);
            if (chance(rng, 10)) {
                std::vector<std::pair<std::int32_t, std::uint32_t>> moves;
                for (std::size_t symbol = 0; symbol < symbols; ++symbol)
                    moves.emplace_back(static_cast<std::int32_t>(symbol * 3 + 1),
                                       static_cast<std::uint32_t>(
                                           pick(rng, static_cast<std::size_t>(options.workers))));
                (void)engine.move(moves);
            }
        }
        Series closed;
        take_into(engine, closed);
        auto bars = newest_bars(closed, intervals);
        auto expected = newest_bars(batch.series, intervals);
        for (auto* const side : {&bars, &expected}) {
            for (auto& [key, bar] : *side) {
                bar.revision = 0;
                bar.flags &= ~unsigned{BAR_REVISED};
            }
        }
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(difference(bars, expected) == "");
        CHECK(engine.counts().duplicates == repeated);
        CHECK(engine.id_counts(3).duplicates == repeated);
        CHECK(engine.id_counts(4).duplicates == 0);
    }
}
