// A bounded ring of records from which both ends may pop, in blocks.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "klineagg/engine/lane_record.hpp"
#include "klineagg/engine/metrics.hpp"

namespace klineagg::engine {

/// One producer and one worker. Whoever pops first copies, then claims what it copied by moving
/// the head: a worker that is stopped in between blocks nobody, and finds on its return that its
/// copy is void. Positions are those of the ring and never come round.
class LaneRing {
public:
    explicit LaneRing(std::size_t capacity)
        : capacity_(capacity),
          mask_(std::bit_ceil(capacity) - 1),
          slots_(std::make_unique<Slot[]>(mask_ + 1)) {}

    // --- Producer ---

    [[nodiscard]] std::uint64_t tail() const noexcept {
        return tail_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::size_t room() const noexcept {
        return capacity_ - (tail() - head_.load(std::memory_order_acquire));
    }
    /// There must be room.
    void push(std::span<const LaneRecord> records) noexcept {
        std::uint64_t position = tail();
        for (const LaneRecord& record : records) store(slots_[position++ & mask_], record);
        tail_.store(position, std::memory_order_release);
    }
    /// Pops up to `rows` of the oldest and shows each to `dropped(record, end)`: the position
    /// behind them all.
    template <class Dropped>
    void evict(std::size_t rows, Dropped&& dropped) noexcept {
        std::uint64_t head = head_.load(std::memory_order_acquire);
        std::uint64_t end = head;
        do {
            end = std::min(tail(), head + rows);
        } while (!head_.compare_exchange_weak(head, end, std::memory_order_acq_rel,
                                              std::memory_order_acquire));
        // Nobody else writes slots: they are as they were until this thread pushes again.
        LaneRecord record;
        for (std::uint64_t at = head; at < end; ++at) {
            load(slots_[at & mask_], record);
            dropped(record, end);
        }
    }
    /// Of an empty ring: moves its head, so that a claim made with an older one must fail.
    void move_on() noexcept {
        LaneRecord skip;
        skip.taker_buy = SKIP;
        push({&skip, 1});
        evict(1, [](const LaneRecord&, std::uint64_t) {});
    }

    // --- Worker ---

    [[nodiscard]] std::uint64_t head() const noexcept {
        return head_.load(std::memory_order_acquire);
    }
    enum class Claim : std::uint8_t { none, rows, lost };
    /// Copies rows from `head` on, which may have been read long ago, and claims them. `lost`: the
    /// head has moved, or the row was none.
    Claim take(std::uint64_t head, std::uint64_t rows_max, std::span<LaneRecord>& into) noexcept {
        const std::uint64_t there = tail_.load(std::memory_order_acquire) - head;
        const std::size_t rows = std::min({std::uint64_t{into.size()}, there, rows_max});
        if (rows == 0) return Claim::none;
        for (std::size_t i = 0; i < rows; ++i) load(slots_[(head + i) & mask_], into[i]);
        if (!head_.compare_exchange_strong(head, head + rows, std::memory_order_acq_rel,
                                           std::memory_order_relaxed))
            return Claim::lost;
        if (into[0].taker_buy == SKIP) return Claim::lost;  // always alone in the ring
        into = into.first(rows);
        return Claim::rows;
    }
    [[nodiscard]] bool empty() const noexcept {
        return head() == tail_.load(std::memory_order_acquire);
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return sizeof *this + (mask_ + 1) * sizeof(Slot);
    }

private:
    static constexpr std::uint8_t SKIP = 0xff;
    static constexpr std::size_t WORDS = sizeof(LaneRecord) / sizeof(std::uint64_t);
    // Words are atomic because a worker may copy a slot that is being written over. Release and
    // acquire, because who has read such a word must then find the head moved.
    using Slot = std::array<std::atomic<std::uint64_t>, WORDS>;

    static void store(Slot& slot, const LaneRecord& record) noexcept {
        // Word by word between both places: through a whole copy in between, wide loads would
        // wait for the narrow stores before them, at four times the cost.
        const auto* from = reinterpret_cast<const std::byte*>(&record);
        for (std::size_t i = 0; i < WORDS; ++i) {
            std::uint64_t word = 0;
            std::memcpy(&word, from + i * sizeof word, sizeof word);
            slot[i].store(word, std::memory_order_release);
        }
    }
    static void load(const Slot& slot, LaneRecord& record) noexcept {
        auto* to = reinterpret_cast<std::byte*>(&record);
        for (std::size_t i = 0; i < WORDS; ++i) {
            const std::uint64_t word = slot[i].load(std::memory_order_acquire);
            std::memcpy(to + i * sizeof word, &word, sizeof word);
        }
    }

    const std::size_t capacity_;
    const std::size_t mask_;
    const std::unique_ptr<Slot[]> slots_;
    alignas(LINE_BYTES) std::atomic<std::uint64_t> head_{0};
    alignas(LINE_BYTES) std::atomic<std::uint64_t> tail_{0};
};

}  // namespace klineagg::engine
