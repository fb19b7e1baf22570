// Frames on their way from many threads to the one that writes them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "klineagg/engine/metrics.hpp"
#include "klineagg/wal/format.hpp"

namespace klineagg::wal {

/// A ring of bytes. One compare-and-swap takes room and numbers together, so the order of the
/// bytes is the order of the numbers; a frame is filled by its thread and then committed. No
/// lock, no allocation and no system call. A thread that stops between the two holds the writer
/// up, never another thread's `reserve`.
class Ring {
public:
    /// In front of each payload.
    struct Entry {
        std::uint32_t bytes = 0;
        std::uint32_t count = 0;
        Sequence sequence = 0;
        TimeNs time = 0;
        std::uint32_t grains = 0;  // of the ring, with this
        Topic topic = Topic::application;
        std::uint8_t flags = 0;
        std::uint16_t schema = 0;
    };
    static_assert(sizeof(Entry) == 32);

    /// Room that was taken: fill the payload, then commit.
    struct Slot {
        Entry* entry = nullptr;
        std::byte* payload = nullptr;
        std::uint64_t position = 0;
    };

    /// `bytes`: rounded up to a power of two between BYTES_MIN and BYTES_MAX. `next`: the number
    /// of the first record.
    Ring(std::size_t bytes, Sequence next);
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring();

    static constexpr std::size_t BYTES_MIN = std::size_t{1} << 12U;
    static constexpr std::size_t BYTES_MAX = std::size_t{1} << 30U;

    /// The largest payload that is sure to find room when the ring is empty.
    [[nodiscard]] std::size_t payload_bytes_max() const noexcept {
        return bytes() / 2 - sizeof(Entry);
    }
    [[nodiscard]] std::size_t bytes() const noexcept { return grains_ * GRAIN; }

    // --- Any thread ---

    /// False when there is no room now. `count` records, at most one for each byte of the payload
    /// or one. The entry has everything but time, topic, flags and schema.
    [[nodiscard]] bool reserve(std::size_t payload_bytes, std::uint32_t count, Slot& slot) noexcept;
    void commit(const Slot& slot) noexcept {
        committed_[slot.position & mask_].store(slot.position + 1, std::memory_order_release);
    }
    /// The number that the next record will have.
    [[nodiscard]] Sequence next_sequence() const noexcept;
    [[nodiscard]] std::uint64_t used_bytes() const noexcept;

    // --- The writer ---

    /// The frame at `position`, nullptr when it is not committed. Steps over what was left free
    /// at the end of the ring.
    [[nodiscard]] const Entry* peek(std::uint64_t& position) const noexcept;
    [[nodiscard]] static Bytes payload_of(const Entry& entry) noexcept {
        return {reinterpret_cast<const std::byte*>(&entry) + sizeof entry, entry.bytes};
    }
    /// All that lies before `position` may be overwritten; `next`: the number behind it.
    void free_to(std::uint64_t position, Sequence next) noexcept;
    [[nodiscard]] std::uint64_t freed() const noexcept {
        return freed_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] Sequence freed_sequence() const noexcept {
        return base_.load(std::memory_order_relaxed);
    }
    /// Whether nothing lies behind `position`, committed or not.
    [[nodiscard]] bool is_end(std::uint64_t position) const noexcept;

private:
    static constexpr std::size_t GRAIN = 64;
    static constexpr std::uint32_t SKIP = 0xffffffffU;  // Entry::bytes: no frame, room left free

    [[nodiscard]] Entry* entry_at(std::uint64_t position) const noexcept {
        return reinterpret_cast<Entry*>(memory_ + (position & mask_) * GRAIN);
    }

    std::size_t grains_;
    std::uint64_t mask_;
    std::byte* memory_;
    // By grain: the position of the frame that was committed there, plus 1. Beside the bytes and
    // not among them, since a payload may hold any number.
    std::unique_ptr<std::atomic<std::uint64_t>[]> committed_;
    // Both as their low 32 bits: position in grains below, number of the next record above. The
    // whole numbers lie less than 2^32 above those of `freed_` and `base_`.
    alignas(engine::LINE_BYTES) std::atomic<std::uint64_t> reserved_;
    alignas(engine::LINE_BYTES) std::atomic<std::uint64_t> freed_{0};
    std::atomic<Sequence> base_;
};

}  // namespace klineagg::wal
