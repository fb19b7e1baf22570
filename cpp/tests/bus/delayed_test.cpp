#include "klineagg/bus/delayed.hpp"

#include <cstring>
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
