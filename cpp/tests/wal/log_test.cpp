#include "klineagg/wal/log.hpp"

#include <atomic>
#include <functional>
#include <thread>

#include "wal/logs.hpp"

using namespace klineagg;
using namespace klineagg::wal;
using engine::deadline_after;

TEST_CASE("What is appended is read back, over many segments and openings", "[wal]") {
    for (const SyncMode sync : {SyncMode::none, SyncMode::interval, SyncMode::always}) {
        const auto files = std::make_shared<FaultyFiles>();
        Uuid id{};
        for (Sequence round = 0; round < 4; ++round) {
            Log log(files, DIRECTORY, small_options(sync));
            if (round == 0) id = log.id();
            CHECK(log.id() == id);
            CHECK(log.next_sequence() == round * 500 + 1);
            append_records(log, 500);
            REQUIRE(log.wait_written((round + 1) * 500, deadline_after(120 * NS_PER_SECOND)));
            if (sync != SyncMode::none) {
                REQUIRE(log.wait_durable((round + 1) * 500, deadline_after(120 * NS_PER_SECOND)));
            } else {
                CHECK(log.durable() == 0);
            }
            check_records(read_all(files), (round + 1) * 500);
        }
        const Content all = read_all(files);
        check_records(all, 2000);
        CHECK(all.is_sealed);
        CHECK(all.damages.empty());
        CHECK(list_segments(*files, DIRECTORY).size() > 10);
    }
}

TEST_CASE("Opening again and again without records leaves one segment", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    for (int i = 0; i < 5; ++i) {
        Log log(files, DIRECTORY, small_options());
        CHECK(log.next_sequence() == 1);
    }
    CHECK(list_segments(*files, DIRECTORY).size() == 1);
}

TEST_CASE("A second writer is refused", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    {
        Log log(files, DIRECTORY, small_options());
        try {
            Log other(files, DIRECTORY, small_options());
            FAIL("two writers");
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::wal_locked);
        }
    }
    Log log(files, DIRECTORY, small_options());
    CHECK(log.state() == LogState::running);
}

