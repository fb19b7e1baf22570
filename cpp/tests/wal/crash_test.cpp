// Crashes, power cuts, failing calls and spoiled bytes.
#include <random>
#include <thread>

#include "wal/logs.hpp"

using namespace klineagg;
using namespace klineagg::wal;
using engine::deadline_after;

namespace {

constexpr Sequence RECORDS = 200;

/// What a writer was told.
struct Told {
    Sequence offered = 0;  // 1 ... offered were given to append
    Sequence written = 0;
    Sequence durable = 0;
    bool opened = false;
};

/// Appends up to RECORDS, with a wait for the disk now and then, until something goes wrong.
Told run_writer(const std::shared_ptr<FaultyFiles>& files, SyncMode sync, bool may_resume = false) {
    Told told;
    try {
        Log log(files, DIRECTORY, small_options(sync));
        told.opened = true;
        told.written = told.offered = log.written();
        told.durable = log.durable();
        bool resumed = false;
        while (told.offered < RECORDS) {
            const std::string text = content(told.offered + 1);
            try {
                const Appended done = log.append_wait(Topic::application, as_bytes(text), 1,
                                                      deadline_after(120 * NS_PER_SECOND));
                told.offered = done.last;
                if (told.offered % 10 == 0) {
                    if (sync == SyncMode::none)
                        log.wait_written(told.offered, deadline_after(120 * NS_PER_SECOND));
                    else
                        log.wait_durable(told.offered, deadline_after(120 * NS_PER_SECOND));
                }
            } catch (const Error&) {
                told.offered = std::max(told.offered, log.next_sequence() - 1);
                if (resumed || !may_resume) throw;
                resumed = true;
                log.resume();
            }
            told.written = log.written();
            told.durable = log.durable();
        }
        told.written = log.written();
        told.durable = log.durable();
    } catch (const Error&) {
    }
    return told;
}

/// After whatever happened: the log opens, has everything up to `promised` and nothing that was
/// not offered, and takes records again.
void check_recovered(const std::shared_ptr<FaultyFiles>& files, Sequence promised,
                     Sequence offered) {
    Sequence last = 0;
    {
        Log log(files, DIRECTORY, small_options());
        last = log.written();
        CHECK(last >= promised);
        CHECK(last <= offered);
        check_records(read_all(files), last);
        append_records(log, 20);
    }
    check_records(read_all(files), last + 20);
    // Once more: opening is safe to repeat.
    Log log(files, DIRECTORY, small_options());
    CHECK(log.written() == last + 20);
}

std::uint64_t calls_of_a_run(SyncMode sync) {
    const auto files = std::make_shared<FaultyFiles>();
    run_writer(files, sync);
    return files->calls();
}

/// A log of one closed segment, and where its records begin.
struct Closed {
    std::shared_ptr<FaultyFiles> files = std::make_shared<FaultyFiles>();
    std::string path;
    std::vector<std::uint64_t> offsets;  // of the frames, the seal last
};

Closed closed_log(Sequence records, std::size_t segment_bytes) {
    Closed closed;
    LogOptions options = small_options();
    options.segment_bytes = segment_bytes;
    {
        Log log(closed.files, DIRECTORY, options);
        append_records(log, records);
    }
    const auto segments = list_segments(*closed.files, DIRECTORY);
    REQUIRE(segments.size() == 1);
    closed.path = segments[0].path;
    SegmentScanner scanner(closed.files->open(closed.path, OpenMode::read), closed.path, 1);
    FrameView frame;
    while (scanner.next(frame) == ScanResult::frame) closed.offsets.push_back(frame.offset);
    closed.offsets.push_back(frame.offset);
    REQUIRE(closed.offsets.size() == records + 1);
    return closed;
}

}  // namespace

TEST_CASE("A crash before any call of the system loses nothing that was written", "[wal]") {
    for (const SyncMode sync : {SyncMode::none, SyncMode::interval, SyncMode::always}) {
        const std::uint64_t calls = calls_of_a_run(sync);
        for (std::uint64_t call = 0; call <= calls; ++call) {
            INFO("mode " << static_cast<int>(sync) << ", call " << call);
            const auto files = std::make_shared<FaultyFiles>();
            files->fail_at(call, FaultyFiles::Fault::short_write, true);
            const Told told = run_writer(files, sync);
            files->heal();
            files->kill();
            const auto after_cut = files->clone();
            check_recovered(files, told.written, told.offered);
            if (sync == SyncMode::none) continue;
            after_cut->power_cut(Cut::lose_all, call);
            check_recovered(after_cut, told.durable, told.offered);
        }
    }
}

