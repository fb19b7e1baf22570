#include "klineagg/bus/resumable.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/logged.hpp"
#include "klineagg/error.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;
using klineagg::test::error_of;

namespace {

using Numbers = std::vector<std::uint64_t>;

Numbers range(std::uint64_t first, std::uint64_t last) {
    Numbers numbers;
    for (std::uint64_t i = first; i <= last; ++i) numbers.push_back(i);
    return numbers;
}

void send(LoggedPublisher& publisher, std::size_t count) {
    std::vector<Checked> records;
    for (std::size_t i = 0; i < count; ++i)
        records.push_back(Checked::of(publisher.publisher().next_sequence() + i));
    publisher.publish(reinterpret_cast<const std::byte*>(records.data()), count);
}

/// A topic whose publishers have rings of 64 records and logs.
struct Logged {
    TestFolder at;
    TestFolder logs;

    Logged() { std::filesystem::create_directories(logs.path()); }
    [[nodiscard]] std::unique_ptr<LoggedPublisher> publisher(const std::string& name = "a") const {
        PublisherOptions options;
        options.ring_bytes = checked_bytes(64);
        return std::make_unique<LoggedPublisher>(at.folder(), "ticks", name, checked_type(),
                                                 logs.path(), options);
    }
    [[nodiscard]] ResumableOptions options(std::uint64_t every = 1000) const {
        ResumableOptions options;
        options.log_root = logs.path();
        options.every = every;
        return options;
    }
    [[nodiscard]] ResumableOptions at_checkpoint(std::uint64_t every = 1000) const {
        ResumableOptions options = this->options(every);
        options.checkpoint = logs.path() + "/position.json";
        return options;
    }
    std::unique_ptr<Resumable> subscriber(const ResumableOptions& options) const {
        return std::make_unique<Resumable>(at.folder(), "ticks", checked_type(), options);
    }
};

Numbers numbers_of(const ResumedBatch& batch) {
    Numbers numbers;
    REQUIRE(batch.records<Checked>().size() == batch.count);
    for (const Checked& record : batch.records<Checked>()) {
        REQUIRE(record.is_own());
        numbers.push_back(record.header.sequence);
    }
    REQUIRE(batch.first == numbers.front());
    return numbers;
}

Numbers drain(Resumable& subscriber) {
    Numbers numbers;
    while (const auto batch = subscriber.receive(0)) {
        const Numbers some = numbers_of(*batch);
        numbers.insert(numbers.end(), some.begin(), some.end());
    }
    return numbers;
}

}  // namespace

TEST_CASE("a resumable subscriber joins the live ring without a hole, and catches up again",
          "[bus][resumable]") {
    const Logged topic;
    const auto publisher = topic.publisher();
    send(*publisher, 1000);  // the ring has moved on long ago
    const auto subscriber = topic.subscriber(topic.options(100));
    const auto first = subscriber->receive(0);
    REQUIRE(first);
    CHECK(numbers_of(*first) == range(1, 100));
    CHECK(first->is_replayed);
    send(*publisher, 60);  // while it replays
    CHECK(drain(*subscriber) == range(101, 1060));
    send(*publisher, 10);
    CHECK(drain(*subscriber) == range(1061, 1070));
    CHECK(subscriber->replayed() >= 1000);
    for (int i = 0; i < 20; ++i) send(*publisher, 50);  // it falls behind the ring
    CHECK(drain(*subscriber) == range(1071, 2070));
    CHECK(subscriber->positions() == Positions{{"a", 2071}});
    const auto other = topic.publisher("b");  // its first records leave the ring at once
    send(*other, 200);
    CHECK(drain(*subscriber) == range(1, 200));
    CHECK(subscriber->positions() == Positions{{"a", 2071}, {"b", 201}});
}

