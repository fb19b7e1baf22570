#include "klineagg/bus/cleanup.hpp"

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;

namespace {

using Names = std::vector<std::string>;

std::unique_ptr<Publisher> make(const TestFolder& at, const std::string& name,
                                std::size_t records = 64, const std::string& topic = "ticks") {
    PublisherOptions options;
    options.ring_bytes = checked_bytes(records);
    return std::make_unique<Publisher>(at.folder(), topic, name, checked_type(), options);
}

void send(Publisher& publisher, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
        publisher.publish(Checked::of(publisher.next_sequence()));
}

/// Comes, sends, dies, and its segment is removed.
void come_and_go(const TestFolder& at, std::uint64_t count, std::size_t records = 64) {
    send(*make(at, "a", records), count);
    Topic topic(at.folder(), "ticks");
    REQUIRE(remove_orphans(topic, 0) == 1);
}

std::size_t drain(Subscriber& subscriber) {
    std::vector<Checked> some(1000);
    std::size_t all = 0;
    while (const std::size_t count = subscriber.receive(std::span<Checked>(some))) all += count;
    return all;
}

bool is_there(const TestFolder& at, const std::string& file) {
    return std::filesystem::exists(at.path() + "/" + file);
}

}  // namespace

TEST_CASE("what was in rings that were removed before anybody looked is counted as lost",
          "[bus][takeover]") {
    TestFolder at;
    Subscriber first(at.folder(), "ticks", checked_type());
    come_and_go(at, 10);
    Subscriber second(at.folder(), "ticks", checked_type());  // between two publishers
    come_and_go(at, 7, 16);
    Subscriber third(at.folder(), "ticks", checked_type());
    const auto publisher = make(at, "a");
    send(*publisher, 5);
    Subscriber last(at.folder(), "ticks", checked_type());
    CHECK(drain(first) == 5);
    CHECK(first.lost() == 17);
    CHECK(drain(second) == 5);
    CHECK(second.lost() == 7);
    CHECK(drain(third) == 5);
    CHECK(third.lost() == 0);
    send(*publisher, 1);
    CHECK(drain(last) == 1);
    CHECK(last.lost() == 0);
}

TEST_CASE("a note of an earlier version says where a sequence goes on", "[bus][takeover]") {
    TestFolder at;
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    come_and_go(at, 10);
    const std::string note = at.path() + "/ticks@a.last";
    std::filesystem::remove(note);
    {
        std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(note.c_str(), "w"),
                                                             std::fclose);
        std::fputs("11 3\n", file.get());
    }
    const auto publisher = make(at, "a");
    CHECK(publisher->next_sequence() == 11);
    CHECK(publisher->generation() == 4);
    send(*publisher, 1);
    CHECK(drain(subscriber) == 1);
}

TEST_CASE("a publisher's start removes what the dead of all topics left", "[bus]") {
    TestFolder at;
    send(*make(at, "a", 64, "one"), 4);
    send(*make(at, "b", 64, "two"), 9);
    const auto living = make(at, "c", 64, "two");
    PublisherOptions options;
    options.ring_bytes = checked_bytes(64);
    {
        const Publisher early(at.folder(), "three", "d", checked_type(), options);
        CHECK(is_there(at, "one@a.ring"));  // they may come again
    }
    options.orphan_after = 0;
    const Publisher other(at.folder(), "three", "e", checked_type(), options);
    CHECK_FALSE(is_there(at, "one@a.ring"));
    CHECK_FALSE(is_there(at, "two@b.ring"));
    CHECK_FALSE(is_there(at, "three@d.ring"));
    CHECK(is_there(at, "two@c.ring"));
    CHECK(at.folder().topics() == Names{"three", "two"});
    CHECK(make(at, "a", 64, "one")->next_sequence() == 5);
    CHECK(make(at, "b", 64, "two")->next_sequence() == 10);
}

TEST_CASE("a topic that somebody waits at stays where it is", "[bus]") {
    TestFolder at;
    send(*make(at, "a"), 3);
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    CHECK(clean_folder(at.folder(), 0) == 1);  // the ring
    CHECK(forget_sequences(at.folder(), 0) == 0);
    CHECK(is_there(at, "ticks.topic"));
    CHECK(is_there(at, "ticks@a.last"));
    const auto publisher = make(at, "a");
    REQUIRE(publisher->topic().subscribers().size() == 1);  // both have the same one
    CHECK(publisher->next_sequence() == 4);
    send(*publisher, 2);
    CHECK(subscriber.wait(engine::deadline_after(10 * NS_PER_SECOND)));
    CHECK(drain(subscriber) == 2);
    CHECK(subscriber.lost() == 0);
}

TEST_CASE("sequences are forgotten when nobody has their topic open, and not before", "[bus]") {
    TestFolder at;
    send(*make(at, "a"), 3);
    CHECK(clean_folder(at.folder(), 0) == 2);  // ring and control segment
    CHECK(is_there(at, "ticks@a.last"));
    CHECK(forget_sequences(at.folder(), 3600 * NS_PER_SECOND) == 0);
    CHECK(is_there(at, "ticks@a.last"));
    CHECK(forget_sequences(at.folder(), 0) == 1);
    CHECK(std::filesystem::is_empty(at.path()));
    CHECK(make(at, "a")->next_sequence() == 1);
}

TEST_CASE("of publishers that start at once, no more than the topic takes", "[bus][threads]") {
    for (int round = 0; round < 20; ++round) {
        TestFolder at;
        std::atomic<int> ready{0};
        std::atomic<int> refused{0};
        std::vector<std::unique_ptr<Publisher>> made(6);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < made.size(); ++i) {
            threads.emplace_back([&, i] {
                PublisherOptions options;
                options.ring_bytes = checked_bytes(16);
                options.publishers_max = 2;
                ++ready;
                while (ready != 6) std::this_thread::yield();
                try {
                    made[i] = std::make_unique<Publisher>(at.folder(), "ticks",
                                                          "p" + std::to_string(i),
                                                          checked_type(), options);
                } catch (const Error& error) {
                    refused += error.code() == ErrorCode::too_many_publishers ? 1 : 100;
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        CHECK(refused == 4);
    }
}