TEST_CASE("The call that fails once halts the log, which resumes with all that was offered",
          "[wal]") {
    using Fault = FaultyFiles::Fault;
    for (const SyncMode sync : {SyncMode::none, SyncMode::interval, SyncMode::always}) {
        const std::uint64_t calls = calls_of_a_run(sync);
        for (std::uint64_t call = 0; call <= calls; ++call) {
            for (const Fault fault : {Fault::io_error, Fault::no_space, Fault::short_write}) {
                INFO("mode " << static_cast<int>(sync) << ", call " << call << ", fault "
                             << static_cast<int>(fault));
                const auto files = std::make_shared<FaultyFiles>();
                files->fail_at(call, fault, false);
                const Told told = run_writer(files, sync, true);
                files->heal();
                files->kill();
                const auto after_cut = files->clone();
                check_recovered(files, told.written, told.offered);
                if (sync == SyncMode::none) continue;
                after_cut->power_cut(Cut::lose_all, call);
                check_recovered(after_cut, told.durable, told.offered);
            }
        }
    }
}

namespace {

void cut_power(std::uint64_t seeds) {
    const std::uint64_t calls = calls_of_a_run(SyncMode::interval);
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        INFO("seed " << seed);
        const SyncMode sync = seed % 2 == 0 ? SyncMode::interval : SyncMode::always;
        const auto files = std::make_shared<FaultyFiles>();
        files->fail_at(seed * 7919 % calls, FaultyFiles::Fault::short_write, true);
        const Told told = run_writer(files, sync);
        files->heal();
        files->power_cut(Cut::any, seed);
        check_recovered(files, told.durable, told.offered);
    }
}

}  // namespace

TEST_CASE("A power cut takes any of what was not synced, and nothing else", "[wal]") {
    cut_power(400);
}
TEST_CASE("10,000 power cuts", "[.slow][wal]") {
    cut_power(10'000);
}

namespace {

/// A log as a writer leaves it that is killed in the middle of a record, between segments' names.
std::shared_ptr<FaultyFiles> torn_log(Sequence whole, Sequence durable) {
    const auto files = std::make_shared<FaultyFiles>();
    LogOptions options = small_options();
    options.interval_ns = NS_PER_HOUR;  // nothing is synced but what is asked for
    Log log(files, DIRECTORY, options);
    append_records(log, durable);
    REQUIRE(log.wait_durable(durable, deadline_after(120 * NS_PER_SECOND)));
    append_records(log, whole + 1 - durable);
    REQUIRE(log.wait_written(whole + 1, deadline_after(120 * NS_PER_SECOND)));
    auto torn = files->clone();
    const SegmentEntry last = list_segments(*torn, DIRECTORY).back();
    SegmentScanner scanner(torn->open(last.path, OpenMode::read), last.path, last.first);
    FrameView frame;
    while (scanner.next(frame) == ScanResult::frame && frame.header.sequence != whole + 1) {
    }
    REQUIRE(frame.header.sequence == whole + 1);
    // The rest of the record was never written: what the segment had taken of the disk is zero.
    torn->open(last.path, OpenMode::write)->write(frame.offset + 60, std::vector<std::byte>(200));
    torn->open(last.path + std::string(TEMPORARY_SUFFIX), OpenMode::create)->write(0, as_bytes("x"));
    return torn;
}

void check_whole(const std::shared_ptr<FaultyFiles>& files, Sequence last) {
    {
        Log log(files, DIRECTORY, small_options());
        CHECK(log.written() == last);
        append_records(log, 20);
    }
    check_records(read_all(files), last + 20);
}

/// Opens `torn` again and again, each time with another call that fails. Returns how many did not
/// open.
int fail_openings(const FaultyFiles& torn, FaultyFiles::Fault fault, bool forever, Sequence last,
                  Sequence durable) {
    int refused = 0;
    for (std::uint64_t call = 0;; ++call) {
        INFO("call " << call << ", fault " << static_cast<int>(fault)
                     << (forever ? ", forever" : ", once"));
        const auto files = torn.clone();
        files->fail_at(call, fault, forever);
        try {
            Log log(files, DIRECTORY, small_options());
            CHECK(log.written() == last);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::wal_io);
            ++refused;
        }
        const bool failed = files->failed() != 0;
        files->heal();
        files->kill();
        for (std::uint64_t seed = 0; seed < 4; ++seed) {
            const auto after_cut = files->clone();
            after_cut->power_cut(seed == 0 ? Cut::lose_all : Cut::any, seed);
            check_recovered(after_cut, durable, last + 1);  // it had been whole once
        }
        check_whole(files, last);
        if (!failed) return refused;
    }
}

}  // namespace