TEST_CASE("a restart goes on at the checkpoint and marks what was handed out", "[bus][resumable]") {
    const Logged topic;
    const auto publisher = topic.publisher();
    send(*publisher, 2600);
    const pid_t crashing = fork();
    if (crashing == 0) {
        const auto subscriber = topic.subscriber(topic.at_checkpoint(500));
        for (int i = 0; i < 4; ++i) subscriber->receive(0);  // 1,500 of 2,000 are processed
        _exit(0);  // no destructor runs
    }
    waitpid(crashing, nullptr, 0);
    CHECK(Checkpoint(topic.logs.path() + "/position.json").load() == Positions{{"a", 1501}});
    {
        const auto again = topic.subscriber(topic.at_checkpoint(700));
        Numbers numbers;
        while (const auto batch = again->receive(0)) {
            const Numbers some = numbers_of(*batch);
            for (std::size_t i = 0; i < some.size(); ++i)
                CHECK((some[i] <= 2000) == (i < batch->repeats));
            numbers.insert(numbers.end(), some.begin(), some.end());
        }
        CHECK(numbers == range(1501, 2600));
        CHECK(again->repeated() == 500);
        again->close();
        CHECK(error_of([&] { (void)again->receive(0); }).code() == ErrorCode::bus_closed);
    }
    send(*publisher, 7);
    const auto third = topic.subscriber(topic.at_checkpoint());
    CHECK(drain(*third) == range(2601, 2607));
    CHECK(third->repeated() == 0);
}

TEST_CASE("what a callback throws at comes again; a stop leaves a checkpoint", "[bus][resumable]") {
    const Logged topic;
    const auto publisher = topic.publisher();
    send(*publisher, 700);
    {
        const auto subscriber = topic.subscriber(topic.at_checkpoint(100));
        std::uint64_t got = 0;
        const auto fail_at = [&](std::uint64_t limit) {
            return [&got, limit](const ResumedBatch& batch) {
                if (batch.first > limit) throw std::runtime_error("no more");
                got += batch.count;
            };
        };
        CHECK_THROWS_AS(subscriber->run(fail_at(200), 0), std::runtime_error);
        CHECK(subscriber->positions() == Positions{{"a", 201}});
        CHECK_THROWS_AS(subscriber->run(fail_at(300), 0), std::runtime_error);
        CHECK(got == 300);
    }
    const auto again = topic.subscriber(topic.at_checkpoint(100));
    Numbers numbers;
    for (const ResumedBatch& batch : again->batches()) {  // without a limit of time: stop() ends it
        const Numbers some = numbers_of(batch);
        numbers.insert(numbers.end(), some.begin(), some.end());
        if (numbers.size() == 200) again->stop();
    }
    CHECK(numbers == range(301, 500));
    CHECK(Checkpoint(topic.logs.path() + "/position.json").load() == Positions{{"a", 501}});
}

TEST_CASE("what neither ring nor log has is an error, and then it goes on", "[bus][resumable]") {
    const Logged topic;
    auto publisher = topic.publisher();
    send(*publisher, 200);
    const auto subscriber = topic.subscriber(topic.options());
    CHECK(drain(*subscriber) == range(1, 200));
    std::filesystem::rename(topic.logs.path() + "/ticks@a", topic.logs.path() + "-gone");
    send(*publisher, 10);
    CHECK(drain(*subscriber) == range(201, 210));
    send(*publisher, 60);
    send(*publisher, 60);
    const Error hole = error_of([&] { (void)subscriber->receive(0); });
    CHECK(hole.code() == ErrorCode::resume_hole);
    const Numbers rest = drain(*subscriber);
    REQUIRE(!rest.empty());
    CHECK(rest == range(rest.front(), 330));
    CHECK(rest.front() > 211);
    publisher.reset();
    std::filesystem::remove_all(topic.logs.path() + "-gone");
}

TEST_CASE("a position that its publisher has never come to is an error, not silence",
          "[bus][resumable]") {
    const Logged topic;
    const auto publisher = topic.publisher();
    send(*publisher, 20);
    ResumableOptions options = topic.options();
    options.live.from = {{"a", 1000}};
    const auto subscriber = topic.subscriber(options);
    CHECK(error_of([&] { (void)subscriber->receive(0); }).code() == ErrorCode::resume_ahead);
    CHECK(subscriber->positions() == Positions{{"a", 1000}});
    CHECK(drain(*subscriber) == range(1, 20));
    options.live.from = {{"a", 21}};  // just behind the last one
    const auto exact = topic.subscriber(options);
    send(*publisher, 1);
    CHECK(drain(*exact) == range(21, 21));
}

