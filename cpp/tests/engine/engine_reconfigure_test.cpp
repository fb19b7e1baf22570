#include <atomic>
#include <map>
#include <thread>
#include <tuple>

#include "engines.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

using Key = std::tuple<std::string, std::int32_t, TimeNs, TimeNs>;

/// The newest revision of each row that begins at `from` or later, by name of its interval. The
/// first gap behind the change may have begun before it.
std::map<Key, Row> rows_from(const Series& series, const std::vector<Interval>& intervals,
                             TimeNs from, bool with_gaps) {
    std::map<Key, Row> rows;
    for (const auto& [key, list] : series) {
        for (const Row& row : list) {
            if (row.open_time < from || (!with_gaps && row.trade_count == 0)) continue;
            Row& kept = rows.try_emplace({intervals[static_cast<std::size_t>(key.first)].name(),
                                          key.second, row.open_time, row.close_time},
                                         row).first->second;
            if (row.revision >= kept.revision) kept = row;
        }
    }
    return rows;
}

std::string first_difference(const std::map<Key, Row>& a, const std::map<Key, Row>& b) {
    std::ostringstream text;
    const auto name = [&](const Key& key) {
        text << std::get<0>(key) << " of " << std::get<1>(key);
    };
    for (const auto& [key, row] : a) {
        const auto other = b.find(key);
        if (other != b.end() && other->second == row) continue;
        name(key);
        text << row;
        if (other == b.end()) text << " is only in the first";
        else text << other->second;
        return text.str();
    }
    for (const auto& [key, row] : b) {
        if (a.count(key) != 0) continue;
        name(key);
        text << row << " is only in the second";
        return text.str();
    }
    return "";
}

/// What an engine says that had these intervals and rules from the start.
Series from_start(const std::vector<Interval>& intervals, EngineOptions options,
                  const Table& table, std::size_t rows, TimeNs end) {
    options.clock = std::make_shared<engine::SimulatedClock>();
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    const auto producer = engine.producer("feed");
    (void)producer->push(table.view(0, rows));
    engine.advance(table.time[rows - 1]);
    (void)producer->push(table.view(rows, table.size()));
    engine.advance(end);
    Series closed;
    take_into(engine, closed);
    return closed;
}

}  // namespace

