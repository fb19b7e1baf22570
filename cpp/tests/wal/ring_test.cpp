#include "klineagg/wal/ring.hpp"

#include <cstring>
#include <thread>
#include <vector>

#include "catch.hpp"

using namespace klineagg::wal;

TEST_CASE("A ring gives room and numbers in one order", "[wal]") {
    Ring ring(4096, 7);
    CHECK(ring.next_sequence() == 7);
    Ring::Slot a;
    Ring::Slot b;
    REQUIRE(ring.reserve(10, 1, a));
    REQUIRE(ring.reserve(100, 5, b));
    CHECK(a.entry->sequence == 7);
    CHECK(b.entry->sequence == 8);
    CHECK(ring.next_sequence() == 13);
    std::uint64_t position = 0;
    // What is not committed holds back what is behind it.
    ring.commit(b);
    CHECK(ring.peek(position) == nullptr);
    ring.commit(a);
    const Ring::Entry* entry = ring.peek(position);
    REQUIRE(entry != nullptr);
    CHECK(entry->sequence == 7);
    CHECK(Ring::payload_of(*entry).size() == 10);
    position += entry->grains;
    REQUIRE((entry = ring.peek(position)) != nullptr);
    CHECK(entry->sequence == 8);
    position += entry->grains;
    CHECK(ring.peek(position) == nullptr);
    CHECK(ring.is_end(position));
}

TEST_CASE("A full ring says so until room is freed", "[wal]") {
    Ring ring(4096, 1);
    Ring::Slot slot;
    std::size_t count = 0;
    while (ring.reserve(200, 1, slot)) {
        ring.commit(slot);
        ++count;
    }
    CHECK(count == 4096 / 256);
    CHECK(ring.used_bytes() == 4096);
    std::uint64_t position = 0;
    const Ring::Entry* entry = ring.peek(position);
    REQUIRE(entry != nullptr);
    position += entry->grains;
    ring.free_to(position, entry->sequence + 1);
    CHECK(ring.reserve(200, 1, slot));
    CHECK(slot.entry->sequence == count + 1);
    CHECK_FALSE(ring.reserve(200, 1, slot));
}

TEST_CASE("The largest payload finds room in an empty ring, wherever it begins", "[wal]") {
    Ring ring(4096, 1);
    for (int i = 0; i < 200; ++i) {
        Ring::Slot slot;
        const std::size_t bytes =
            i % 2 == 0 ? ring.payload_bytes_max() : static_cast<std::size_t>(i);
        REQUIRE(ring.reserve(bytes, 1, slot));
        std::memset(slot.payload, i, bytes);
        ring.commit(slot);
        std::uint64_t position = ring.freed();
        const Ring::Entry* const entry = ring.peek(position);
        REQUIRE(entry != nullptr);
        REQUIRE(entry->sequence == static_cast<Sequence>(i) + 1);
        REQUIRE(entry->bytes == bytes);
        ring.free_to(position + entry->grains, entry->sequence + 1);
    }
}

TEST_CASE("Several threads lose nothing and get numbers without holes", "[wal]") {
    constexpr std::uint64_t THREADS = 4;
    constexpr std::uint64_t EACH = 20'000;
    Ring ring(1U << 14U, 1);
    std::vector<std::thread> threads;
    for (std::uint64_t thread = 0; thread < THREADS; ++thread) {
        threads.emplace_back([&ring, thread] {
            for (std::uint64_t i = 0; i < EACH;) {
                Ring::Slot slot;
                const std::size_t bytes = 16 + (i * 7 + thread) % 200;
                if (!ring.reserve(bytes, 1 + static_cast<std::uint32_t>(i % 3), slot)) {
                    std::this_thread::yield();
                    continue;
                }
                std::memset(slot.payload, static_cast<int>(thread), bytes);
                std::memcpy(slot.payload, &thread, 8);
                std::memcpy(slot.payload + 8, &i, 8);
                ring.commit(slot);
                ++i;
            }
        });
    }
    std::vector<std::uint64_t> next(THREADS, 0);
    std::uint64_t position = 0;
    Sequence sequence = 1;
    bool whole = true;
    for (std::uint64_t frames = 0; frames < THREADS * EACH;) {
        const Ring::Entry* const entry = ring.peek(position);
        if (entry == nullptr) {
            std::this_thread::yield();
            continue;
        }
        std::uint64_t thread = 0;
        std::uint64_t number = 0;
        const klineagg::Bytes payload = Ring::payload_of(*entry);
        std::memcpy(&thread, payload.data(), 8);
        std::memcpy(&number, payload.data() + 8, 8);
        whole = whole && thread < THREADS && number == next[thread] && entry->sequence == sequence;
        for (const std::byte each : payload.subspan(16))
            whole = whole && each == static_cast<std::byte>(thread);
        if (!whole) break;
        ++next[thread];
        sequence += entry->count;
        position += entry->grains;
        ++frames;
        if (frames % 3 == 0) ring.free_to(position, sequence);
        if (frames % 3 != 0 && frames > THREADS * EACH - 3) ring.free_to(position, sequence);
    }
    CHECK(whole);
    if (!whole) ring.free_to(position, sequence);
    for (std::thread& thread : threads) thread.join();
    CHECK(next == std::vector<std::uint64_t>(THREADS, EACH));
}