TEST_CASE("options of a resumable subscriber that cannot be meant", "[bus][resumable]") {
    const Logged topic;
    ResumableOptions both = topic.at_checkpoint();
    both.live.from = {{"a", 1}};
    CHECK(error_of([&] { topic.subscriber(both); }).code() == ErrorCode::invalid_option);
    CHECK(error_of([&] { topic.subscriber(topic.options(0)); }).code() ==
          ErrorCode::invalid_option);
    ResumableOptions nowhere = topic.options();
    nowhere.log_root += "-not-there";
    CHECK(error_of([&] { topic.subscriber(nowhere); }).code() == ErrorCode::wal_io);
    ResumableOptions lost = topic.options();
    lost.checkpoint = topic.logs.path() + "/not-there/position.json";
    CHECK(error_of([&] { topic.subscriber(lost); }).code() == ErrorCode::file_not_found);
    for (const char* text :
         {"", "{", "[]", "null", R"({"a": -1})", R"({"a": 1)", R"({"a" 1})", R"({"a": 1} x)",
          R"({"a": 1,})", R"({"a": null})", R"({"a": [1]})", R"({"a": true})", R"({"a": "1"})",
          R"({"a": 1.5})", R"({"a": 18446744073709551616})"}) {
        const ResumableOptions options = topic.at_checkpoint();
        std::ofstream(options.checkpoint) << text;
        CHECK(error_of([&] { topic.subscriber(options); }).code() == ErrorCode::file_format);
    }
}

TEST_CASE("a subscriber that is killed again and again leaves no hole", "[bus][resumable]") {
    constexpr std::uint64_t MESSAGES = 20'000;
    const Logged topic;
    const std::string output = topic.logs.path() + "/output";
    const auto options = topic.at_checkpoint(50);
    const pid_t sender = fork();  // no thread of this process: it is forked again and again
    if (sender == 0) {
        {
            const auto publisher = topic.publisher();
            while (publisher->publisher().next_sequence() <= MESSAGES) send(*publisher, 40);
            publisher->close();
        }
        _exit(0);
    }
    int status = 1;
    for (int kills = 0; status != 0; ++kills) {
        if (kills == 1000) FAIL("it does not get to the end");
        const pid_t pid = fork();
        if (pid == 0) {
            std::FILE* const file = std::fopen(output.c_str(), "ab");
            Resumable subscriber(topic.at.folder(), "ticks", checked_type(), options);
            std::uint64_t got = 0;
            subscriber.run([&](const ResumedBatch& batch) {
                for (const Checked& record : batch.records<Checked>()) {
                    if (!record.is_own()) _exit(3);
                    std::fwrite(&record.header.sequence, sizeof(std::uint64_t), 1, file);
                }
                std::fflush(file);
                got += batch.count;
                if (got > 1000) (void)std::raise(SIGKILL);
                if (batch.first + batch.count > MESSAGES) subscriber.stop();
            });
            _exit(0);
        }
        waitpid(pid, &status, 0);
        CHECK((status == 0 || WIFSIGNALED(status)));
    }
    waitpid(sender, &status, 0);
    CHECK(status == 0);
    std::ifstream file(output, std::ios::binary);
    std::vector<int> times(MESSAGES + 1, 0);
    std::uint64_t sequence = 0;
    std::uint64_t most = 0;
    while (file.read(reinterpret_cast<char*>(&sequence), sizeof sequence)) {
        CHECK(sequence <= most + 1);  // repeats go back, nothing is jumped over
        most = std::max(most, sequence);
        ++times.at(sequence);
    }
    CHECK(most == MESSAGES);
    CHECK(std::count(times.begin() + 1, times.end(), 0) == 0);
}
