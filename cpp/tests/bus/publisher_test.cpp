#include "klineagg/bus/publisher.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/cleanup.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;

namespace {

PublisherOptions small(std::size_t records) {
    PublisherOptions options;
    options.ring_bytes = checked_bytes(records);
    return options;
}

std::unique_ptr<Publisher> make(const TestFolder& at, const std::string& name,
                                std::size_t records = 64) {
    return std::make_unique<Publisher>(at.folder(), "ticks", name, checked_type(), small(records));
}

void send(Publisher& publisher, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
        publisher.publish(Checked::of(publisher.next_sequence()));
}

SubscriberOptions options_of(const std::string& name,
                             engine::WaitKind wait = engine::WaitKind::park,
                             Start start = Start::latest) {
    SubscriberOptions options;
    options.name = name;
    options.wait = wait;
    options.start = start;
    return options;
}

std::vector<Checked> drain(Subscriber& subscriber) {
    std::vector<Checked> all;
    std::vector<Checked> some(50);
    while (const std::size_t count = subscriber.receive(std::span<Checked>(some)))
        all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
    return all;
}

ErrorCode error_of(const std::function<void()>& act) {
    try {
        act();
    } catch (const Error& error) {
        return error.code();
    }
    return ErrorCode::internal;
}

/// Runs in a child process, which ends without a word to anybody: no destructor runs.
pid_t child(const std::function<void()>& act) {
    const pid_t pid = fork();
    if (pid == 0) {
        try {
            act();
        } catch (...) {
            _exit(3);
        }
        _exit(0);
    }
    return pid;
}

}  // namespace

TEST_CASE("publishers of a topic are merged, each in its order", "[bus]") {
    TestFolder at;
    const auto a = make(at, "a");
    const auto b = make(at, "b");
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    send(*a, 5);
    send(*b, 3);
    send(*a, 2);
    std::uint64_t next_a = 1;
    std::uint64_t next_b = 1;
    for (const Checked& record : drain(subscriber)) {
        CHECK(record.is_own());
        CHECK(record.header.publish_time > 0);
        auto& next = name_of(record.header.publisher) == "a" ? next_a : next_b;
        CHECK(record.header.sequence == next++);
    }
    CHECK(next_a == 8);
    CHECK(next_b == 4);
    CHECK(subscriber.received() == 10);
    CHECK(subscriber.lost() == 0);
}

TEST_CASE("one living publisher a name, ten a topic, one record a topic", "[bus]") {
    TestFolder at;
    const auto first = make(at, "a");
    CHECK(error_of([&] { make(at, "a"); }) == ErrorCode::publisher_exists);
    const RecordType other("Checked", 2, sizeof(Checked), {{"value", 'u', 8, 12, 32}});
    CHECK(error_of([&] { Publisher(at.folder(), "ticks", "b", other); }) ==
          ErrorCode::record_mismatch);
    CHECK(error_of([&] { Subscriber(at.folder(), "ticks", other); }) ==
          ErrorCode::record_mismatch);
    std::vector<std::unique_ptr<Publisher>> more;
    for (int i = 1; i < 10; ++i) more.push_back(make(at, "p" + std::to_string(i)));
    CHECK(error_of([&] { make(at, "p10"); }) == ErrorCode::too_many_publishers);
    more.pop_back();
    CHECK_NOTHROW(make(at, "p10"));
    CHECK(error_of([&] { make(at, "no spaces"); }) == ErrorCode::bus_name);
    CHECK(error_of([&] { make(at, "../up"); }) == ErrorCode::bus_name);
    CHECK(error_of([&] { make(at, "seventeen-letters"); }) == ErrorCode::bus_name);
}

TEST_CASE("loans are written in place and shown as one", "[bus]") {
    TestFolder at;
    const auto publisher = make(at, "a", 16);
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    send(*publisher, 13);
    CHECK(drain(subscriber).size() == 13);
    auto loan = publisher->loan(6);  // over the end of the ring
    CHECK(loan.first == 14);
    CHECK(loan.pieces[0].size() == 2 * sizeof(Checked));
    CHECK(loan.pieces[1].size() == 4 * sizeof(Checked));
    std::uint64_t sequence = loan.first;
    for (const auto& piece : loan.pieces) {
        for (std::size_t i = 0; i < piece.size(); i += sizeof(Checked)) {
            const Checked record = Checked::of(sequence++);
            store_words(reinterpret_cast<Word*>(piece.data() + i),
                        reinterpret_cast<const std::byte*>(&record), sizeof(Checked) / 8);
        }
    }
    CHECK(error_of([&] { publisher->loan(1); }) == ErrorCode::loan_outstanding);
    CHECK(error_of([&] { send(*publisher, 1); }) == ErrorCode::loan_outstanding);
    CHECK(drain(subscriber).empty());
    CHECK(publisher->commit_loan(5) == 18);
    const auto records = drain(subscriber);
    REQUIRE(records.size() == 5);
    for (const Checked& record : records) CHECK(record.is_own());
    CHECK(error_of([&] { publisher->loan(9); }) == ErrorCode::batch_too_large);
    publisher->loan(8);
    CHECK(publisher->commit_loan(0) == 18);
    loan = publisher->loan(8);
    publisher->drop_loan(loan.number - 1);  // one that was settled before
    CHECK(error_of([&] { send(*publisher, 1); }) == ErrorCode::loan_outstanding);
    publisher->drop_loan(loan.number);
    publisher->loan(1);
    CHECK(publisher->commit_loan(0) == 18);
    CHECK(drain(subscriber).empty());
}

