#include "klineagg/bus/logged.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/error.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;
using klineagg::test::error_of;

namespace {

constexpr std::uint64_t TO_THE_END = std::numeric_limits<std::uint64_t>::max();

std::vector<Checked> batch(std::uint64_t first, std::size_t count) {
    std::vector<Checked> records;
    for (std::size_t i = 0; i < count; ++i) records.push_back(Checked::of(first + i));
    return records;
}

void send(LoggedPublisher& publisher, std::size_t count) {
    const auto records = batch(publisher.publisher().next_sequence(), count);
    publisher.publish(reinterpret_cast<const std::byte*>(records.data()), count);
}

std::vector<Checked> replay(const std::string& root, std::uint64_t first,
                            std::uint64_t end = TO_THE_END) {
    LogReplay log(log_directory(root, "ticks", "a"), checked_type(), first, end);
    std::vector<std::byte> bytes;
    while (log.next(bytes)) {
    }
    std::vector<Checked> records(bytes.size() / sizeof(Checked));
    if (!records.empty()) std::memcpy(records.data(), bytes.data(), bytes.size());
    return records;
}

PublisherOptions small() {
    PublisherOptions options;
    options.ring_bytes = checked_bytes(16);
    return options;
}

}  // namespace

TEST_CASE("what is published is in the log, with the same bytes and numbers", "[bus]") {
    TestFolder at;
    TestFolder root;
    LoggedPublisher publisher(at.folder(), "ticks", "a", checked_type(), root.path(), small());
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    send(publisher, 5);
    std::vector<Checked> live(5);
    REQUIRE(subscriber.receive(std::span<Checked>(live)) == 5);
    send(publisher, 5000);  // several frames, many rounds of the ring
    const auto logged = replay(root.path(), 1);
    REQUIRE(logged.size() == 5005);
    for (std::uint64_t i = 0; i < 5005; ++i) {
        CHECK(logged[i].header.sequence == i + 1);
        CHECK(logged[i].is_own());
    }
    CHECK(std::memcmp(live.data(), logged.data(), sizeof(Checked)) == 0);
    CHECK(replay(root.path(), 10, 20).size() == 10);
    CHECK(replay(root.path(), 10, 20).front().header.sequence == 10);
    CHECK(replay(root.path(), 5006).empty());
    CHECK(logged_publishers(root.path(), "ticks") == std::vector<std::string>{"a"});
    const RecordType other("Other", 1, sizeof(Checked), {{"value", 'u', 8, 12, 32}});
    LogReplay wrong(log_directory(root.path(), "ticks", "a"), other, 1, TO_THE_END);
    std::vector<std::byte> bytes;
    CHECK_THROWS_AS(wrong.next(bytes), Error);
}

TEST_CASE("what was logged and not yet shown is shown by the successor", "[bus][takeover]") {
    TestFolder at;
    TestFolder root;
    const auto open = [&] {
        return std::make_unique<LoggedPublisher>(at.folder(), "ticks", "a", checked_type(),
                                                 root.path(), small());
    };
    open()->close();
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    {
        auto publisher = open();
        send(*publisher, 3);
        // As if it were killed between the log and the ring.
        auto lost = batch(4, 2);
        lost[0].header.sequence = 4;
        lost[1].header.sequence = 5;
        const auto* const bytes = reinterpret_cast<const std::byte*>(lost.data());
        const std::uint64_t hash = checked_type().hash();
        const auto schema = static_cast<std::uint16_t>(hash ^ (hash >> 16U) ^ (hash >> 32U) ^
                                                       (hash >> 48U));
        publisher->log().append_wait(wal::Topic::application, {bytes, 2 * sizeof(Checked)}, 2,
                                     engine::deadline_after(120 * NS_PER_SECOND), schema);
        publisher->close();
    }
    const auto successor = open();
    CHECK(successor->publisher().next_sequence() == 6);
    send(*successor, 1);
    std::vector<Checked> live(10);
    REQUIRE(subscriber.receive(std::span<Checked>(live)) == 6);
    for (std::uint64_t i = 0; i < 6; ++i) {
        CHECK(live[i].header.sequence == i + 1);
        CHECK(live[i].is_own());
    }
    CHECK(replay(root.path(), 1).size() == 6);
}

TEST_CASE("a ring that was lost begins where the log ends", "[bus]") {
    TestFolder root;
    {
        TestFolder before;
        LoggedPublisher publisher(before.folder(), "ticks", "a", checked_type(), root.path());
        send(publisher, 9);
    }
    TestFolder after;  // the machine has been started again
    LoggedPublisher publisher(after.folder(), "ticks", "a", checked_type(), root.path());
    CHECK(publisher.publisher().next_sequence() == 10);
    send(publisher, 1);
    CHECK(replay(root.path(), 9).size() == 2);
}

TEST_CASE("a forked child neither publishes nor logs in its parent's name", "[bus]") {
    TestFolder at;
    const std::string root = at.path() + "-log";
    {
        LoggedPublisher publisher(at.folder(), "ticks", "a", checked_type(), root, small());
        send(publisher, 3);
        const pid_t pid = fork();
        if (pid == 0) {
            (void)alarm(20);  // ends a child that waits for the log
            if (error_of([&] { send(publisher, 1); }).code() != ErrorCode::forked) _exit(4);
            publisher.close();
            _exit(0);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        CHECK(status == 0);
        send(publisher, 1);
        publisher.close();
        CHECK(error_of([&] { send(publisher, 1); }).code() == ErrorCode::bus_closed);
    }
    CHECK(replay(root, 1).size() == 4);
    const std::string file = root + "/file";
    std::ofstream(file) << "no folder";
    CHECK(error_of([&] {
              LoggedPublisher(at.folder(), "ticks", "b", checked_type(), file, small());
          }).code() == ErrorCode::wal_io);
    std::filesystem::remove_all(root);
}
