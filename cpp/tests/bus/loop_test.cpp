#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/log_replay.hpp"
#include "klineagg/bus/logged.hpp"
#include "klineagg/bus/subscriber.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;

namespace {

void send(Publisher& publisher, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
        publisher.publish(Checked::of(publisher.next_sequence()));
}

}  // namespace

TEST_CASE("a loop over batches has every record, and ends by its timeout", "[bus]") {
    TestFolder at;
    Publisher publisher(at.folder(), "ticks", "a", checked_type());
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    send(publisher, 2500);
    std::uint64_t next = 1;
    std::vector<std::size_t> sizes;
    for (const auto& batch : subscriber.batches<Checked>(0)) {
        for (const Checked& record : batch) {
            CHECK(record.is_own());
            CHECK(record.header.sequence == next++);
        }
        sizes.push_back(batch.size());
    }
    CHECK(sizes == std::vector<std::size_t>{1024, 1024, 452});
    send(publisher, 3);  // a later loop goes on
    for (const auto& batch : subscriber.batches<Checked>(0, 2)) next += batch.size();
    CHECK(next == 2504);
}

TEST_CASE("a callback is called until another thread stops it", "[bus][threads]") {
    TestFolder at;
    Publisher publisher(at.folder(), "ticks", "a", checked_type());
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    std::atomic<std::uint64_t> got{0};
    std::thread receiver([&] {
        subscriber.run<Checked>([&](std::span<const Checked> batch) { got += batch.size(); });
    });
    for (int i = 0; i < 100; ++i) send(publisher, 10);
    while (got != 1000) std::this_thread::yield();
    subscriber.stop();
    receiver.join();
    send(publisher, 1);
    subscriber.run<Checked>([&](std::span<const Checked> batch) { got += batch.size(); });
    CHECK(got == 1000);  // a stop stays
}

TEST_CASE("what a callback throws ends the loop behind its batch", "[bus]") {
    TestFolder at;
    Publisher publisher(at.folder(), "ticks", "a", checked_type());
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    send(publisher, 5);
    CHECK_THROWS_AS(subscriber.run<Checked>([](const auto&) { throw std::runtime_error("no"); }),
                    std::runtime_error);
    CHECK(subscriber.positions().at("a") == 6);
}

TEST_CASE("history is asked for by sequence, by time of publishing, or by both", "[bus]") {
    TestFolder at;
    TestFolder root;
    LoggedPublisher publisher(at.folder(), "ticks", "a", checked_type(), root.path());
    std::vector<Checked> records(100);
    for (int i = 0; i < 5; ++i) {  // of one time each
        publisher.publish(reinterpret_cast<const std::byte*>(records.data()), records.size());
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const auto replay = [&](const ReplayRange& range) {
        LogReplay log(log_directory(root.path(), "ticks", "a"), checked_type(), range);
        std::vector<std::byte> bytes;
        while (log.next(bytes)) {
        }
        std::vector<MessageHeader> headers(bytes.size() / sizeof(Checked));
        for (std::size_t i = 0; i < headers.size(); ++i)
            std::memcpy(&headers[i], bytes.data() + i * sizeof(Checked), sizeof(MessageHeader));
        return headers;
    };
    const auto all = replay({});
    REQUIRE(all.size() == 500);
    const TimeNs second = all[100].publish_time;
    const TimeNs fourth = all[300].publish_time;
    REQUIRE(all[0].publish_time < second);
    REQUIRE(all[299].publish_time < fourth);
    const auto between = replay({.start_time = second, .end_time = fourth});
    REQUIRE(between.size() == 200);  // the start is in it, the end is not
    CHECK(between.front().sequence == 101);
    CHECK(between.back().sequence == 300);
    const auto both = replay({.first = 150, .end = 1000, .start_time = second, .end_time = fourth});
    REQUIRE(both.size() == 151);
    CHECK(both.front().sequence == 150);
    CHECK(replay({.start_time = all.back().publish_time + 1}).empty());
    CHECK(replay({.start_time = fourth, .end_time = second}).empty());
}