TEST_CASE("Several threads append, and each keeps its order", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    constexpr int THREADS = 3;
    constexpr int EACH = 3000;
    {
        Log log(files, DIRECTORY, small_options());
        std::vector<std::thread> threads;
        for (int thread = 0; thread < THREADS; ++thread) {
            threads.emplace_back([&log, thread] {
                for (int i = 0; i < EACH; ++i) {
                    const std::string text = std::to_string(thread) + " " + std::to_string(i);
                    log.append_wait(Topic::command, as_bytes(text), 1,
                                    deadline_after(120 * NS_PER_SECOND));
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
    }
    const Content all = read_all(files);
    REQUIRE(all.records.size() == THREADS * EACH);
    CHECK(all.records.rbegin()->first == THREADS * EACH);
    std::vector<int> next(THREADS, 0);
    for (const auto& [sequence, text] : all.records) {
        const auto thread = static_cast<std::size_t>(text[0] - '0');
        REQUIRE(text == std::to_string(thread) + " " + std::to_string(next[thread]));
        ++next[thread];
    }
}

TEST_CASE("What several threads append during one sync shares the next one", "[wal]") {
    constexpr int THREADS = 8;
    constexpr Sequence EACH = 5;
    constexpr Sequence ALL = THREADS * EACH + 1;
    const auto files = std::make_shared<FaultyFiles>();
    Log log(files, DIRECTORY, small_options(SyncMode::always));
    const std::uint64_t before = files->syncs();
    files->hold_syncs(true);
    append_records(log, 1);
    while (files->held_syncs() == 0) std::this_thread::yield();
    std::vector<std::thread> threads;
    std::atomic<int> told{0};
    for (int thread = 0; thread < THREADS; ++thread) {
        threads.emplace_back([&] {
            Sequence last = 0;
            for (Sequence i = 0; i < EACH; ++i)
                last = log.append_wait(Topic::application, as_bytes("x"), 1,
                                       deadline_after(120 * NS_PER_SECOND))
                           .last;
            if (log.wait_durable(last, deadline_after(120 * NS_PER_SECOND))) ++told;
        });
    }
    while (log.next_sequence() <= ALL) std::this_thread::yield();
    CHECK(log.durable() == 0);
    CHECK(told == 0);
    files->hold_syncs(false);
    for (std::thread& thread : threads) thread.join();
    CHECK(told == THREADS);
    CHECK(log.durable() == ALL);
    CHECK(files->syncs() - before == 2);  // of the first record, and of all others
}

TEST_CASE("Who waited for a sync finds it counted", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    LogOptions options;
    options.sync = SyncMode::always;
    Log log(files, DIRECTORY, options);
    for (Sequence i = 1; i <= 50; ++i) {
        append_records(log, 1);
        REQUIRE(log.wait_durable(i, deadline_after(120 * NS_PER_SECOND)));
        CHECK(log.stats().syncs == i);
    }
}

TEST_CASE("Names are in every segment that needs them", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    {
        Log log(files, DIRECTORY, small_options());
        log.append_names({{NameKind::symbol, 4, "BTCUSDT"}, {NameKind::source, 1, "feed"}},
                         deadline_after(120 * NS_PER_SECOND));
        append_records(log, 600);
        log.append_names({{NameKind::symbol, 5, "ETHUSDT"}}, deadline_after(120 * NS_PER_SECOND));
        append_records(log, 600);
    }
    for (const SegmentEntry& segment : list_segments(*files, DIRECTORY)) {
        ReadOptions options;
        options.from = segment.first;
        Reader reader(files, DIRECTORY, options);
        Reader::Frame frame;
        REQUIRE(reader.next(frame));
        REQUIRE_FALSE(reader.names().empty());
        CHECK(reader.names()[0] == Name{NameKind::symbol, 4, "BTCUSDT"});
        CHECK(reader.names()[1] == Name{NameKind::source, 1, "feed"});
        if (segment.first > 601) CHECK(reader.names().size() == 3);
    }
    check_records(read_all(files), 1200);
}

TEST_CASE("A reader follows a log that is written", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    Log log(files, DIRECTORY, small_options());
    ReadOptions options;
    options.follow = true;
    std::thread writer([&] { append_records(log, 5000); });
    Reader reader(files, DIRECTORY, options);
    Sequence last = 0;
    bool right = true;
    while (last < 5000 && right) {
        Reader::Frame frame;
        if (!reader.next(frame)) {
            std::this_thread::yield();
            continue;
        }
        const Bytes payload = frame.view.payload;
        right = frame.view.header.sequence == last + 1 &&
                content(last + 1) ==
                    std::string(reinterpret_cast<const char*>(payload.data()), payload.size());
        ++last;
    }
    CHECK(right);
    writer.join();
    CHECK(last == 5000);
}

namespace {

/// Something happens before somebody looks which files there are.
class Hooked final : public FileSystem {
public:
    explicit Hooked(std::shared_ptr<FileSystem> files) : files_(std::move(files)) {}
    std::unique_ptr<File> open(const std::string& path, OpenMode mode) override {
        return files_->open(path, mode);
    }
    void rename(const std::string& from, const std::string& to) override {
        files_->rename(from, to);
    }
    void remove(const std::string& path) override { files_->remove(path); }
    void make_directory(const std::string& path) override { files_->make_directory(path); }
    std::vector<std::string> list(const std::string& directory) override {
        if (before_list) before_list();
        return files_->list(directory);
    }
    void sync_directory(const std::string& directory) override {
        files_->sync_directory(directory);
    }
    std::string boot_id() override { return files_->boot_id(); }

    std::function<void()> before_list;

private:
    std::shared_ptr<FileSystem> files_;
};

}  // namespace

TEST_CASE("A reader at the end of a segment that goes on meanwhile finds no damage", "[wal]") {
    for (const bool follow : {false, true}) {
        // So many are there when the end is seen, and so many more when the next segment is.
        for (const Sequence behind : {Sequence{1}, Sequence{40}, Sequence{400}}) {
            INFO("follow " << follow << ", " << behind << " more");
            const auto files = std::make_shared<FaultyFiles>();
            Log log(files, DIRECTORY, small_options());
            append_records(log, 3);
            REQUIRE(log.wait_written(3, deadline_after(120 * NS_PER_SECOND)));
            const auto hooked = std::make_shared<Hooked>(files);
            ReadOptions options;
            options.follow = follow;
            Reader reader(hooked, DIRECTORY, options);
            Reader::Frame frame;
            for (int i = 0; i < 3; ++i) REQUIRE(reader.next(frame));
            Sequence written = 3;
            int times = 3;
            hooked->before_list = [&] {
                if (times-- <= 0) return;
                append_records(log, behind);
                written += behind;
                REQUIRE(log.wait_written(written, deadline_after(120 * NS_PER_SECOND)));
            };
            Sequence last = 3;
            for (bool more = true; more;) {
                more = times > 0;  // then the end that is seen is not the last one
                while (reader.next(frame)) {
                    REQUIRE(frame.view.header.sequence == last + 1);
                    ++last;
                }
            }
            CHECK(reader.damages().empty());
            CHECK(last > 3);
            if (follow) CHECK(last == written);
        }
    }
}

TEST_CASE("A reader gives what was asked for", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    const auto clock = std::make_shared<engine::SimulatedClock>(1000);
    LogOptions chosen = small_options();
    chosen.clock = clock;
    {
        Log log(files, DIRECTORY, chosen);
        for (int i = 0; i < 1000; ++i) {
            clock->advance(1000 + i);
            const std::string text = content(log.next_sequence());
            const Topic topic = i % 10 == 0 ? Topic::clock : Topic::application;
            log.append_wait(topic, as_bytes(text), 4, deadline_after(120 * NS_PER_SECOND));
        }
    }
    ReadOptions options;
    options.from = 1002;
    options.to = 1013;
    Reader reader(files, DIRECTORY, options);
    Reader::Frame frame;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> parts;
    while (reader.next(frame)) parts.emplace_back(frame.skip, frame.count);
    CHECK(parts ==
          std::vector<std::pair<std::uint32_t, std::uint32_t>>{{1, 3}, {0, 4}, {0, 4}, {0, 1}});

    options = {};
    options.topics = 1U << static_cast<unsigned>(Topic::clock);
    options.start = 1100;
    options.end = 1200;
    const Content some = read_all(files, options);
    CHECK(some.records.size() == 10);
    CHECK(some.records.begin()->first == 401);
}

TEST_CASE("Frames without a time are in no range of times, and that is known", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    {
        Log log(files, DIRECTORY, small_options());
        for (const TimeNs time : {TimeNs{0}, TimeNs{500}})
            REQUIRE(log.append(Topic::application, as_bytes("x"), 1, 0, 0, time).status ==
                    AppendStatus::ok);
    }
    const auto count = [&](TimeNs start, TimeNs end, bool untimed) {
        ReadOptions options;
        options.start = start;
        options.end = end;
        Reader reader(files, DIRECTORY, options);
        Reader::Frame frame;
        int frames = 0;
        while (reader.next(frame)) ++frames;
        CHECK(reader.has_untimed() == untimed);
        return frames;
    };
    const ReadOptions any;
    CHECK(count(any.start, any.end, false) == 2);
    CHECK(count(any.start, 501, true) == 1);
    CHECK(count(0, any.end, true) == 1);
    CHECK(count(501, any.end, true) == 0);
}

TEST_CASE("Retention removes what is committed, and no more", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    LogOptions options = small_options();
    options.size_max = 5 * options.segment_bytes;
    Log log(files, DIRECTORY, options);
    for (int i = 0; i < 20; ++i) {
        append_records(log, 100);
        REQUIRE(log.wait_durable(log.next_sequence() - 1, deadline_after(120 * NS_PER_SECOND)));
        log.set_committed(log.written());
    }
    CHECK(log.state() == LogState::running);
    CHECK(log.stats().removed_segments > 5);
    const std::vector<SegmentEntry> segments = list_segments(*files, DIRECTORY);
    CHECK(segments.size() <= 5);
    check_records(read_all(files), 2000, segments.front().first);
    ReadOptions old;
    old.from = 1;
    try {
        Reader reader(files, DIRECTORY, old);
        FAIL("record 1 is gone");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::wal_range);
    }
}

TEST_CASE("A segment is as old as its writing, whatever the times of its frames", "[wal]") {
    for (const TimeNs stamp : {TIME_MIN, TimeNs{0}, TIME_MAX}) {
        INFO(stamp);
        const auto files = std::make_shared<FaultyFiles>();
        const auto clock = std::make_shared<engine::SimulatedClock>(1'000 * NS_PER_SECOND);
        LogOptions options = small_options();
        options.clock = clock;
        options.age_max_ns = 60 * NS_PER_SECOND;
        Log log(files, DIRECTORY, options);
        const auto write = [&](Sequence count) {
            const Sequence end = log.next_sequence() + count;
            while (log.next_sequence() != end)
                (void)log.append(Topic::application, as_bytes(content(log.next_sequence())), 1, 0, 0,
                                 stamp);
            REQUIRE(log.wait_durable(end - 1, deadline_after(120 * NS_PER_SECOND)));
            log.set_committed(end - 1);
            return end;
        };
        const Sequence first = write(600);
        clock->advance(1'050 * NS_PER_SECOND);
        (void)write(600);
        CHECK(log.stats().removed_segments == 0);
        clock->advance(1'070 * NS_PER_SECOND);
        (void)write(300);
        // The one that holds both ended 20 seconds ago.
        const Sequence oldest = list_segments(*files, DIRECTORY).front().first;
        CHECK(oldest <= first);
        CHECK(oldest + 300 > first);
        CHECK(log.stats().removed_segments >= 3);
    }
}

TEST_CASE("At the limit with nothing committed the log halts, and goes on afterwards", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    LogOptions options = small_options();
    options.size_max = 4 * options.segment_bytes;
    Log log(files, DIRECTORY, options);
    ErrorCode code = ErrorCode::internal;
    try {
        append_records(log, 10'000);
    } catch (const Error& error) {
        code = error.code();
    }
    CHECK(code == ErrorCode::wal_full);
    CHECK(log.state() == LogState::halted);
    const Sequence written = log.written();
    const Sequence offered = log.next_sequence() - 1;
    check_records(read_all(files), written);
    CHECK_THROWS_AS(log.resume(), Error);
    log.set_committed(written);
    log.resume();
    CHECK(log.state() == LogState::running);
    REQUIRE(log.wait_durable(offered, deadline_after(120 * NS_PER_SECOND)));
    const Sequence oldest = list_segments(*files, DIRECTORY).front().first;
    CHECK(oldest > 1);
    check_records(read_all(files), offered, oldest);
}

TEST_CASE("Options out of range are refused", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    const auto refused = [&](auto&& change) {
        LogOptions options = small_options();
        change(options);
        try {
            Log log(files, DIRECTORY, options);
            return false;
        } catch (const Error& error) {
            return error.code() == ErrorCode::invalid_option;
        }
    };
    CHECK(refused([](LogOptions& o) { o.segment_bytes = 100; }));
    CHECK(refused([](LogOptions& o) { o.ring_bytes = 100; }));
    CHECK(refused([](LogOptions& o) { o.interval_ns = 0; }));
    CHECK(refused([](LogOptions& o) { o.size_max = o.segment_bytes; }));
    Log log(files, DIRECTORY, small_options());
    const std::string large(log.payload_bytes_max() + 1, 'x');
    CHECK(log.append(Topic::l2, as_bytes(large)).status == AppendStatus::too_large);
    CHECK(log.append(Topic::l2, as_bytes("ab"), 3).status == AppendStatus::too_large);
    CHECK(log.append(Topic::l2, as_bytes(large.substr(1))).status == AppendStatus::ok);
    log.close();
    log.close();
    CHECK(log.append(Topic::l2, as_bytes("ab")).status == AppendStatus::closed);
}