TEST_CASE("intervals come and go, and bars that begin later are as if they always were",
          "[engine]") {
    Rng rng(461);
    const char* const names[] = {"1s", "5s",    "10s",   "1m", "5m",  "15m", "1h",
                                 "4h", "1d+8h", "1d", "3d", "1w", "90s", "1M"};
    for (int round = 0; round < 60; ++round) {
        const auto choose = [&] {
            std::vector<Interval> chosen;
            while (chosen.empty())
                for (const char* name : names)
                    if (chance(rng, 30)) chosen.push_back(Interval::parse(name));
            return chosen;
        };
        std::vector<Interval> intervals = choose();
        EngineOptions options = live_options(2, chance(rng, 50) ? LatePolicy::drop : LatePolicy::amend);
        options.aggregator.gaps = chance(rng, 50) ? GapMode::none : GapMode::runs;
        const DurationNs lateness[] = {0, 0, 90 * NS_PER_SECOND, NS_PER_HOUR};
        options.aggregator.lateness_ns = lateness[pick(rng, 4)];
        const Table table = random_table(rng, 1 + pick(rng, 6), 300, TradeMix{});
        const TimeNs end = table.time.back() + 40 * NS_PER_DAY;
        Engine engine{RollupPlan(intervals), options};
        engine.start();
        const auto producer = engine.producer("feed");
        Series closed;
        std::size_t from = 0;
        std::size_t last_change = 0;
        TimeNs after = TIME_NONE;
        for (int change = 0; change < 3; ++change) {
            const std::size_t to = from + pick(rng, table.size() - from);
            (void)producer->push(table.view(from, to));
            from = to;
            if (to != 0 && chance(rng, 50)) engine.advance(table.time[to - 1]);
            if (chance(rng, 50)) take_into(engine, closed);
            const std::vector<Interval> next = choose();
            if (to != 0) after = std::max(after, table.time[to - 1] + 1);
            Span open_base;  // with a lateness it stays as it is
            engine.plan().levels()[0].interval->locate(after, open_base);
            if (options.aggregator.lateness_ns > 0) after = std::max(after, open_base.close);
            ConfigChange wanted;
            wanted.intervals = next;
            const ConfigReport report = engine.reconfigure(wanted);
            REQUIRE(report.added.size() - report.removed.size() == next.size() - intervals.size());
            intervals = next;
            last_change = to;
            // Open bars of all of them, and of no other.
            Series open;
            collect(*engine.view().open, open);
            for (const auto& [key, rows] : open) {
                const Interval& named = engine.intervals()[static_cast<std::size_t>(key.first)];
                REQUIRE(std::find(next.begin(), next.end(), named) != next.end());
            }
        }
        if (last_change == 0) continue;
        engine.advance(table.time[last_change - 1]);
        (void)producer->push(table.view(from, table.size()));
        engine.advance(end);
        take_into(engine, closed);
        const Series expected = from_start(intervals, options, table, last_change, end);
        INFO("round " << round << ", base " << engine.plan().levels()[0].interval->name());
        std::map<Key, Row> mine = rows_from(closed, engine.intervals(), after, false);
        std::erase_if(mine, [&](const auto& item) {  // those of intervals that went
            return std::none_of(intervals.begin(), intervals.end(), [&](const Interval& interval) {
                return interval.name() == std::get<0>(item.first);
            });
        });
        REQUIRE(first_difference(mine, rows_from(expected, intervals, after, false)) == "");
    }
}

TEST_CASE("a new interval is made from the bars that are held", "[engine]") {
    for (const bool amends : {true, false}) {
        EngineOptions options = live_options(2, amends ? LatePolicy::amend : LatePolicy::drop);
        options.aggregator.gaps = GapMode::none;
        Engine engine{RollupPlan(parse_all({"1m"})), options};
        engine.start();
        const auto producer = engine.producer("feed");
        Table table;
        for (int i = 0; i < 8; ++i) table.add(1, trade_at(WEDNESDAY + i * NS_PER_MINUTE));
        (void)producer->push(table.view());
        ConfigChange change;
        change.intervals = parse_all({"1m", "5m", "1d"});
        const ConfigReport report = engine.reconfigure(change);
        REQUIRE(report.added == std::vector<int>{1, 2});
        REQUIRE(report.removed.empty());
        REQUIRE_FALSE(report.has_new_base);
        Series open;
        collect(*engine.view().open, open);
        // 5m: minutes 5, 6 (closed) and 7; with amendments all minutes of the last hour are held.
        REQUIRE(open[{1, 1}].front().trade_count == (amends ? 3 : 1));
        REQUIRE(open[{2, 1}].front().trade_count == (amends ? 8 : 1));
        for (const int output : {1, 2})
            REQUIRE((open[{output, 1}].front().flags & BAR_PARTIAL) == (amends ? 0U : unsigned{BAR_PARTIAL}));
        Snapshot snapshot = engine.take("lake");
        REQUIRE(snapshot.open().rows() == 3);
    }
}

