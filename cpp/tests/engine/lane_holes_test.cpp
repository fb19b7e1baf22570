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

std::vector<LaneHole> holes_of(Lane& lane) {
    std::vector<LaneHole> holes;
    LaneHole hole;
    while (lane.take_hole(hole)) holes.push_back(hole);
    return holes;
}

std::vector<LaneRecord> of_symbols(std::int32_t first, std::int32_t end) {
    std::vector<LaneRecord> records;
    for (std::int32_t symbol = first; symbol < end; ++symbol) {
        LaneRecord record;
        record.symbol = symbol;
        record.time = 10 * symbol;
        records.push_back(record);
    }
    return records;
}

}  // namespace

TEST_CASE("dropped trades leave one hole for each symbol of a push", "[engine][lane]") {
    SECTION("drop_newest: the hole is where they would have been") {
        Lane lane(10, LanePolicy::drop_newest);
        lane.push(numbered(0, 25));
        const std::vector<LaneHole> holes = holes_of(lane);
        REQUIRE(holes.size() == LANE_SYMBOLS);
        std::uint64_t count = 0;
        for (const LaneHole& hole : holes) {
            CHECK(hole.position == 10);
            count += hole.count;
            // The first number from 10 on, and the last below 25, of that symbol.
            CHECK(hole.time_min == 1'000 + 10 + (hole.symbol + 4) % 7);
            CHECK(hole.time_max == 1'000 + 24 - (24 - hole.symbol) % 7);
        }
        CHECK(count == 15);
    }
    SECTION("drop_oldest: the hole is before the row that is now the first") {
        Lane lane(16, LanePolicy::drop_oldest);
        lane.push(numbered(0, 16));
        lane.push(numbered(16, 1));  // blocks of two
        const std::vector<LaneHole> holes = holes_of(lane);
        REQUIRE(holes.size() == 2);
        for (std::size_t i = 0; i < 2; ++i) {
            CHECK(holes[i].symbol == static_cast<std::int32_t>(i));
            CHECK(holes[i].position == 2);
            CHECK(holes[i].time_min == 1'000 + holes[i].symbol);
            CHECK(holes[i].time_max == holes[i].time_min);
            CHECK(holes[i].count == 1);
        }
        CHECK(holes_of(lane).empty());
    }
}

TEST_CASE("more symbols than can be told apart become a hole of all", "[engine][lane]") {
    Lane lane(1, LanePolicy::drop_newest);
    lane.push(of_symbols(0, 1));
    lane.push(of_symbols(1'000, 1'300));
    std::map<std::int32_t, LaneHole> by_symbol;
    for (const LaneHole& hole : holes_of(lane)) {
        REQUIRE(by_symbol.count(hole.symbol) == 0);
        by_symbol[hole.symbol] = hole;
    }
    CHECK(by_symbol.size() == 257);
    const LaneHole all = by_symbol.at(LaneHole::ALL_SYMBOLS);
    for (std::int32_t symbol = 1'000; symbol < 1'300; ++symbol) {
        const TimeNs time = 10 * symbol;
        const auto own = by_symbol.find(symbol);
        const LaneHole& hole = own != by_symbol.end() ? own->second : all;
        REQUIRE(hole.time_min <= time);
        REQUIRE(hole.time_max >= time);
    }
    CHECK(all.count == 44);
}

TEST_CASE("holes that nobody looks at become one that covers them", "[engine][lane]") {
    Lane lane(1, LanePolicy::drop_newest);
    lane.push(numbered(0, 1));
    for (std::int64_t number = 1; number <= 5'000; ++number) lane.push(numbered(number, 1));
    std::vector<LaneHole> holes = holes_of(lane);
    CHECK(holes.size() < 1'100);
    REQUIRE(holes.back().symbol == LaneHole::ALL_SYMBOLS);
    CHECK(holes.back().time_max == 1'000 + 5'000);
    CHECK(std::count_if(holes.begin(), holes.end(), [](const LaneHole& hole) {
              return hole.symbol == LaneHole::ALL_SYMBOLS;
          }) == 1);
    std::uint64_t count = 0;
    for (const LaneHole& hole : holes) count += hole.count;
    CHECK(count == 5'000);

    // What has been seen is not told again, and the next one starts anew.
    CHECK(holes_of(lane).empty());
    for (std::int64_t number = 6'000; number < 8'000; ++number) lane.push(numbered(number, 1));
    holes = holes_of(lane);
    CHECK(holes.back().symbol == LaneHole::ALL_SYMBOLS);
    CHECK(holes.back().time_min > 1'000 + 6'000);
    CHECK(holes.back().time_max == 1'000 + 7'999);
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
        for (const LaneHole& hole : holes_of(lane)) holes.push_back(hole);
    }
    while (lane.consume(scratch, Lane::NO_LIMIT, [&](std::span<const LaneRecord> records) {
        for (const LaneRecord& record : records) taken[static_cast<std::size_t>(record.id)] = true;
    }) != 0) {}
    std::uint64_t told = 0;
    for (const LaneHole& hole : holes) told += hole.count;
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
    CHECK(told == dropped);
    const LaneCounts counts = lane.counts();
    CHECK(counts.dropped_newest + counts.dropped_oldest == dropped);
    CHECK(counts.in_flight == 0);
}