TEST_CASE("a successor goes on with the sequence in the next generation", "[bus][takeover]") {
    TestFolder at;
    auto publisher = make(at, "a");
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    send(*publisher, 5);
    publisher.reset();
    CHECK_FALSE(subscriber.sources()[0].alive);
    publisher = make(at, "a");
    CHECK(publisher->generation() == 2);
    CHECK(publisher->next_sequence() == 6);
    send(*publisher, 5);
    const auto records = drain(subscriber);
    REQUIRE(records.size() == 10);
    CHECK(records.back().header.sequence == 10);
    CHECK(subscriber.sources()[0].alive);
    CHECK(subscriber.lost() == 0);
}

TEST_CASE("a successor with another size takes the place, and nothing is lost", "[bus][takeover]") {
    TestFolder at;
    auto publisher = make(at, "a", 64);
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    Subscriber slow(at.folder(), "ticks", checked_type());
    send(*publisher, 5);
    CHECK(drain(subscriber).size() == 5);
    send(*publisher, 5);
    publisher.reset();
    publisher = make(at, "a", 16);
    CHECK(publisher->capacity() == 16);
    CHECK(publisher->generation() == 2);
    send(*publisher, 5);
    CHECK(drain(subscriber).size() == 10);  // of the old segment, then of the new one
    CHECK(subscriber.positions().at("a") == 16);
    send(*publisher, 30);  // the slow one has not read anything yet
    std::uint64_t received = 0;
    for (int i = 0; i < 3; ++i) {
        for (const Checked& record : drain(slow)) {
            CHECK(record.is_own());
            ++received;
        }
    }
    CHECK(received + slow.lost() == 45);
    CHECK(slow.lost() >= 19);
}

TEST_CASE("a reader that lags goes on with a successor of another size by itself",
          "[bus][takeover]") {
    const bool waits = GENERATE(false, true);
    TestFolder at;
    auto publisher = make(at, "a", 64);
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    send(*publisher, 5);
    publisher.reset();
    publisher = make(at, "a", 16);
    send(*publisher, 5);
    // The roster tells of the new ring while the old one is not drained.
    std::size_t received = 0;
    for (int i = 0; i < 5 && received < 10; ++i) {
        // A little at a time, as from Python, which looks for signals in between.
        if (waits) (void)subscriber.wait(engine::deadline_after(1'000'000));
        received += drain(subscriber).size();
    }
    CHECK(received == 10);
    CHECK(subscriber.lost() == 0);
    CHECK(subscriber.positions().at("a") == 11);
    publisher.reset();
    publisher = make(at, "a", 64);
    send(*publisher, 3);
    for (int i = 0; i < 5; ++i) received += drain(subscriber).size();
    CHECK(received == 13);
}

TEST_CASE("what was in rings that are gone before anybody looked is counted as lost",
          "[bus][takeover]") {
    TestFolder at;
    Subscriber before(at.folder(), "ticks", checked_type());
    auto publisher = make(at, "a", 64);
    send(*publisher, 10);
    Subscriber after(at.folder(), "ticks", checked_type());
    for (const std::size_t size : {std::size_t{16}, std::size_t{32}}) {
        publisher.reset();
        publisher = make(at, "a", size);
        send(*publisher, 10);
    }
    for (int i = 0; i < 5; ++i) {
        (void)drain(before);
        (void)drain(after);
    }
    CHECK(before.received() + before.lost() == 30);
    CHECK(before.lost() == 20);
    CHECK(after.received() + after.lost() == 20);
    Subscriber last(at.folder(), "ticks", checked_type());
    send(*publisher, 1);
    CHECK(drain(last).size() == 1);
    CHECK(last.lost() == 0);
}

