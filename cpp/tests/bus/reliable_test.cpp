#include "klineagg/bus/reliable.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/error.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;
using klineagg::test::chance;
using klineagg::test::Rng;

namespace {

ReliableSubscriberOptions named(const std::string& name) {
    ReliableSubscriberOptions options;
    options.subscriber.name = name;
    return options;
}

/// A reliable subscriber in a thread of its own, which is there when the constructor returns.
class Reader {
public:
    Reader(const TestFolder& place, ReliableSubscriberOptions options)
        : subscriber_(place.folder(), "orders", checked_type(), std::move(options)),
          thread_([this] { run(); }) {}
    ~Reader() { end(); }
    std::vector<std::uint64_t> end() {
        over_.store(true);
        if (thread_.joinable()) thread_.join();
        return sequences_;
    }
    [[nodiscard]] ReliableSubscriber& subscriber() { return subscriber_; }
    [[nodiscard]] bool all_whole() const { return whole_; }

private:
    void run() {
        std::vector<Checked> some(64);
        while (!over_.load()) {
            (void)subscriber_.wait(engine::deadline_after(5'000'000));
            const std::size_t count = subscriber_.receive(std::span<Checked>(some));
            for (std::size_t i = 0; i < count; ++i) {
                sequences_.push_back(some[i].header.sequence);
                whole_ = whole_ && some[i].is_own();
            }
        }
    }

    ReliableSubscriber subscriber_;
    std::vector<std::uint64_t> sequences_;
    bool whole_ = true;
    std::atomic<bool> over_{false};
    std::thread thread_;
};

ReliableOptions within(DurationNs timeout_ns, int retries) {
    ReliableOptions options;
    options.timeout_ns = timeout_ns;
    options.retries = retries;
    return options;
}

}  // namespace

TEST_CASE("of lossy messages each arrives once, or its sender is told", "[bus][reliable]") {
    const int retries = GENERATE(1, 20);
    const TestFolder place;
    constexpr std::uint64_t COUNT = 3'000;
    Rng rng(static_cast<std::uint64_t>(retries));
    std::atomic<std::uint64_t> dropped{0};
    ReliableSubscriberOptions lossy = named("risk");
    lossy.drop = [&](std::uint64_t) {
        const bool lost = chance(rng, 10);
        dropped += lost ? 1U : 0U;
        return lost;
    };
    Reader reader(place, std::move(lossy));
    // Long enough for a reader on a loaded machine, so that what is lost is what `drop` lost.
    ReliablePublisher publisher(place.folder(), "orders", "desk", checked_type(),
                                within(250'000'000, retries));
    std::set<std::uint64_t> delivered;
    std::set<std::uint64_t> failed;
    std::size_t outcomes = 0;
    for (std::uint64_t i = 1; i <= COUNT; ++i) {
        const Checked record = Checked::of(i);
        const std::uint64_t sequence = publisher.send(
            reinterpret_cast<const std::byte*>(&record), [&](const Delivery& delivery) {
                (delivery.delivered ? delivered : failed).insert(delivery.sequence);
                ++outcomes;
            });
        REQUIRE(sequence == i);
    }
    REQUIRE(publisher.flush(engine::deadline_after(120 * NS_PER_SECOND)));
    publisher.close();
    const std::vector<std::uint64_t> received = reader.end();
    const std::set<std::uint64_t> once(received.begin(), received.end());
    CHECK(dropped > COUNT / 20);
    CHECK(reader.all_whole());
    CHECK(received.size() == once.size());
    CHECK(outcomes == COUNT);
    CHECK(delivered.size() + failed.size() == COUNT);
    CHECK(publisher.delivered() == delivered.size());
    CHECK(publisher.failed() == failed.size());
    CHECK(std::includes(once.begin(), once.end(), delivered.begin(), delivered.end()));
    if (retries == 20) {
        CHECK(delivered.size() == COUNT);
        CHECK(publisher.repeated() >= dropped);
    } else {
        CHECK_FALSE(failed.empty());  // two losses in a row of one message
    }
}