TEST_CASE("An opening of a torn log that fails at any call costs nothing", "[wal]") {
    constexpr Sequence WHOLE = 230;  // of three segments
    constexpr Sequence DURABLE = 200;
    const auto torn = torn_log(WHOLE, DURABLE);
    const auto undisturbed = torn->clone();
    {
        Log log(undisturbed, DIRECTORY, small_options());
        CHECK(log.repaired_bytes() > 0);
    }
    check_whole(undisturbed, WHOLE);
    using Fault = FaultyFiles::Fault;
    for (const Fault fault : {Fault::io_error, Fault::no_space, Fault::short_write}) {
        for (const bool forever : {false, true})
            CHECK(fail_openings(*torn, fault, forever, WHOLE, DURABLE) > 10);
    }
}

TEST_CASE("Cut at any byte of its last records a log opens without these only", "[wal]") {
    const Closed closed = closed_log(30, 1U << 16U);
    const std::size_t size = closed.files->bytes_of(closed.path).size();
    const auto first = static_cast<std::size_t>(closed.offsets[26]);
    for (std::size_t end = first; end < size; ++end) {
        INFO("cut at " << end);
        const auto files = closed.files->clone();
        files->bytes_of(closed.path).resize(end);
        Sequence whole = 26;
        while (whole < 30 && closed.offsets[whole + 1] <= end) ++whole;
        {
            Log log(files, DIRECTORY, small_options());
            REQUIRE(log.written() == whole);
            REQUIRE(log.repaired_bytes() == end - closed.offsets[whole]);
        }
        const Content content = read_all(files);
        check_records(content, whole);
        REQUIRE(content.damages.empty());
    }
}

namespace {

void flip_bytes(std::size_t step) {
    const Closed closed = closed_log(420, 1U << 16U);
    std::vector<std::byte>& bytes = closed.files->bytes_of(closed.path);
    REQUIRE(bytes.size() > 50'000);
    ReadOptions salvage;
    salvage.salvage = true;
    salvage.is_quiet = true;
    std::size_t frame = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        while (frame + 1 < closed.offsets.size() && closed.offsets[frame + 1] <= at) ++frame;
        if (at % step != 0 && at > 256 && at < bytes.size() - 300) continue;
        bytes[at] ^= std::byte{0x10};
        Reader reader(closed.files, DIRECTORY, salvage);
        Reader::Frame record;
        Sequence records = 0;
        bool all_right = true;
        while (reader.next(record)) {
            ++records;
            const Bytes payload = record.view.payload;
            all_right = all_right && content(record.view.header.sequence) ==
                                         std::string(reinterpret_cast<const char*>(payload.data()),
                                                     payload.size());
        }
        bytes[at] ^= std::byte{0x10};
        if (!all_right) FAIL("byte " << at << ": a wrong record was read");
        const bool in_header = at < SEGMENT_HEADER_BYTES;
        const bool in_seal = !in_header && frame == 420;
        if (in_header || in_seal) {
            const bool told = in_seal ? reader.torn_bytes() > 0 : reader.damages().size() == 1;
            if (records != 420 || !told) FAIL("byte " << at << " of header or seal");
            continue;
        }
        const bool named = reader.damages().size() == 1 && reader.damages()[0].first == frame + 1 &&
                           reader.damages()[0].last == frame + 1 &&
                           reader.damages()[0].offset == closed.offsets[frame];
        if (records != 419 || !named) FAIL("byte " << at << " of record " << frame + 1);
    }
}

}  // namespace