TEST_CASE("a killed publisher is seen, also when its child lives on", "[bus][takeover]") {
    TestFolder at;
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    const pid_t pid = child([&] {
        const auto publisher = make(at, "a");
        send(*publisher, 7);
        const pid_t grandchild = fork();  // has the segment mapped, and must not hold its lock
        if (grandchild == 0) {
            pause();
            _exit(0);
        }
        (void)!write(ready[1], &grandchild, sizeof grandchild);
        pause();
    });
    pid_t grandchild = 0;
    REQUIRE(read(ready[0], &grandchild, sizeof grandchild) == sizeof grandchild);
    Subscriber subscriber(at.folder(), "ticks", checked_type(), options_of("s", engine::WaitKind::park, Start::oldest));
    CHECK(subscriber.sources()[0].alive);
    CHECK(error_of([&] { make(at, "a"); }) == ErrorCode::publisher_exists);
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    CHECK_FALSE(subscriber.sources()[0].alive);
    const auto successor = make(at, "a");
    CHECK(successor->next_sequence() == 8);
    CHECK(successor->generation() == 2);
    send(*successor, 1);
    CHECK(drain(subscriber).size() == 8);
    kill(grandchild, SIGKILL);
    close(ready[0]);
    close(ready[1]);
}

TEST_CASE("a forked child cannot publish in its parent's name", "[bus]") {
    TestFolder at;
    const auto publisher = make(at, "a");
    send(*publisher, 1);
    const pid_t pid = child([&] {
        if (error_of([&] { send(*publisher, 1); }) != ErrorCode::forked) _exit(4);
        publisher->close();  // what its destructor does
    });
    int status = 0;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
    CHECK(FileLock::is_locked(publisher->topic().ring_path("a")));
    CHECK_NOTHROW(send(*publisher, 1));
    CHECK(publisher->next_sequence() == 3);
}

TEST_CASE("a lock that a child inherited is none of its own", "[bus]") {
    TestFolder at;
    const Topic one(at.folder(), "one");
    const Topic other(at.folder(), "other");
    FileLock held = FileLock::try_lock(one.path());
    const pid_t pid = child([&] {
        // Gets the number of the file that was closed when the child was made.
        const FileLock own = FileLock::try_lock(other.path());
        held.release();
        if (!FileLock::is_locked(other.path())) _exit(5);
        if (!FileLock::is_locked(one.path())) _exit(6);
    });
    int status = 0;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
    CHECK(FileLock::is_locked(one.path()));
    held.release();
    CHECK_FALSE(FileLock::is_locked(one.path()));
}

TEST_CASE("orphans are removed at start, their sequence goes on", "[bus]") {
    TestFolder at;
    {
        const auto old = make(at, "old");
        send(*old, 9);
    }
    PublisherOptions options = small(64);
    options.orphan_after = 0;
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    {
        const Publisher other(at.folder(), "ticks", "other", checked_type(), options);
        CHECK(other.topic().publishers() == std::vector<std::string>{"other"});
        Topic topic(at.folder(), "ticks");
        CHECK(remove_orphans(topic, 0) == 0);
    }
    const auto again = make(at, "old");
    CHECK(again->next_sequence() == 10);
    CHECK(again->generation() == 2);
    send(*again, 2);
    subscriber.refresh();
    subscriber.refresh();
    CHECK(drain(subscriber).size() == 2);
    CHECK(subscriber.lost() == 0);
}

