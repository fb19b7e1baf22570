#include "klineagg/bus/ring.hpp"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using klineagg::bus::test::Checked;
using klineagg::bus::test::checked_type;

namespace {

class Memory {
public:
    explicit Memory(std::uint64_t capacity, std::uint64_t first = 1)
        : bytes_(ring_bytes(capacity, sizeof(Checked))),
          data_(static_cast<std::byte*>(::operator new(bytes_, std::align_val_t{128}))) {
        std::memset(data_, 0, bytes_);
        ring_ = RingMemory::create(data_, capacity, checked_type(), first);
    }
    ~Memory() { ::operator delete(data_, std::align_val_t{128}); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    [[nodiscard]] const RingMemory& ring() const { return ring_; }
    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

private:
    std::size_t bytes_;
    std::byte* data_;
    RingMemory ring_;
};

/// The sequence is the content: whatever is torn or from another round is seen.
void put(RingWriter& writer, std::uint64_t sequence) {
    const Checked record = Checked::of(sequence);
    MessageHeader stamp;
    writer.store(sequence, reinterpret_cast<const std::byte*>(&record), stamp);
}

void publish(RingWriter& writer, std::uint64_t count) {
    writer.begin(count);
    for (std::uint64_t i = 0; i < count; ++i) put(writer, writer.next_sequence() + i);
    writer.commit(count);
}

std::vector<Checked> read(RingReader& reader, std::size_t most) {
    std::vector<Checked> records(most);
    records.resize(reader.read(reinterpret_cast<std::byte*>(records.data()), most));
    return records;
}

bool all_own(const std::vector<Checked>& records) {
    for (const Checked& record : records) {
        if (!record.is_own()) return false;
    }
    return true;
}

}  // namespace

TEST_CASE("a reader gets what was published, in order, around the end of the ring", "[bus]") {
    Memory memory(8);
    RingWriter writer(memory.ring());
    RingReader reader(memory.ring(), 1);
    std::uint64_t next = 1;
    for (int round = 0; round < 20; ++round) {
        publish(writer, 3);
        const auto records = read(reader, 10);
        REQUIRE(records.size() == 3);
        for (const Checked& record : records) {
            CHECK(record.header.sequence == next++);
            CHECK(record.is_own());
        }
    }
    CHECK(reader.lost() == 0);
    CHECK(read(reader, 10).empty());
}

TEST_CASE("received and lost add up to what was published, however slow a reader", "[bus]") {
    for (const std::uint64_t capacity : {4u, 8u, 64u}) {
        for (std::uint64_t pause = 1; pause < 3 * capacity; ++pause) {
            Memory memory(capacity, 100);
            RingWriter writer(memory.ring());
            RingReader reader(memory.ring(), 100);
            std::uint64_t received = 0;
            std::uint64_t last = 99;
            for (int round = 0; round < 50; ++round) {
                for (std::uint64_t i = 0; i < pause; ++i) publish(writer, 1);
                for (const Checked& record : read(reader, 3)) {
                    REQUIRE(record.is_own());
                    REQUIRE(record.header.sequence > last);
                    last = record.header.sequence;
                    ++received;
                }
                REQUIRE(received + reader.lost() == reader.cursor() - 100);
            }
            while (reader.behind() != 0) received += read(reader, 64).size();
            CHECK(received + reader.lost() == writer.next_sequence() - 100);
            if (pause <= 3) CHECK(reader.lost() == 0);
        }
    }
}

TEST_CASE("a lagging reader takes nothing that a dead writer half wrote", "[bus][takeover]") {
    // The hazard: a successor that begins with tail_intent = tail would tell a reader at an old
    // cursor that slots which the dead one has overwritten are whole.
    Memory memory(16);
    RingWriter dead(memory.ring());
    publish(dead, 8);
    publish(dead, 8);  // sequences 1 to 16
    RingReader reader(memory.ring(), 1);
    dead.begin(8);
    for (std::uint64_t s = 17; s < 21; ++s) put(dead, s);  // over 1 to 4, and dies

    SECTION("before a successor comes") {
        const auto records = read(reader, 16);
        CHECK(all_own(records));
        CHECK(reader.lost() >= 8);
        CHECK(records.back().header.sequence == 16);
    }
    SECTION("after a successor came, and published a little") {
        RingWriter successor(memory.ring());
        CHECK(successor.next_sequence() == 17);
        CHECK(memory.ring().header().tail_intent.load() == 25);
        for (int i = 0; i < 3; ++i) {
            publish(successor, 1);
            CHECK(memory.ring().header().tail_intent.load() == 25);
        }
        RingReader behind(memory.ring(), 4);  // slot 4 holds the dead one's 20
        const auto records = read(behind, 16);
        CHECK(all_own(records));
        CHECK(records.size() + behind.lost() == 16);
        CHECK(records.back().header.sequence == 19);
        CHECK(read(reader, 16).back().header.sequence == 19);
    }
    SECTION("the successor's intent rises again once it has passed the dead one's") {
        RingWriter successor(memory.ring());
        publish(successor, 8);
        CHECK(memory.ring().header().tail_intent.load() == 25);
        publish(successor, 2);
        CHECK(memory.ring().header().tail_intent.load() == 27);
    }
}

TEST_CASE("single messages leave the intent alone, and it is never behind", "[bus]") {
    Memory memory(128);
    const RingHeader& header = memory.ring().header();
    RingWriter writer(memory.ring());
    std::size_t raised = 0;
    for (std::uint64_t i = 0, before = header.tail_intent.load(); i < 400; ++i) {
        writer.begin(1);
        const std::uint64_t intent = header.tail_intent.load();
        // Below the next sequence a reader would take a slot that is being written for whole; far
        // above it, readers would lose records that nobody is about to touch.
        REQUIRE(intent > writer.next_sequence());
        REQUIRE(intent <= writer.next_sequence() + 1 + 128 / INTENT_SHARE);
        raised += intent != before ? 1 : 0;
        before = intent;
        put(writer, writer.next_sequence());
        writer.commit(1);
    }
    CHECK(raised == 400 / (1 + 128 / INTENT_SHARE));
    // Who lags behind by the ring takes all that the intent has not come round to, and no more.
    RingReader reader(memory.ring(), writer.next_sequence() - 128);
    const std::uint64_t whole = reader.oldest();
    const auto records = read(reader, 128);
    CHECK(all_own(records));
    CHECK(records.size() + reader.lost() == 128);
    CHECK(reader.lost() == whole - (writer.next_sequence() - 128));
    CHECK(reader.lost() <= 1 + 128 / INTENT_SHARE);
}

TEST_CASE("what was never published is never seen, also after a takeover", "[bus][takeover]") {
    Memory memory(16);
    RingWriter dead(memory.ring());
    publish(dead, 4);
    RingReader reader(memory.ring(), 1);
    dead.begin(6);
    for (std::uint64_t s = 5; s < 11; ++s) put(dead, s);  // all written, dies before the commit
    CHECK(read(reader, 16).size() == 4);
    RingWriter successor(memory.ring());
    REQUIRE(successor.next_sequence() == 5);
    successor.begin(1);
    const Checked other = Checked::of(1'000'000);
    MessageHeader stamp;
    successor.store(5, reinterpret_cast<const std::byte*>(&other), stamp);
    successor.commit(1);
    const auto records = read(reader, 16);
    REQUIRE(records.size() == 1);
    CHECK(records[0].header.sequence == 5);
    CHECK(records[0].is(1'000'000));
    CHECK(reader.lost() == 0);
}

TEST_CASE("a peek is valid until the writer comes round to it", "[bus]") {
    Memory memory(16);
    RingWriter writer(memory.ring());
    publish(writer, 8);
    publish(writer, 4);
    RingReader reader(memory.ring(), 1);
    CHECK(read(reader, 10).size() == 10);
    publish(writer, 8);  // 13 to 20, over the end of the ring
    const auto view = reader.peek(100);
    CHECK(view.first == 11);
    REQUIRE(view.count(sizeof(Checked)) == 10);
    CHECK(view.pieces[0].size() == 5 * sizeof(Checked));  // slots 11 to 15
    CHECK(view.pieces[1].size() == 5 * sizeof(Checked));
    const auto* const first = reinterpret_cast<const Checked*>(view.pieces[0].data());
    CHECK(first->header.sequence == 11);
    CHECK(reader.still_valid(view.first));
    publish(writer, 6);  // intent 27: 11 is the oldest whole one
    CHECK(reader.still_valid(view.first));
    writer.begin(1);  // not yet written, but it may be at any moment
    CHECK_FALSE(reader.still_valid(view.first));
    CHECK(reader.still_valid(view.first + 1));
}

TEST_CASE("memory that is no ring is refused", "[bus]") {
    Memory memory(8);
    const auto code = [&](std::size_t bytes) {
        try {
            RingMemory::open(memory.data(), bytes);
        } catch (const Error& error) {
            return error.code();
        }
        return ErrorCode::internal;
    };
    CHECK(code(memory.bytes()) == ErrorCode::internal);  // taken
    CHECK(code(memory.bytes() - 1) == ErrorCode::segment_damaged);
    CHECK(code(100) == ErrorCode::segment_damaged);
    RingHeader& header = memory.ring().header();
    header.capacity = 7;
    CHECK(code(memory.bytes()) == ErrorCode::segment_damaged);
    header.capacity = 8;
    header.record_bytes = 12;
    CHECK(code(memory.bytes()) == ErrorCode::segment_damaged);
    header.record_bytes = sizeof(Checked);
    header.layout_version = 9;
    CHECK(code(memory.bytes()) == ErrorCode::record_mismatch);
    header.layout_version = RING_LAYOUT_VERSION;
    header.magic = 0;
    CHECK(code(memory.bytes()) == ErrorCode::segment_damaged);
}

TEST_CASE("readers beside a writer at full speed see whole records only", "[bus][threads]") {
    Memory memory(64);
    constexpr std::uint64_t TOTAL = 400'000;
    std::atomic<bool> torn{false};
    std::vector<std::thread> readers;
    std::atomic<std::uint64_t> counted{0};
    for (int r = 0; r < 2; ++r) {
        readers.emplace_back([&, r] {
            RingReader reader(memory.ring(), 1);
            std::vector<Checked> records(32);
            std::uint64_t received = 0;
            std::uint64_t last = 0;
            while (reader.cursor() <= TOTAL) {
                const std::size_t count = reader.read(
                    reinterpret_cast<std::byte*>(records.data()), r == 0 ? 32 : 1);
                for (std::size_t i = 0; i < count; ++i) {
                    const std::uint64_t sequence = records[i].header.sequence;
                    if (!records[i].is_own() || sequence <= last) torn = true;
                    last = sequence;
                }
                received += count;
                if (count == 0) std::this_thread::yield();
            }
            counted += received + reader.lost();
        });
    }
    RingWriter writer(memory.ring());
    while (writer.next_sequence() <= TOTAL) {
        publish(writer, 1 + writer.next_sequence() % 7);
        if (writer.next_sequence() % 512 < 7) std::this_thread::yield();
    }
    for (std::thread& thread : readers) thread.join();
    CHECK_FALSE(torn.load());
    CHECK(counted.load() == 2 * (writer.next_sequence() - 1));
}
