#include "klineagg/bus/delayed.hpp"

#include <atomic>
#include <cstring>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;

namespace {

/// `value[0]` of each record is `key`, the others tell which one it is.
Checked keyed(std::uint64_t key, std::uint64_t number) {
    Checked record;
    record.value[0] = key;
    record.value[1] = number;
    return record;
}

std::vector<Checked> batch_of(const Delayed& delayed) {
    std::vector<Checked> records(delayed.size());
    std::memcpy(records.data(), delayed.batch().data(), delayed.batch().size());
    return records;
}

DelayedOptions options(std::size_t size, DurationNs interval, const std::string& key = {}) {
    DelayedOptions made;
    made.batch_size = size;
    made.interval = interval;
    made.key = key;
    return made;
}

const RecordType& keyed_type() {
    static const RecordType type("Keyed", 1, sizeof(Checked),
                                 {{"key", 'u', 8, 1, 32}, {"rest", 'u', 8, 11, 40}});
    return type;
}

}  // namespace

TEST_CASE("a batch is due by its size, or by the age of its first record", "[bus]") {
    TestFolder at;
    Publisher publisher(at.folder(), "ticks", "a", checked_type());
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    Delayed delayed(subscriber, options(4, 200'000'000));
    CHECK_FALSE(delayed.collect(engine::deadline_after(0)));
    for (std::uint64_t i = 1; i <= 6; ++i) publisher.publish(Checked::of(i));
    REQUIRE(delayed.collect(engine::deadline_after(0)));
    CHECK(batch_of(delayed).size() == 4);
    CHECK(batch_of(delayed).back().is_own());
    delayed.clear();
    const auto start = engine::monotonic_ns();
    CHECK_FALSE(delayed.collect(start));  // two are there, and too young
    CHECK(delayed.size() == 2);
    REQUIRE(delayed.collect(engine::deadline_after(120 * NS_PER_SECOND)));
    CHECK(engine::monotonic_ns() - start >= 150'000'000);
    CHECK(batch_of(delayed).back().header.sequence == 6);
}

TEST_CASE("conflation keeps the latest record of each key", "[bus]") {
    TestFolder at;
    Publisher publisher(at.folder(), "quotes", "a", keyed_type());
    Subscriber subscriber(at.folder(), "quotes", keyed_type());
    CHECK_THROWS_AS(Delayed(subscriber, options(4, 0, "colour")), Error);
    Delayed delayed(subscriber, options(3, NS_PER_MINUTE, "key"));
    for (std::uint64_t i = 0; i < 20; ++i) publisher.publish(keyed(i % 2, i));
    CHECK_FALSE(delayed.collect(engine::deadline_after(0)));  // two keys, three make a batch
    CHECK(delayed.conflated() == 18);
    publisher.publish(keyed(7, 20));
    publisher.publish(keyed(8, 21));
    REQUIRE(delayed.collect(engine::deadline_after(0)));
    const auto records = batch_of(delayed);
    REQUIRE(records.size() == 3);
    CHECK(records[0].value[1] == 18);
    CHECK(records[1].value[1] == 19);
    CHECK(records[2].value[1] == 20);
    delayed.clear();
    CHECK_FALSE(delayed.collect(engine::deadline_after(0)));
    CHECK(delayed.size() == 1);  // nothing was dropped between two batches
}

TEST_CASE("a loop over delayed batches has every record, and ends by its timeout", "[bus]") {
    TestFolder at;
    Publisher publisher(at.folder(), "ticks", "a", checked_type());
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    Delayed delayed(subscriber, options(4, NS_PER_MINUTE));
    std::uint64_t next = 1;
    const auto loop = [&] {
        std::vector<std::size_t> sizes;
        for (const auto& batch : delayed.batches<Checked>(0)) {
            for (const Checked& record : batch) {
                CHECK(record.is_own());
                CHECK(record.header.sequence == next++);
            }
            sizes.push_back(batch.size());
        }
        return sizes;
    };
    const auto send = [&](std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i)
            publisher.publish(Checked::of(publisher.next_sequence()));
    };
    send(10);
    CHECK(loop() == std::vector<std::size_t>{4, 4});
    CHECK(delayed.size() == 2);  // not due yet, and not lost
    send(3);
    CHECK(loop() == std::vector<std::size_t>{4});
    struct Other {
        MessageHeader header;
        std::uint64_t value = 0;
    };
    CHECK_THROWS_AS(delayed.batches<Other>(0), Error);
}

TEST_CASE("a delayed loop that is left does not get its batch again", "[bus]") {
    TestFolder at;
    Publisher publisher(at.folder(), "ticks", "a", checked_type());
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    Delayed delayed(subscriber, options(4, NS_PER_MINUTE));
    for (std::uint64_t i = 1; i <= 12; ++i) publisher.publish(Checked::of(i));
    for (const auto& batch : delayed.batches<Checked>(0)) {
        CHECK(batch.front().header.sequence == 1);
        break;
    }
    CHECK_THROWS_AS(delayed.run<Checked>([](std::span<const Checked> batch) {
        CHECK(batch.front().header.sequence == 5);
        throw std::runtime_error("no");
    }),
                    std::runtime_error);
    REQUIRE(delayed.collect(engine::deadline_after(0)));
    CHECK(batch_of(delayed).front().header.sequence == 9);
    delayed.clear();
    CHECK_FALSE(delayed.collect(engine::deadline_after(0)));
}

TEST_CASE("a delayed callback is called until another thread stops it", "[bus][threads]") {
    TestFolder at;
    Publisher publisher(at.folder(), "quotes", "a", keyed_type());
    Subscriber subscriber(at.folder(), "quotes", keyed_type());
    Delayed delayed(subscriber, options(100, 1'000'000, "key"));
    std::atomic<std::uint64_t> last{0};
    std::atomic<std::uint64_t> got{0};
    std::thread receiver([&] {
        delayed.run<Checked>([&](std::span<const Checked> batch) {
            got += batch.size();
            for (const Checked& record : batch) last = record.value[1];
        });
    });
    for (std::uint64_t i = 1; i <= 500; ++i) publisher.publish(keyed(1, i));
    while (last != 500) std::this_thread::yield();
    delayed.stop();
    receiver.join();
    CHECK(got + delayed.conflated() == 500);
    for (std::uint64_t i = 0; i < 200; ++i) publisher.publish(keyed(i, i));
    delayed.run<Checked>([](const auto&) { FAIL("a stop stays"); });
    REQUIRE(delayed.collect(engine::deadline_after(0)));  // nothing was lost by the stop
    CHECK(delayed.size() == 100);
}