TEST_CASE("named, counted and all acknowledgers", "[bus][reliable]") {
    const TestFolder place;
    Reader a(place, named("a"));
    Reader b(place, named("b"));
    const Checked record = Checked::of(1);
    ReliableOptions options = within(30 * NS_PER_SECOND, 0);
    const auto sent = [&](const ReliableOptions& how) {
        ReliablePublisher publisher(place.folder(), "orders", "desk", checked_type(), how);
        return publisher.publish(record);
    };
    options.acks = 2;
    CHECK(sent(options) == 1);
    options.all = true;
    CHECK(sent(options) == 2);
    options.names = {"a", "b"};
    CHECK(sent(options) == 3);
    options = within(20'000'000, 1);
    options.names = {"a", "web"};
    try {
        (void)sent(options);
        FAIL("nobody called web is there");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::delivery_failed);
        CHECK(std::string(error.what()).find("sent 2 times; not acknowledged by web") !=
              std::string::npos);
    }
    options.names.clear();
    options.acks = 3;
    CHECK_THROWS_AS(sent(options), Error);
    options.acks = 0;
    CHECK_THROWS_AS(sent(options), Error);
}

TEST_CASE("what is pending when a publisher closes has failed", "[bus][reliable]") {
    const TestFolder place;
    ReliablePublisher publisher(place.folder(), "orders", "desk", checked_type(),
                                within(600 * NS_PER_SECOND, 0));
    const Checked record = Checked::of(1);
    std::vector<Delivery> told;
    const auto* const bytes = reinterpret_cast<const std::byte*>(&record);
    publisher.send(bytes, [&](const Delivery& delivery) { told.push_back(delivery); });
    CHECK(publisher.pending() == 1);
    CHECK_FALSE(publisher.flush(engine::deadline_after(1'000'000)));
    publisher.close();
    publisher.close();
    REQUIRE(told.size() == 1);
    CHECK_FALSE(told[0].delivered);
    CHECK(told[0].missing_count == 1);
    CHECK_THROWS_AS(publisher.send(bytes, {}), Error);
}

TEST_CASE("a full table makes senders wait, and nothing is lost by it", "[bus][reliable]") {
    const TestFolder place;
    Reader reader(place, named("risk"));
    ReliableOptions options = within(5 * NS_PER_SECOND, 3);
    options.pending_max = 4;
    ReliablePublisher publisher(place.folder(), "orders", "desk", checked_type(), options);
    std::vector<std::thread> senders;
    for (int thread = 0; thread < 3; ++thread) {
        senders.emplace_back([&] {
            for (int i = 0; i < 100; ++i) {
                const Checked record = Checked::of(0);
                publisher.send(reinterpret_cast<const std::byte*>(&record), {});
            }
        });
    }
    for (std::thread& sender : senders) sender.join();
    REQUIRE(publisher.flush(engine::deadline_after(60 * NS_PER_SECOND)));
    CHECK(publisher.delivered() == 300);
    CHECK(reader.end().size() == 300);
}

TEST_CASE("a forked child leaves its parent's publisher alone", "[bus][reliable]") {
    const TestFolder place;
    Reader reader(place, named("risk"));
    auto publisher = std::make_unique<ReliablePublisher>(
        place.folder(), "orders", "desk", checked_type(), within(30 * NS_PER_SECOND, 0));
    const pid_t child = fork();
    if (child == 0) {
        publisher.reset();
        _exit(7);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 7);
    CHECK(publisher->publish(Checked::of(1)) == 1);
}

TEST_CASE("a tracker gives what a set of all sequences gives", "[bus]") {
    Rng rng(33);
    SequenceTracker tracker(1);
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 4'000; ++i) {
        const std::uint64_t high = seen.empty() ? 0 : *seen.rbegin();
        const std::uint64_t sequence =
            chance(rng, 50) ? high + 1 + klineagg::test::pick(rng, 3)
                            : 1 + klineagg::test::pick(rng, high + 1);
        const bool is_new = seen.insert(sequence).second;
        const Seen said = tracker.see(sequence);
        REQUIRE((said != Seen::duplicate) == is_new);
        REQUIRE((said == Seen::out_of_order) == (is_new && sequence <= high));
        REQUIRE((said == Seen::in_order) == (sequence == high + 1));
        REQUIRE(tracker.next() == *seen.rbegin() + 1);
        REQUIRE(tracker.missing_count() == *seen.rbegin() - seen.size());
        std::uint64_t end = 0;
        for (const auto& [first, last] : tracker.missing()) {
            REQUIRE((first > end && first < last));
            end = last;
        }
    }
    CHECK(tracker.missing().size() > 10);
}