TEST_CASE("A flipped byte of a segment is noticed, and the record that it takes is named",
          "[wal]") {
    flip_bytes(5);
}
TEST_CASE("Any flipped byte of a segment", "[.slow][wal]") {
    flip_bytes(1);
}

TEST_CASE("Damage inside stops opening and reading with the range named; salvage goes on",
          "[wal]") {
    const Closed closed = closed_log(100, 1U << 16U);
    closed.files->bytes_of(closed.path)[static_cast<std::size_t>(closed.offsets[40]) + 60] ^=
        std::byte{1};
    try {
        Log log(closed.files, DIRECTORY, small_options());
        FAIL("opened");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::wal_damaged);
        const Error::Fields& fields = error.fields();
        CHECK(std::find(fields.begin(), fields.end(),
                        std::pair<std::string, std::string>("first_sequence", "41")) !=
              fields.end());
        CHECK(std::find(fields.begin(), fields.end(),
                        std::pair<std::string, std::string>("last_sequence", "41")) !=
              fields.end());
    }
    CHECK_THROWS_AS(read_all(closed.files), Error);
    ReadOptions later;
    later.from = 42;
    CHECK(read_all(closed.files, later).records.size() == 59);
    LogOptions options = small_options();
    options.salvage = true;
    {
        Log log(closed.files, DIRECTORY, options);
        REQUIRE(log.lost().size() == 1);
        CHECK(log.lost()[0].first == 41);
        CHECK(log.written() == 100);
        append_records(log, 5);
    }
    ReadOptions salvage;
    salvage.salvage = true;
    const Content all = read_all(closed.files, salvage);
    CHECK(all.records.size() == 104);
    CHECK(all.damages.size() == 1);
}

namespace {

/// A segment of five records, written before a power cut, with a spoiled byte in some of them. The
/// last one tells that the first two were on the disk.
std::shared_ptr<FaultyFiles> spoiled_before_a_power_cut(const std::vector<Sequence>& spoiled) {
    auto files = std::make_shared<FaultyFiles>();
    SegmentHeader header;
    const std::string boot = files->boot_id();
    std::copy(boot.begin(), boot.end(), header.boot.begin());
    std::vector<std::byte> bytes = segment_block(header);
    for (Sequence n = 1; n <= 5; ++n) {
        const std::string text = content(n);
        FrameHeader frame;
        frame.sequence = n;
        frame.count = 1;
        frame.durable = n == 5 ? 2 : 0;
        const std::size_t at = bytes.size();
        bytes.resize(at + frame_bytes(text.size()));
        write_frame(frame, as_bytes(text), salt_of(header), bytes.data() + at);
        if (std::find(spoiled.begin(), spoiled.end(), n) != spoiled.end())
            bytes[at + sizeof(FrameHeader)] ^= std::byte{1};
    }
    const auto file =
        files->open(DIRECTORY + "/" + segment_name(1), OpenMode::create);
    file->allocate(bytes.size());
    file->write(0, bytes);
    files->power_cut(Cut::keep_all, 0);
    return files;
}

}  // namespace

TEST_CASE("What was saved behind damage is not cut off by a hole of a power cut, nor later",
          "[wal]") {
    {
        // No more than a hole of what was not synced: what lies behind it was never promised.
        const auto files = spoiled_before_a_power_cut({4});
        const Log log(files, DIRECTORY, small_options());
        CHECK(log.written() == 3);
    }
    const auto files = spoiled_before_a_power_cut({2, 4});
    CHECK_THROWS_AS(Log(files, DIRECTORY, small_options()), Error);
    LogOptions options = small_options();
    options.salvage = true;
    ReadOptions salvage;
    salvage.salvage = true;
    for (int opening = 0; opening < 3; ++opening) {
        INFO("opening " << opening);
        const Log log(files, DIRECTORY, options);
        CHECK(log.written() == 5);
        const Content all = read_all(files, salvage);
        CHECK(all.damages.size() == 2);
        CHECK(all.records == std::map<Sequence, std::string>{
                                 {1, content(1)}, {3, content(3)}, {5, content(5)}});
    }
}

