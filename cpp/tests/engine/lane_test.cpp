#include "klineagg/engine/lane.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "lanes.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::engine;
using namespace klineagg::test;

namespace {

constexpr LanePolicy POLICIES[] = {LanePolicy::block, LanePolicy::drop_newest,
                                   LanePolicy::drop_oldest};

std::vector<std::int64_t> take_ids(Lane& lane, std::size_t rows,
                                   std::uint64_t until = Lane::NO_LIMIT) {
    std::vector<LaneRecord> scratch(rows);
    std::vector<std::int64_t> ids;
    lane.consume(scratch, until, [&](std::span<const LaneRecord> records) {
        for (const LaneRecord& record : records) ids.push_back(record.id);
    });
    return ids;
}

std::vector<std::int64_t> iota(std::int64_t from, std::int64_t to) {
    std::vector<std::int64_t> ids;
    for (; from < to; ++from) ids.push_back(from);
    return ids;
}

void check_balance(const LaneCounts& c) {
    CHECK(c.offered == c.applied + c.rejected + c.dropped_oldest + c.dropped_newest + c.in_flight);
    CHECK(c.pushed == c.offered - c.dropped_newest);
}

}  // namespace

TEST_CASE("a record holds all of a trade", "[engine][lane]") {
    Rng random(3);
    std::vector<Trade> trades = random_trades(
        random, 2'000, {.ids = true, .aggregated = true, .flags = true, .wild_amounts = true});
    trades.push_back({});  // no id
    trades.push_back({TIME_MIN, -1.5, 0x1p-100, INT64_MAX - 1, INT64_MAX, true, 7});
    trades.push_back({TIME_MAX, -0.0, 1.0, 5, 5 + std::int64_t{UINT32_MAX}, false, 1});
    for (const Trade& trade : trades) {
        REQUIRE(fits_lane(trade));
        const LaneRecord record = to_record(trade, 17, 65'535, 99);
        const Trade back = to_trade(record);
        CHECK(back.time == trade.time);
        CHECK(same_bits(back.price, trade.price));
        CHECK(same_bits(back.quantity, trade.quantity));
        CHECK(back.id == trade.id);
        CHECK(back.last_id == trade.last_id);
        CHECK(back.taker_buy == trade.taker_buy);
        CHECK(back.flags == trade.flags);
        CHECK(record.symbol == 17);
        CHECK(record.source == 65'535);
        CHECK(record.pushed_tick == 99);
    }
    CHECK_FALSE(fits_lane({.id = 0, .last_id = std::int64_t{1} << 32U}));
    CHECK_FALSE(fits_lane({.id = 1, .last_id = 0}));
    CHECK_FALSE(fits_lane({.id = INT64_MIN, .last_id = INT64_MAX}));
}

TEST_CASE("the stamp of a push tells how long ago it was, across its overflow", "[engine][lane]") {
    const MonotonicNs start = GENERATE(MonotonicNs{0}, (MonotonicNs{1} << 38U) - 1'000);
    for (const DurationNs later : {DurationNs{0}, DurationNs{64}, DurationNs{10'000},
                                   200 * NS_PER_SECOND}) {
        const DurationNs shown = lane_latency_ns(lane_tick(start), start + later);
        CHECK(shown >= later - 64);
        CHECK(shown <= later + 64);
    }
}

TEST_CASE("rows come out as they went in, whatever the policy and the blocks", "[engine][lane]") {
    const LanePolicy policy = GENERATE(from_range(std::begin(POLICIES), std::end(POLICIES)));
    const std::size_t capacity = GENERATE(1U, 2U, 7U, 64U, 100U, 5'000U);
    Lane lane(capacity, policy);
    Rng random(capacity);
    std::int64_t pushed = 0;
    std::int64_t taken = 0;
    while (taken < 20'000) {
        const std::size_t rows = pick(random, capacity + 1);
        const auto room = capacity - static_cast<std::size_t>(pushed - taken);
        const LanePush done = lane.push(numbered(pushed, std::min(rows, room)));
        REQUIRE(done.taken == std::min(rows, room));
        REQUIRE(done.dropped == 0);
        pushed += static_cast<std::int64_t>(done.taken);
        for (const std::int64_t id : take_ids(lane, 1 + pick(random, capacity))) {
            REQUIRE(id == taken);
            ++taken;
        }
        REQUIRE(lane.pushed() == static_cast<std::uint64_t>(pushed));
        REQUIRE(lane.applied() == static_cast<std::uint64_t>(taken));
    }
    const LaneCounts counts = lane.counts();
    check_balance(counts);
    CHECK(counts.dropped_oldest + counts.dropped_newest == 0);
}

TEST_CASE("a full lane keeps to its policy", "[engine][lane]") {
    SECTION("block takes what fits") {
        Lane lane(8, LanePolicy::block);
        const LanePush done = lane.push(numbered(0, 12));
        CHECK(done.taken == 8);
        CHECK(done.dropped == 0);
        CHECK_FALSE(lane.wait_for_room(1, monotonic_ns() - 1));
        CHECK(lane.counts().offered == 8);  // the caller still has the others
        CHECK(lane.counts().backpressure_events == 1);
        CHECK(lane.counts().fill_ratio == 1.0);
        CHECK(lane.counts().blocked_ns < 1'000'000'000);
        const MonotonicNs start = monotonic_ns();
        CHECK_FALSE(lane.wait_for_room(1, start + 2'000'000));
        CHECK(lane.counts().blocked_ns >= 1'000'000);
        CHECK(monotonic_ns() >= start + 2'000'000);
        CHECK(take_ids(lane, 3) == iota(0, 3));
        CHECK(lane.wait_for_room(3, monotonic_ns() - 1));
        CHECK_FALSE(lane.wait_for_room(4, monotonic_ns() - 1));
        // More than half the capacity is not waited for: it may be more than ever fits.
        CHECK(take_ids(lane, 1) == iota(3, 4));
        CHECK(lane.wait_for_room(100, monotonic_ns() - 1));
        CHECK(lane.counts().fill_ratio == 0.5);
    }
    SECTION("drop_newest drops the rest") {
        Lane lane(8, LanePolicy::drop_newest);
        const LanePush done = lane.push(numbered(0, 12));
        CHECK(done.taken == 8);
        CHECK(done.dropped == 4);
        CHECK(take_ids(lane, 20) == iota(0, 8));
        CHECK(lane.counts().dropped_newest == 4);
        CHECK(lane.counts().offered == 12);
    }
    SECTION("drop_oldest keeps the newest, in a lane that nobody takes from") {
        Lane lane(8, LanePolicy::drop_oldest);
        const LanePush done = lane.push(numbered(0, 12));
        CHECK(done.taken == 12);
        CHECK(done.dropped == 0);
        CHECK(lane.counts().dropped_oldest == 4);
        CHECK(lane.counts().in_flight == 8);
        CHECK(take_ids(lane, 20) == iota(4, 12));
        CHECK(lane.applied() == 12);
    }
    SECTION("drop_oldest drops blocks of a large lane") {
        Lane lane(4'096, LanePolicy::drop_oldest);
        lane.push(numbered(0, 4'097));
        CHECK(lane.counts().dropped_oldest == 512);
        CHECK(take_ids(lane, 5'000) == iota(512, 4'097));
    }
}

TEST_CASE("nothing behind the cut is taken", "[engine][lane]") {
    const LanePolicy policy = GENERATE(from_range(std::begin(POLICIES), std::end(POLICIES)));
    Lane lane(16, policy);
    lane.push(numbered(0, 10));
    CHECK(take_ids(lane, 20, 4) == iota(0, 4));
    CHECK(take_ids(lane, 20, 4).empty());
    CHECK(take_ids(lane, 20, 2).empty());
    CHECK(lane.taken() == 4);
    CHECK(take_ids(lane, 20, 5) == iota(4, 5));
    CHECK(take_ids(lane, 20) == iota(5, 10));
    CHECK(take_ids(lane, 0).empty());
}

TEST_CASE("a cut among dropped rows is reached", "[engine][lane]") {
    Lane lane(8, LanePolicy::drop_oldest);
    lane.push(numbered(0, 8));
    const std::uint64_t cut = lane.pushed();
    lane.push(numbered(8, 8));  // drops all of the first
    CHECK(lane.applied() == 0);
    CHECK(take_ids(lane, 20, cut).empty());
    CHECK(lane.applied() == cut);
    CHECK(take_ids(lane, 20) == iota(8, 16));
}

TEST_CASE("a switch of the policy loses and reorders nothing", "[engine][lane]") {
    Lane lane(8);
    lane.push(numbered(0, 5));
    lane.set_policy(LanePolicy::drop_oldest);
    lane.push(numbered(5, 8));  // beside the five that stay where they are
    CHECK(lane.counts().dropped_oldest == 0);
    lane.set_policy(LanePolicy::block);
    CHECK(lane.push(numbered(13, 1)).taken == 0);  // still at the ring, which is full
    CHECK(take_ids(lane, 3, 4) == iota(0, 3));
    CHECK(take_ids(lane, 20, 9) == iota(3, 5));
    CHECK(take_ids(lane, 20, 9) == iota(5, 9));
    CHECK(lane.push(numbered(13, 6)).taken == 6);  // at the queue again
    // Wanted back while the worker is still at the ring, and full: the ring's rows are the oldest.
    lane.set_policy(LanePolicy::drop_oldest);
    lane.push(numbered(19, 2));
    CHECK(lane.counts().dropped_oldest == 0);
    lane.push(numbered(21, 4));
    CHECK(lane.counts().dropped_oldest == 4);  // 9 ... 12
    CHECK(take_ids(lane, 20) == iota(13, 21));
    CHECK(take_ids(lane, 20) == iota(21, 25));
    CHECK(lane.applied() == 25);
    CHECK(lane.taken() == lane.pushed());
    check_balance(lane.counts());
    CHECK(lane.counts().in_flight == 0);
}

TEST_CASE("rejected rows are told apart from applied ones", "[engine][lane]") {
    Lane lane(8);
    lane.push(numbered(0, 6));
    std::vector<LaneRecord> scratch(4);
    CHECK(lane.take(scratch).size() == 4);
    CHECK(lane.counts().in_flight == 6);  // taken, not settled
    CHECK(lane.counts().fill_ratio == 0.25);
    CHECK(lane.applied() == 0);
    lane.settle({.late = 1, .duplicate = 2});
    const LaneCounts counts = lane.counts();
    CHECK(counts.applied == 1);
    CHECK(counts.rejected == 3);
    CHECK(counts.in_flight == 2);
    CHECK(lane.applied() == 4);
    check_balance(counts);
}

TEST_CASE("a closed lane takes nothing and ends all waiting", "[engine][lane]") {
    Lane lane(4);
    lane.push(numbered(0, 4));
    std::thread closer([&] { lane.close(); });
    CHECK_FALSE(lane.wait_for_room(1, NO_DEADLINE));
    closer.join();
    CHECK(lane.is_closed());
    CHECK(lane.push(numbered(4, 1)).taken == 0);
    int waits = 0;
    CHECK(lane.push(numbered(4, 1), NO_DEADLINE, [&] { ++waits; }).taken == 0);
    CHECK(waits == 0);
    CHECK(take_ids(lane, 9) == iota(0, 4));
}

TEST_CASE("waiting ends when the policy no longer blocks", "[engine][lane]") {
    Lane lane(4);
    std::thread changer;
    const LanePush done = lane.push(numbered(0, 6), NO_DEADLINE, [&] {
        if (!changer.joinable())
            changer = std::thread([&] { lane.set_policy(LanePolicy::drop_newest); });
    });
    changer.join();
    CHECK(done.taken == 4);
    CHECK(done.dropped == 2);
}

TEST_CASE("a lane says when there is nothing to do", "[engine][lane]") {
    const LanePolicy policy = GENERATE(from_range(std::begin(POLICIES), std::end(POLICIES)));
    Lane lane(4, policy);
    CHECK(lane.empty());
    lane.push(numbered(0, 4));
    CHECK_FALSE(lane.empty());
    take_ids(lane, 4);
    CHECK(lane.empty());
    lane.push(numbered(4, 5));
    take_ids(lane, 5);
    const bool dropped = policy != LanePolicy::block;
    CHECK(lane.empty() == !dropped);
    CHECK((lane.take_holes() != nullptr) == dropped);
    CHECK(lane.empty());
}

TEST_CASE("a lane of a size that cannot be is refused", "[engine][lane]") {
    for (const std::size_t capacity : {std::size_t{0}, LANE_CAPACITY_MAX + 1}) {
        const Error error = error_of([&] { Lane{capacity}; });
        CHECK(error.code() == ErrorCode::invalid_option);
        CHECK(field_of(error, "lane_capacity") == std::to_string(capacity));
    }
    CHECK(Lane(100).memory_bytes() > 100 * sizeof(LaneRecord));
    CHECK(Lane(4'096, LanePolicy::drop_oldest).memory_bytes() > 2 * 4'096 * sizeof(LaneRecord));
}
