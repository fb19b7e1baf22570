// Lanes between threads: run these with ThreadSanitizer.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/wait.hpp"
#include "lanes.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::engine;
using namespace klineagg::test;

namespace {

constexpr LanePolicy POLICIES[] = {LanePolicy::block, LanePolicy::drop_newest,
                                   LanePolicy::drop_oldest};

/// Takes rows until it is told that no more come, and looks at each.
struct Taker {
    std::uint64_t rows = 0;
    std::uint64_t torn = 0;
    std::uint64_t out_of_order = 0;
    std::uint64_t misplaced = 0;
    std::int64_t last = -1;

    void run(Lane& lane, Waiter& waiter, const std::atomic<bool>& done, std::uint64_t seed) {
        Rng random(seed);
        std::vector<LaneRecord> scratch(128);
        while (true) {
            const bool last_look = done.load();
            const std::span<LaneRecord> into(scratch.data(), 1 + pick(random, scratch.size()));
            const std::size_t taken =
                lane.consume(into, Lane::NO_LIMIT, [&](auto records) { look(records); });
            if (lane.take_holes() != nullptr) lane.give_holes();
            if (taken != 0) waiter.reset();
            else if (last_look) return;
            else waiter.idle([&] { return !lane.empty() || done.load(); });
            if (chance(random, 2)) std::this_thread::yield();
        }
    }
    void look(std::span<const LaneRecord> records) {
        for (const LaneRecord& record : records) {
            ++rows;
            torn += !is_whole(record);
            out_of_order += record.id <= last;
            last = record.id;
        }
    }
};

/// Reads the counts all the time and holds them against each other.
struct Auditor {
    std::uint64_t wrong = 0;

