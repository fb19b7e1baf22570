// offered = accepted + dropped + rejected + in flight while everything about the engine changes.
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"
#include "gated_clock.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr int BATCHES = 200;
constexpr std::size_t ROWS = 700;
constexpr int CHANGES = 9;

/// Some rows are bad, some late.
Table batch(int number, std::size_t feed) {
    Table table;
    for (std::size_t i = 0; i < ROWS; ++i) {
        Trade trade;
        trade.time = WEDNESDAY + number * NS_PER_SECOND + static_cast<TimeNs>(i) * 1'000;
        if (i % 97 == 0) trade.time -= 3 * NS_PER_SECOND;
        trade.price = i % 89 == 0 ? std::nan("") : 100.0;
        trade.quantity = 1.0;
        table.add(static_cast<std::int32_t>(10 * feed + i % 7), trade);
    }
    return table;
}

bool balanced(const ProducerStats& stats) {
    return stats.offered == stats.accepted + stats.rejected_total() + stats.refused.total() +
                                stats.dropped_newest + stats.dropped_oldest + stats.in_flight;
}

/// Looks all the time; counts what is wrong, because only one thread may check.
struct Auditor {
    std::atomic<bool> over{false};
    int wrong = 0;
    std::uint64_t looks = 0;

    void run(const Producer& producer) {
        ProducerStats last;
        while (!over.load()) {
            const ProducerStats now = producer.stats();
            wrong += balanced(now) ? 0 : 1;
            wrong += now.offered < last.offered || now.dropped_oldest < last.dropped_oldest ||
                             now.dropped_newest < last.dropped_newest ||
                             now.refused.total() < last.refused.total()
                         ? 1
                         : 0;
            wrong += now.in_flight > now.offered ? 1 : 0;  // it is not below zero
            last = now;
            ++looks;
            std::this_thread::yield();
        }
    }
};

struct Feed {
    std::shared_ptr<Producer> producer;
    std::uint64_t offered = 0;
    std::uint64_t rejected = 0;
    std::uint64_t dropped = 0;
    std::uint64_t rows = 0;

    /// So many batches at least, and until so much has changed meanwhile.
    void run(std::size_t number, const std::atomic<int>& changes) {
        for (int i = 0; i < BATCHES || changes.load() < CHANGES; ++i) {
            const Table table = batch(i, number);
            rows += table.size();
            for (std::size_t from = 0; from < table.size();) {
                const PushResult result =
                    producer->push(table.view(from, table.size()), nullptr, 1'000'000);
                offered += result.settled_rows();
                rejected += result.rejected;
                dropped += result.dropped;
                from += result.settled_rows();
            }
        }
    }
};

}  // namespace

TEST_CASE("every row is accounted for at every moment while policies, gates and workers change",
          "[engine][stats]") {
    const auto clock = std::make_shared<GatedClock>(WEDNESDAY + NS_PER_HOUR);
    EngineOptions options;
    options.clock = clock;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.workers = 2;
    options.lane_capacity = 256;
    options.aggregator.late = LatePolicy::drop;
    options.aggregator.lateness_ns = 2 * NS_PER_HOUR;
    Engine engine(RollupPlan({Interval::parse("1s"), Interval::parse("1m")}), options);
    engine.start();
    std::vector<Feed> feeds(2);
    std::vector<Auditor> auditors(feeds.size());
    std::vector<std::thread> pushing;
    std::vector<std::thread> auditing;
    for (Feed& feed : feeds) feed.producer = engine.producer("feed");
    std::atomic<int> running{static_cast<int>(feeds.size())};
    std::atomic<int> changes{0};
    for (std::size_t i = 0; i < feeds.size(); ++i) {
        auditing.emplace_back([&, i] { auditors[i].run(*feeds[i].producer); });
        pushing.emplace_back([&, i] {
            feeds[i].run(i, changes);
            running.fetch_sub(1);
        });
    }
    constexpr engine::LanePolicy POLICIES[] = {
        engine::LanePolicy::block, engine::LanePolicy::drop_newest, engine::LanePolicy::drop_oldest};
    while (running.load() != 0) {
        ConfigChange change;
        change.policy = POLICIES[changes.load() % 3];
        (void)engine.reconfigure(change, NS_PER_MINUTE);
        clock->close();  // lanes fill, and the policy acts
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        clock->open();
        if (changes.load() % 4 == 3) engine.resize(1 + changes.load() / 4 % 3, NS_PER_MINUTE);
        changes.fetch_add(1);
    }
    for (std::thread& thread : pushing) thread.join();
    engine.flush();
    for (Auditor& auditor : auditors) auditor.over.store(true);
    for (std::thread& thread : auditing) thread.join();
    REQUIRE(changes.load() >= CHANGES);
    for (std::size_t i = 0; i < feeds.size(); ++i) {
        const ProducerStats stats = feeds[i].producer->stats();
        REQUIRE(auditors[i].wrong == 0);
        REQUIRE(auditors[i].looks > 0);
        REQUIRE(balanced(stats));
        REQUIRE(stats.in_flight == 0);
        REQUIRE(stats.offered == feeds[i].offered);
        REQUIRE(stats.offered == feeds[i].rows);
        REQUIRE(stats.rejected_total() == feeds[i].rejected);
        REQUIRE(stats.dropped_newest == feeds[i].dropped);
    }
    engine.stop();
}
