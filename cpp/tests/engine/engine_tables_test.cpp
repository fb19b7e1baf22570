// Tables of spans that become longer while an engine runs.
#include <algorithm>

#include "engines.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr TimeNs HOUR = 60 * NS_PER_MINUTE;

/// Sessions of 22 hours with a hole of 2 behind each, and minutes of another phase.
std::vector<Interval> tables(TimeNs begin, TimeNs end) {
    std::vector<Span> sessions;
    std::vector<Span> halves;
    for (TimeNs open = floor_to(begin, NS_PER_DAY) - NS_PER_DAY; open < end; open += NS_PER_DAY)
        sessions.push_back({open + HOUR, open + 23 * HOUR});
    const DurationNs half = 30 * NS_PER_MINUTE;
    for (TimeNs open = floor_to(begin, half) - half; open < end; open += half)
        halves.push_back({open, open + half});
    return {Interval::parse("1m"), Interval::table("halves", halves, half),
            Interval::table("sessions", sessions, half)};
}

Series closed_bars(const EngineOptions& given, const Table& table, bool grows, std::uint64_t seed) {
    Rng rng(seed);
    EngineOptions options = given;
    options.clock = std::make_shared<engine::SimulatedClock>();
    const TimeNs begin = table.time.front();
    const TimeNs end = table.time.back();
    TimeNs reach = grows ? begin + HOUR : end + NS_PER_DAY;
    Engine engine(RollupPlan(tables(begin, reach)), options);
    engine.start();
    const auto producer = engine.producer("feed");
    Series closed;
    for (std::size_t from = 0; from < table.size();) {
        const std::size_t to = std::min(table.size(), from + 1 + pick(rng, 200));
        const TimeNs last = *std::max_element(table.time.begin() + static_cast<std::ptrdiff_t>(from),
                                              table.time.begin() + static_cast<std::ptrdiff_t>(to));
        if (last >= reach) {
            // What was pushed before may be in the lanes still.
            reach = last + HOUR;
            engine.replace_tables(tables(begin, reach), {begin - NS_PER_DAY, reach});
        }
        (void)producer->push(table.view(from, to));
        from = to;
        if (chance(rng, 10)) take_into(engine, closed);
        if (chance(rng, 10)) engine.rebuild(0);
    }
    if (grows) engine.replace_tables(tables(begin, end + NS_PER_DAY), {begin, end + NS_PER_DAY});
    (void)engine.advance(end + NS_PER_DAY / 2);
    take_into(engine, closed);
    Series open;
    collect(*engine.view().open, open);
    for (auto& [key, rows] : open)
        for (const Row& row : rows) closed[{key.first + 100, key.second}].push_back(row);
    engine.stop();
    return closed;
}

}  // namespace

TEST_CASE("tables that grow with the stream give the bars of tables that were always long",
          "[engine]") {
    Rng rng(911);
    for (int round = 0; round < 12; ++round) {
        EngineOptions options =
            live_options(1 + static_cast<int>(pick(rng, 2)),
                         chance(rng, 50) ? LatePolicy::drop : LatePolicy::amend);
        options.aggregator.lateness_ns = chance(rng, 50) ? 0 : 90 * NS_PER_SECOND;
        options.aggregator.amend_horizon_ns = HORIZON_UNLIMITED;
        const GapMode modes[] = {GapMode::none, GapMode::runs, GapMode::flat};
        options.aggregator.gaps = modes[pick(rng, 3)];
        Table table;
        TimeNs time = WEDNESDAY;
        for (int i = 0; i < 2'000; ++i) {
            const DurationNs steps[] = {0, NS_PER_SECOND, NS_PER_MINUTE, 3 * HOUR};
            time += steps[std::min<std::size_t>(3, pick(rng, 40) / 10 + (chance(rng, 2) ? 3 : 0))];
            const DurationNs behind = chance(rng, 10) ? 70 * NS_PER_SECOND : 0;
            table.add(static_cast<std::int32_t>(pick(rng, 5)),
                      trade_at(time - behind, 1.0 + static_cast<double>(pick(rng, 50))));
        }
        const std::uint64_t seed = rng();
        INFO("round " << round);
        const std::string differs = difference(closed_bars(options, table, true, seed),
                                               closed_bars(options, table, false, seed));
        REQUIRE(differs == "");
    }
}

TEST_CASE("tables are replaced as a whole or not at all", "[engine]") {
    Engine engine(RollupPlan(tables(WEDNESDAY, WEDNESDAY + HOUR)), live_options());
    engine.start();
    std::vector<Interval> shifted = tables(WEDNESDAY, WEDNESDAY + NS_PER_DAY);
    shifted[1] = Interval::table("halves", {{WEDNESDAY + 1 * NS_PER_SECOND, WEDNESDAY + HOUR}});
    REQUIRE_THROWS_AS(engine.replace_tables(shifted, {0, TIME_MAX}), Error);
    const auto producer = engine.producer("feed");
    engine.replace_tables({}, {WEDNESDAY, WEDNESDAY + HOUR});
    const auto push_one = [&](TimeNs time) { return producer->push_one(1, trade_at(time)); };
    REQUIRE(push_one(WEDNESDAY + HOUR) == PushOne::beyond_tables);
    REQUIRE(push_one(WEDNESDAY - 1) == PushOne::beyond_tables);
    REQUIRE(push_one(WEDNESDAY + HOUR - 1) == PushOne::queued);
    engine.replace_tables(tables(WEDNESDAY, WEDNESDAY + NS_PER_DAY),
                          {WEDNESDAY, WEDNESDAY + NS_PER_DAY});
    REQUIRE(push_one(WEDNESDAY + HOUR) == PushOne::queued);
    REQUIRE(push_one(TIME_MAX + 1) == PushOne::rejected);
    engine.flush();
    REQUIRE(producer->stats().offered == 3);
    REQUIRE(engine.counts().outside == 0 + 1);  // the session has not begun at midnight
    engine.stop();
    REQUIRE_THROWS_AS(engine.replace_tables({}, {0, TIME_MAX}), Error);
}