    void run(const Lane& lane, const std::atomic<bool>& done, std::size_t in_hand) {
        LaneCounts last;
        const std::uint64_t most = 2 * lane.capacity() + in_hand;
        while (!done) {
            const LaneCounts now = lane.counts();
            wrong += now.offered != now.applied + now.rejected + now.dropped_oldest +
                                        now.dropped_newest + now.in_flight;
            wrong += now.in_flight > most;  // also: it is not below zero
            wrong += now.offered < last.offered || now.applied < last.applied ||
                     now.dropped_oldest < last.dropped_oldest;
            wrong += now.fill_ratio < 0.0 || now.fill_ratio > 1.0;
            const std::uint64_t applied = lane.applied();
            wrong += applied > lane.counts().pushed;
            last = now;
            std::this_thread::yield();  // or, on few cores, the others get no time
        }
    }
};

struct Outcome {
    Taker taker;
    Auditor auditor;
    LaneCounts counts;
    std::uint64_t offered = 0;
};

/// `change(lane)` is called all the time by a thread of its own.
template <class Change>
Outcome run_lane(std::size_t capacity, LanePolicy policy, std::int64_t rows, WaitKind kind,
                 std::size_t batch_max, Change&& change) {
    Lane lane(capacity, policy);
    Waiter waiter(kind);
    std::atomic<bool> pushed_all{false};
    std::atomic<bool> done{false};
    Outcome outcome;
    std::thread worker([&] { outcome.taker.run(lane, waiter, pushed_all, capacity); });
    std::thread auditor([&] { outcome.auditor.run(lane, done, 2'000); });
    std::thread changer([&] {
        while (!done) {
            change(lane);
            std::this_thread::yield();
        }
    });
    Rng random(17 + capacity);
    for (std::int64_t next = 0; next < rows;) {
        const std::vector<LaneRecord> records = numbered(next, 1 + pick(random, batch_max));
        const LanePush pushed = lane.push(records, NO_DEADLINE, [&] { waiter.notify(); });
        waiter.notify();
        outcome.offered += pushed.taken + pushed.dropped;
        next += static_cast<std::int64_t>(records.size());
    }
    pushed_all = true;
    waiter.notify();
    worker.join();
    done = true;
    changer.join();
    auditor.join();
    outcome.counts = lane.counts();
    return outcome;
}

void check(const Outcome& outcome) {
    CHECK(outcome.taker.torn == 0);
    CHECK(outcome.taker.out_of_order == 0);
    CHECK(outcome.auditor.wrong == 0);
    CHECK(outcome.counts.offered == outcome.offered);
    CHECK(outcome.counts.applied == outcome.taker.rows);
    CHECK(outcome.counts.in_flight == 0);
    CHECK(outcome.counts.applied + outcome.counts.dropped_oldest +
              outcome.counts.dropped_newest == outcome.counts.offered);
}

}  // namespace

TEST_CASE("a lane that blocks hands over every row", "[engine][lane][threads]") {
    const WaitKind kind = GENERATE(WaitKind::park, WaitKind::backoff);
    const std::size_t capacity = GENERATE(1U, 5U, 256U);
    const std::int64_t rows = capacity <= 5 ? 4'000 : 60'000;
    const Outcome outcome =
        run_lane(capacity, LanePolicy::block, rows, kind, 100, [](const Lane&) {});
    check(outcome);
    CHECK(outcome.counts.dropped_oldest + outcome.counts.dropped_newest == 0);
    CHECK(outcome.taker.last + 1 == static_cast<std::int64_t>(outcome.taker.rows));
}

TEST_CASE("a lane that drops loses nothing else", "[engine][lane][threads]") {
    const LanePolicy policy = GENERATE(LanePolicy::drop_newest, LanePolicy::drop_oldest);
    const std::size_t capacity = GENERATE(1U, 3U, 64U, 1'024U);
    check(run_lane(capacity, policy, 100'000, WaitKind::park, 100, [](const Lane&) {}));
}

TEST_CASE("the policy changes all the time while rows flow", "[engine][lane][threads]") {
    const std::size_t capacity = GENERATE(1U, 2U, 8U, 200U);
    Rng random(capacity);
    const Outcome outcome =
        run_lane(capacity, LanePolicy::block, 60'000, WaitKind::park, 20,
                 [&](Lane& lane) { lane.set_policy(POLICIES[pick(random, 3)]); });
    check(outcome);
}

TEST_CASE("block and a switch to another queue lose nothing", "[engine][lane][threads]") {
    // drop_oldest for moments only: what it drops is counted, everything else must arrive.
    const std::size_t capacity = GENERATE(2U, 64U);
    int turn = 0;
    const Outcome outcome = run_lane(capacity, LanePolicy::block, 60'000, WaitKind::backoff, 8,
                                     [&](Lane& lane) {
                                         lane.set_policy(++turn % 4 == 0 ? LanePolicy::drop_oldest
                                                                         : LanePolicy::block);
                                     });
    check(outcome);
    CHECK(outcome.counts.dropped_newest == 0);
}

TEST_CASE("what was dropped is known before the row behind it is taken",
          "[engine][lane][threads]") {
    const std::size_t capacity = GENERATE(1U, 7U, 64U);
    constexpr std::int64_t ROWS = 60'000;
    Lane lane(capacity, LanePolicy::drop_newest);
    std::atomic<bool> pushed_all{false};
    std::thread feed([&] {
        Rng random(23);
        std::int64_t next = 0;
        while (next < ROWS) {
            const std::size_t rows = 1 + pick(random, 2 * capacity);
            lane.push(numbered(next, rows));
            next += static_cast<std::int64_t>(rows);
            if (chance(random, 20)) std::this_thread::yield();
        }
        lane.set_policy(LanePolicy::block);  // a row behind everything that was dropped
        lane.push(numbered(next, 1), NO_DEADLINE, [] {});
        pushed_all = true;
    });
    std::vector<std::vector<LaneHole>> known(LANE_SYMBOLS);
    std::vector<LaneRecord> scratch(2 * capacity);
    std::int64_t next = 0;  // number of the row that comes unless it was dropped
    std::int64_t dropped = 0;
    std::int64_t unknown = 0;
    for (bool last_look = false; !last_look;) {
        last_look = pushed_all.load();
        const std::uint64_t limit = lane.pushed();  // before the holes, as a worker does
        if (lane.hole_position() <= lane.taken()) {
            const HoleTable* const holes = lane.take_holes();
            last_look = last_look && holes != nullptr;
            if (holes == nullptr) continue;
            holes->each([&](const LaneHole& hole) {
                known[static_cast<std::size_t>(hole.symbol)].push_back(hole);
            });
            lane.give_holes();
        }
        const std::size_t rows = lane.consume(
            scratch, std::min(limit, lane.hole_position()),
            [&](std::span<const LaneRecord> records) {
                for (const LaneRecord& record : records) {
                    for (; next < record.id; ++next) {
                        ++dropped;
                        const LaneRecord lost = numbered_record(next);
                        const auto& holes = known[static_cast<std::size_t>(lost.symbol)];
                        // Rather the newest: there are many.
                        if (std::none_of(holes.rbegin(), holes.rend(), [&](const LaneHole& hole) {
                                return hole.time_min <= lost.time && hole.time_max >= lost.time;
                            }))
                            ++unknown;
                    }
                    next = record.id + 1;
                }
            });
        last_look = last_look && rows == 0 && lane.empty();
    }
    feed.join();
    CHECK(dropped > 100);
    CHECK(unknown == 0);
}