TEST_CASE("segments are their owner's only, of full size at once", "[bus]") {
    TestFolder at;
    const auto publisher = make(at, "a", 1024);
    struct stat status {};
    REQUIRE(stat(publisher->topic().ring_path("a").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
    CHECK(static_cast<std::size_t>(status.st_blocks) * 512 >= checked_bytes(1024));
    REQUIRE(stat(at.path().c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
    std::filesystem::permissions(at.path(), std::filesystem::perms::all);
    CHECK(error_of([&] { (void)at.folder(); }) == ErrorCode::bus_unavailable);
}

TEST_CASE("who waits is woken by another process, and sees its death", "[bus][threads]") {
    for (const auto kind :
         {engine::WaitKind::spin, engine::WaitKind::backoff, engine::WaitKind::park}) {
        TestFolder at;
        Subscriber subscriber(at.folder(), "ticks", checked_type(), options_of("s", kind));
        CHECK_FALSE(subscriber.wait(engine::deadline_after(5'000'000)));
        const pid_t pid = child([&] {
            const auto publisher = make(at, "a");
            for (int i = 0; i < 20; ++i) {
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
                send(*publisher, 1);
            }
        });
        std::vector<Checked> all;
        while (all.size() < 20 && subscriber.wait(engine::deadline_after(120 * NS_PER_SECOND))) {
            for (const Checked& record : drain(subscriber)) all.push_back(record);
        }
        CHECK(all.size() == 20);
        waitpid(pid, nullptr, 0);
        CHECK_FALSE(subscriber.sources()[0].alive);
    }
}

TEST_CASE("subscribers are listed while they live", "[bus]") {
    TestFolder at;
    const Topic topic(at.folder(), "ticks");
    const auto publisher = make(at, "a", 16);
    {
        Subscriber one(at.folder(), "ticks", checked_type(), options_of("one"));
        Subscriber two(at.folder(), "ticks", checked_type(), options_of("two"));
        for (int i = 0; i < 5; ++i) send(*publisher, 8);
        const auto received = drain(one).size();
        const auto listed = topic.subscribers();
        REQUIRE(listed.size() == 2);
        CHECK(listed[0].name == "one");
        CHECK(listed[0].pid == getpid());
        CHECK(listed[0].received == received);
        CHECK(listed[0].lost == 40 - received);
        CHECK(listed[1].received == 0);
    }
    CHECK(topic.subscribers().empty());
    const pid_t pid = child([&] {
        const Subscriber third(at.folder(), "ticks", checked_type(), options_of("three"));
        kill(getpid(), SIGKILL);
    });
    waitpid(pid, nullptr, 0);
    CHECK(topic.subscribers().empty());
}

TEST_CASE("how far a subscriber is behind is seen whether or not it looks", "[bus]") {
    TestFolder at;
    const Topic topic(at.folder(), "ticks");
    const auto lag = [&] {
        const auto listed = topic.subscribers();
        REQUIRE(listed.size() == 1);
        return std::pair{listed[0].behind, listed[0].fill};
    };
    const auto early = make(at, "early", 16);
    send(*early, 5);  // before it came: not its own
    Subscriber subscriber(at.folder(), "ticks", checked_type(), options_of("hangs"));
    CHECK(lag() == std::pair{std::uint64_t{0}, 0.0});
    send(*early, 4);
    CHECK(lag() == std::pair{std::uint64_t{4}, 0.25});
    for (int i = 0; i < 7; ++i) send(*early, 4);
    CHECK(lag() == std::pair{std::uint64_t{32}, 2.0});
    auto late = make(at, "late", 64);
    send(*late, 32);
    CHECK(lag() == std::pair{std::uint64_t{64}, 2.0});
    drain(subscriber);
    CHECK(lag() == std::pair{std::uint64_t{0}, 0.0});
    send(*late, 16);
    CHECK(lag() == std::pair{std::uint64_t{16}, 0.25});

    // A ring of another size goes on with the sequence: what came into it counts as well.
    late.reset();
    late = make(at, "late", 128);
    send(*late, 16);
    CHECK(lag() == std::pair{std::uint64_t{32}, 0.25});
    drain(subscriber);
    CHECK(lag() == std::pair{std::uint64_t{0}, 0.0});
}

TEST_CASE("publishers that come and go leave their places to others", "[bus]") {
    TestFolder at;
    const Topic topic(at.folder(), "ticks");
    Subscriber subscriber(at.folder(), "ticks", checked_type(), options_of("long"));
    for (std::size_t i = 0; i < 3 * PUBLISHERS_MAX; ++i) {
        const std::string name = "p" + std::to_string(i);
        {
            const auto publisher = make(at, name, 16);
            send(*publisher, 3);
            drain(subscriber);
            send(*publisher, 4);
            const auto listed = topic.subscribers();
            REQUIRE(listed.size() == 1);
            CHECK(listed[0].behind == 4);
            CHECK(listed[0].fill == 0.25);
            drain(subscriber);
        }
        std::filesystem::remove(topic.ring_path(name));
        subscriber.refresh();
    }
}

TEST_CASE("threads that share a publisher take turns", "[bus][threads]") {
    TestFolder at;
    const auto publisher = make(at, "a", 4096);
    Subscriber subscriber(at.folder(), "ticks", checked_type());
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < 500; ++i)
                publisher->publish(Checked::of(t * 1'000'000 + i));
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::uint64_t next = 1;
    std::vector<std::uint64_t> of_thread(4);
    for (const Checked& record : drain(subscriber)) {
        CHECK(record.header.sequence == next++);
        const std::uint64_t seed = record.value[0] * 0xf1de83e19937733du;  // the odd's inverse
        const std::uint64_t t = seed / 1'000'000;
        REQUIRE(t < 4);
        CHECK(record.is(seed));
        CHECK(seed % 1'000'000 == of_thread[t]++);
    }
    CHECK(next == 2001);
}
