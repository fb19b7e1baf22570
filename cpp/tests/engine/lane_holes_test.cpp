// What a lane knows of the trades that it dropped.
#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "catch.hpp"
#include "klineagg/engine/lane.hpp"
#include "lanes.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::engine;
using namespace klineagg::test;

namespace {

struct Holes {
    std::uint64_t position = Lane::NO_LIMIT;
    std::vector<LaneHole> all;
};

Holes holes_of(Lane& lane) {
    Holes holes;
    holes.position = lane.hole_position();
    const HoleTable* const table = lane.take_holes();
    REQUIRE((table != nullptr) == (holes.position != Lane::NO_LIMIT));
    if (table == nullptr) return holes;
    CHECK(table->position() == holes.position);
    table->each([&holes](const LaneHole& hole) { holes.all.push_back(hole); });
    lane.give_holes();
    return holes;
}

std::vector<LaneRecord> of_symbols(std::size_t first, std::size_t end) {
    std::vector<LaneRecord> records;
    for (auto symbol = static_cast<std::int32_t>(first); symbol < static_cast<std::int32_t>(end);
         ++symbol) {
        LaneRecord record;
        record.symbol = symbol;
        record.time = 10 * symbol;
        records.push_back(record);
    }
    return records;
}

}  // namespace

TEST_CASE("dropped trades leave one hole for each symbol", "[engine][lane]") {
    SECTION("drop_newest: the holes are where they would have been") {
        Lane lane(10, LanePolicy::drop_newest);
        lane.push(numbered(0, 25));
        const Holes holes = holes_of(lane);
        CHECK(holes.position == 10);
        REQUIRE(holes.all.size() == LANE_SYMBOLS);
        for (const LaneHole& hole : holes.all) {
            // The first number from 10 on, and the last below 25, of that symbol.
            CHECK(hole.time_min == 1'000 + 10 + (hole.symbol + 4) % 7);
            CHECK(hole.time_max == 1'000 + 24 - (24 - hole.symbol) % 7);
        }
    }
    SECTION("drop_oldest: the holes are before the row that is now the first") {
        Lane lane(16, LanePolicy::drop_oldest);
        lane.push(numbered(0, 16));
        lane.push(numbered(16, 1));  // blocks of two
        const Holes holes = holes_of(lane);
        CHECK(holes.position == 2);
        REQUIRE(holes.all.size() == 2);
        for (std::size_t i = 0; i < 2; ++i) {
            CHECK(holes.all[i].symbol == static_cast<std::int32_t>(i));
            CHECK(holes.all[i].time_min == 1'000 + holes.all[i].symbol);
            CHECK(holes.all[i].time_max == holes.all[i].time_min);
        }
        CHECK(holes_of(lane).all.empty());
    }
}

TEST_CASE("more symbols than have times of their own share theirs", "[engine][lane]") {
    Lane lane(1, LanePolicy::drop_newest);
    lane.push(of_symbols(0, 1));
    lane.push(of_symbols(1'000, 1'300));
    lane.push(of_symbols(HoleTable::SYMBOLS_MAX - 1, HoleTable::SYMBOLS_MAX));
    std::map<std::int32_t, LaneHole> by_symbol;
    for (const LaneHole& hole : holes_of(lane).all) {
        REQUIRE(by_symbol.count(hole.symbol) == 0);
        by_symbol[hole.symbol] = hole;
    }
    REQUIRE(by_symbol.size() == 301);
    std::size_t own = 0;
    for (const auto& [symbol, hole] : by_symbol) {
        const TimeNs time = 10 * symbol;
        REQUIRE(hole.time_min <= time);
        REQUIRE(hole.time_max >= time);
        own += hole.time_min == hole.time_max ? 1 : 0;
    }
    CHECK(own == HoleTable::OWN_MAX);
    CHECK(by_symbol.begin()->first == 1'000);
    CHECK(holes_of(lane).all.empty());

    // A table that had many says only what was dropped since.
    for (int turn = 0; turn < 4; ++turn) {
        lane.push(of_symbols(1'299, 1'300));
        const Holes again = holes_of(lane);
        REQUIRE(again.all.size() == 1);
        CHECK(again.all[0].symbol == 1'299);
        CHECK(again.all[0].time_min == again.all[0].time_max);
    }
}

TEST_CASE("holes that nobody looks at become one for each symbol", "[engine][lane]") {
    Lane lane(1, LanePolicy::drop_newest);
    lane.push(numbered(0, 1));
    for (std::int64_t number = 1; number <= 5'000; ++number) lane.push(numbered(number, 1));
    std::vector<LaneRecord> scratch(1);
    CHECK(lane.take(scratch).size() == 1);
    lane.push(numbered(5'001, 1));
    for (std::int64_t number = 5'002; number < 5'100; ++number) lane.push(numbered(number, 1));
    Holes holes = holes_of(lane);
    CHECK(holes.position == 1);  // where the first of them was
    REQUIRE(holes.all.size() == LANE_SYMBOLS);
    for (const LaneHole& hole : holes.all) {
        CHECK(hole.time_min <= 1'000 + 7);
        CHECK(hole.time_max > 1'000 + 5'099 - 7);
    }

    // What has been seen is not told again, and the next ones start anew.
    CHECK(holes_of(lane).all.empty());
    for (std::int64_t number = 6'000; number < 8'000; ++number) lane.push(numbered(number, 1));
    holes = holes_of(lane);
    CHECK(holes.position == 2);
    REQUIRE(holes.all.size() == LANE_SYMBOLS);
    for (const LaneHole& hole : holes.all) {
        CHECK(hole.time_min >= 1'000 + 6'000);
        CHECK(hole.time_max < 1'000 + 8'000);
    }
}

TEST_CASE("holes go over to another table by their symbols", "[engine][lane]") {
    for (const std::int32_t symbols : {20, 1'000}) {
        HoleTable all;
        for (std::int32_t symbol = 0; symbol < symbols; ++symbol)
            all.add({symbol, symbol + 5, symbol}, static_cast<std::uint64_t>(7 + symbol));
        HoleTable odd;
        all.move_to(odd, [](std::int32_t symbol) { return symbol % 2 != 0; });
        CHECK(all.position() == 7);
        CHECK(odd.position() == 7);
        for (const HoleTable* table : {&all, &odd}) {
            const std::int32_t rest = table == &odd ? 1 : 0;
            std::vector<std::int32_t> told;
            table->each([&](const LaneHole& hole) {
                told.push_back(hole.symbol);
                REQUIRE(hole.symbol % 2 == rest);
                REQUIRE(hole.time_min <= hole.symbol);
                REQUIRE(hole.time_max >= hole.symbol + 5);
            });
            std::sort(told.begin(), told.end());
            REQUIRE(std::unique(told.begin(), told.end()) == told.end());
            REQUIRE(told.size() == static_cast<std::size_t>(symbols / 2));
        }
        all.move_to(odd, [](std::int32_t) { return true; });
        CHECK(all.empty());
        CHECK(all.position() == HoleTable::NOWHERE);
        odd.clear();
        odd.each([](const LaneHole&) { FAIL("a hole in an empty table"); });
    }
}

TEST_CASE("every dropped trade lies in a hole", "[engine][lane]") {
    Rng random(5);
    Lane lane(32, LanePolicy::drop_oldest);
    std::vector<LaneRecord> scratch(16);
    std::vector<bool> taken(20'000, false);
    std::vector<LaneHole> holes;
    std::int64_t next = 0;
    while (next + 64 < static_cast<std::int64_t>(taken.size())) {
        const std::size_t rows = 1 + pick(random, 48);
        if (chance(random, 20))
            lane.set_policy(chance(random, 50) ? LanePolicy::drop_newest
                                               : LanePolicy::drop_oldest);
        lane.push(numbered(next, rows));
        next += static_cast<std::int64_t>(rows);
        lane.consume(scratch, Lane::NO_LIMIT, [&](std::span<const LaneRecord> records) {
            for (const LaneRecord& record : records)
                taken[static_cast<std::size_t>(record.id)] = true;
        });
        for (const LaneHole& hole : holes_of(lane).all) holes.push_back(hole);
    }
    while (lane.consume(scratch, Lane::NO_LIMIT, [&](std::span<const LaneRecord> records) {
        for (const LaneRecord& record : records) taken[static_cast<std::size_t>(record.id)] = true;
    }) != 0) {}
    std::uint64_t dropped = 0;
    for (std::int64_t number = 0; number < next; ++number) {
        if (taken[static_cast<std::size_t>(number)]) continue;
        ++dropped;
        const LaneRecord lost = numbered_record(number);
        REQUIRE(std::any_of(holes.begin(), holes.end(), [&](const LaneHole& hole) {
            return hole.symbol == lost.symbol && hole.time_min <= lost.time &&
                   hole.time_max >= lost.time;
        }));
    }
    CHECK(dropped > 1'000);
    const LaneCounts counts = lane.counts();
    CHECK(counts.dropped_newest + counts.dropped_oldest == dropped);
    CHECK(counts.in_flight == 0);
}