TEST_CASE("a finer base is put below", "[engine]") {
    EngineOptions options = live_options(2, LatePolicy::amend);
    options.aggregator.gaps = GapMode::none;
    Engine engine{RollupPlan(parse_all({"1m", "1h"})), options};
    engine.start();
    const auto producer = engine.producer("feed");
    const auto push = [&](TimeNs time) {
        Table table;
        table.add(1, trade_at(time));
        (void)producer->push(table.view());
    };
    push(WEDNESDAY + 10 * NS_PER_SECOND);
    push(WEDNESDAY + 20 * NS_PER_SECOND + 500);
    ConfigChange change;
    change.intervals = parse_all({"1m", "10s"});
    const ConfigReport report = engine.reconfigure(change);
    REQUIRE(report.has_new_base);
    REQUIRE(report.added == std::vector<int>{2});
    REQUIRE(report.removed == std::vector<int>{1});
    push(WEDNESDAY + 25 * NS_PER_SECOND);  // in a bar that the change cuts
    push(WEDNESDAY + 35 * NS_PER_SECOND);
    push(WEDNESDAY + 5 * NS_PER_SECOND);  // late, in a second that the new bars know nothing of
    engine.advance(WEDNESDAY + NS_PER_MINUTE);
    Series closed;
    take_into(engine, closed);
    REQUIRE(closed.size() == 2);
    REQUIRE(closed[{0, 1}].size() == 1);
    REQUIRE(closed[{0, 1}].front().trade_count == 5);
    const Rows& tens = closed[{2, 1}];
    REQUIRE(tens.size() == 2);
    REQUIRE(tens[0].open_time == WEDNESDAY + 20 * NS_PER_SECOND);
    REQUIRE((tens[0].flags & BAR_PARTIAL) != 0);
    REQUIRE(tens[0].trade_count == 1);
    REQUIRE((tens[1].flags & BAR_PARTIAL) == 0);
}

TEST_CASE("rules change, and bars that begin later are made by the new ones", "[engine]") {
    Rng rng(463);
    for (int round = 0; round < 20; ++round) {
        EngineOptions options = live_options(2, LatePolicy::drop);
        options.aggregator.gaps = chance(rng, 50) ? GapMode::none : GapMode::runs;
        options.aggregator.lateness_ns = chance(rng, 50) ? 0 : 90 * NS_PER_SECOND;
        const auto intervals = parse_all({"1s", "1m", "1h"});
        const Table table = random_table(rng, 3, 400, TradeMix{});
        Engine engine{RollupPlan(intervals), options};
        engine.start();
        const auto producer = engine.producer("feed");
        const std::size_t half = table.size() / 2;
        (void)producer->push(table.view(0, half));
        engine.advance(table.time[half - 1]);
        ConfigChange change;
        change.gaps = chance(rng, 50) ? GapMode::none : GapMode::flat;
        change.lateness_ns = chance(rng, 50) ? 0 : NS_PER_MINUTE;
        (void)engine.reconfigure(change);
        (void)producer->push(table.view(half, table.size()));
        const TimeNs end = table.time.back() + 2 * NS_PER_HOUR;
        engine.advance(end);
        Series closed;
        take_into(engine, closed);
        options.aggregator.gaps = *change.gaps;
        options.aggregator.lateness_ns = *change.lateness_ns;
        const Series expected = from_start(intervals, options, table, half, end);
        const TimeNs after = table.time[half - 1] + 1;
        INFO("round " << round);
        REQUIRE(first_difference(rows_from(closed, intervals, after, true),
                                 rows_from(expected, intervals, after, true)) == "");
        REQUIRE(engine.counts().late == 0);
    }
}