namespace {

/// As a klineagg of another version would have written the segment's header.
void set_version(FaultyFiles& files, const std::string& path, std::uint32_t version) {
    std::vector<std::byte>& bytes = files.bytes_of(path);
    auto header = read_segment_block(Bytes(bytes).first(SEGMENT_HEADER_BYTES), path).header;
    REQUIRE(header.has_value());
    header->version = version;
    const std::vector<std::byte> block = segment_block(*header);
    std::copy(block.begin(), block.end(), bytes.begin());
}

void check_refused(const Error& error, const std::string& path, std::uint32_t version) {
    CHECK(error.code() == ErrorCode::wal_format);
    const Error::Fields wanted{{"path", path}, {"version", std::to_string(version)}};
    CHECK(error.fields() == wanted);
}

}  // namespace

TEST_CASE("A segment of another version is refused, never repaired or gone past", "[wal]") {
    const auto written = std::make_shared<FaultyFiles>();
    {
        Log log(written, DIRECTORY, small_options());
        append_records(log, 500);
    }
    const auto segments = list_segments(*written, DIRECTORY);
    REQUIRE(segments.size() > 3);
    for (const std::uint32_t version : {FORMAT_VERSION - 1, FORMAT_VERSION + 1}) {
        for (const std::string& path : {segments[1].path, segments.back().path}) {
            INFO("version " << version << " of " << path);
            const auto files = written->clone();
            set_version(*files, path, version);
            const std::vector<std::byte> before = files->bytes_of(path);
            for (const bool salvage : {false, true}) {
                ReadOptions reading;
                reading.salvage = salvage;
                try {
                    (void)read_all(files, reading);
                    FAIL("read");
                } catch (const Error& error) {
                    check_refused(error, path, version);
                }
                LogOptions options = small_options();
                options.salvage = salvage;
                try {
                    const Log log(files, DIRECTORY, options);
                    FAIL("opened");
                } catch (const Error& error) {
                    check_refused(error, path, version);
                }
            }
            CHECK(files->bytes_of(path) == before);
            CHECK(list_segments(*files, DIRECTORY).size() == segments.size());
        }
    }
}

TEST_CASE("A missing segment is damage, and so is a foreign one", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    {
        Log log(files, DIRECTORY, small_options());
        append_records(log, 500);
    }
    const auto segments = list_segments(*files, DIRECTORY);
    REQUIRE(segments.size() > 3);
    files->remove(segments[1].path);
    ReadOptions salvage;
    salvage.salvage = true;
    const Content all = read_all(files, salvage);
    REQUIRE(all.damages.size() == 1);
    CHECK(all.damages[0].first == segments[1].first);
    CHECK(all.damages[0].last == segments[2].first - 1);
    CHECK(all.records.size() == 500 - (segments[2].first - segments[1].first));
}

TEST_CASE("A failed sync halts at once and is not taken back by a later one", "[wal]") {
    const auto files = std::make_shared<FaultyFiles>();
    Log log(files, DIRECTORY, small_options(SyncMode::always));
    append_records(log, 10);
    REQUIRE(log.wait_durable(10, deadline_after(120 * NS_PER_SECOND)));
    // The next calls are the write and the sync.
    files->fail_at(1, FaultyFiles::Fault::io_error, false);
    append_records(log, 1);
    CHECK_THROWS_AS(log.wait_durable(11, deadline_after(120 * NS_PER_SECOND)), Error);
    CHECK(log.state() == LogState::halted);
    CHECK(log.durable() == 10);
    REQUIRE(log.failure().has_value());
    CHECK(log.failure()->code() == ErrorCode::wal_io);
    CHECK(log.append(Topic::application, as_bytes("x")).status == AppendStatus::halted);
    check_records(read_all(files), 11);  // reading goes on
    const std::uint64_t syncs = files->syncs();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(files->syncs() == syncs);
    log.resume();
    CHECK(log.durable() == 11);
    CHECK(log.state() == LogState::running);
    append_records(log, 4);
    REQUIRE(log.wait_durable(15, deadline_after(120 * NS_PER_SECOND)));
    files->power_cut(Cut::lose_all, 1);
    check_records(read_all(files), 15);
}