TEST_CASE("a change is all or nothing, and says what it did", "[engine]") {
    Engine engine{RollupPlan(parse_all({"1m", "1h"})), live_options(2, LatePolicy::amend)};
    engine.start();
    const auto producer = engine.producer("feed");
    const auto refused = [&](auto&& set) {
        ConfigChange change;
        change.policy = engine::LanePolicy::drop_newest;
        set(change);
        const Error error = error_of([&] { (void)engine.reconfigure(change); });
        REQUIRE(producer->intakes()[0]->lane.policy() == engine::LanePolicy::block);
        REQUIRE(engine.intervals().size() == 2);
        return error;
    };
    REQUIRE(field_of(refused([](auto& c) { c.lateness_ns = -5; }), "option") == "lateness");
    REQUIRE(field_of(refused([](auto& c) { c.close_delay_ns = -1; }), "option") == "close_delay");
    REQUIRE(field_of(refused([](auto& c) { c.lease_ns = 0; }), "option") == "lease");
    REQUIRE(field_of(refused([](auto& c) { c.lane_capacity = 3; }), "option") == "lane_capacity");
    REQUIRE(refused([](auto& c) { c.intervals = std::vector<Interval>{}; }).code() ==
            ErrorCode::invalid_interval);
    REQUIRE(refused([](auto& c) { c.intervals = parse_all({"1h", "1h"}); }).code() ==
            ErrorCode::duplicate_interval);
    ConfigChange change;
    change.policy = engine::LanePolicy::drop_oldest;
    change.lane_capacity = 2048;
    change.close_delay_ns = NS_PER_SECOND;
    change.lease_ns = NS_PER_MINUTE;
    const ConfigReport report = engine.reconfigure(change);
    REQUIRE(report.changed.size() == 4);
    REQUIRE(report.changed[2].option == "policy");
    REQUIRE(report.changed[2].before == "block");
    REQUIRE(report.changed[2].after == "drop_oldest");
    REQUIRE(producer->intakes()[1]->lane.capacity() == 2048);
    REQUIRE(producer->intakes()[1]->lane.policy() == engine::LanePolicy::drop_oldest);
    REQUIRE(engine.reconfigure(change).changed.empty());
    Table table;
    table.add(1, trade_at(WEDNESDAY));
    (void)producer->push(table.view());
    engine.advance(WEDNESDAY + NS_PER_MINUTE);
    REQUIRE(engine.take("lake").closed().rows() == 0);
    engine.advance(WEDNESDAY + NS_PER_MINUTE + NS_PER_SECOND);
    REQUIRE(engine.take("lake").closed().rows() == 1);
}

TEST_CASE("everything changes while trades flow, and bars with trades stay whole", "[engine]") {
    Rng rng(467);
    const auto kept = parse_all({"1s", "1m"});
    EngineOptions options = live_options(2, LatePolicy::drop);
    options.lane_capacity = 1024;
    Engine engine{RollupPlan(kept), options};
    engine.start();
    const Table table = random_table(rng, 20, 6'000, TradeMix{});
    std::atomic<int> at_work{2};
    std::vector<std::thread> threads;
    for (std::int32_t part = 0; part < 2; ++part) {
        threads.emplace_back([&, part] {
            const auto producer = engine.producer("feed");
            const Table mine =
                table.filtered([&](std::size_t row) { return table.symbol[row] % 2 == part; });
            for (std::size_t from = 0; from < mine.size(); from += 100)
                (void)producer->push(mine.view(from, std::min(mine.size(), from + 100)));
            at_work.fetch_sub(1);
        });
    }
    Series closed;
    const auto change_something = [&] {
        ConfigChange change;
        change.intervals = kept;
        for (const char* name : {"5s", "5m", "1h", "1d+9h"})
            if (chance(rng, 50)) change.intervals->push_back(Interval::parse(name));
        if (chance(rng, 30)) change.lane_capacity = 1024 << pick(rng, 3);
        (void)engine.reconfigure(change);
        if (chance(rng, 30)) engine.resize(1 + static_cast<int>(pick(rng, 3)));
        if (chance(rng, 30)) take_into(engine, closed);
    };
    while (at_work.load() != 0) change_something();
    for (std::thread& thread : threads) thread.join();
    change_something();
    take_into(engine, closed);
    BatchOptions batch_options;
    batch_options.aggregator = options.aggregator;
    BatchRun batch(kept, batch_options);
    batch.add({table.view()});
    std::erase_if(closed, [](const auto& item) { return item.first.first > 1; });
    REQUIRE(difference(closed, batch.series) == "");
}
