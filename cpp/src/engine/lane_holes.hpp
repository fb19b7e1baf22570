// What is known of the trades that a lane dropped, on its way from the producer to the worker.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "klineagg/engine/hole_table.hpp"
#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/metrics.hpp"

namespace klineagg::engine {

/// The producer notes what it drops together, and shows it. As long as the worker has not taken
/// that, the producer takes it back for what it drops next: so there is one table, with room for
/// whatever comes, and the worker never takes a row in front of which a hole waits for room.
class LaneHoles {
public:
    // One for the producer to note in, one that is shown, one in the worker's hands.
    static constexpr std::size_t TABLES = 3;
    /// Of memory beside it, most of which is never touched.
    static constexpr std::size_t REST_BYTES = TABLES * HoleTable::REST_BYTES;

    // --- Producer ---

    void note(const LaneRecord& record, std::uint64_t position) noexcept {
        tables_[noted_].add({record.time, record.time, record.symbol}, position);
    }
    void show() noexcept;

    // --- Worker ---

    /// Of the first hole that is not taken; NOWHERE: there is none.
    [[nodiscard]] std::uint64_t position() const noexcept {
        const std::uint64_t shown = shown_.load(std::memory_order_acquire);
        return shown == NOTHING ? HoleTable::NOWHERE : shown >> INDEX_BITS;
    }
    /// All that there are, until they are given back, before which there is nothing more to take.
    /// None while the producer adds to them.
    [[nodiscard]] HoleTable* take() noexcept;
    void give_back() noexcept;

private:
    static constexpr unsigned INDEX_BITS = 2;
    static constexpr std::uint64_t INDEX = (std::uint64_t{1} << INDEX_BITS) - 1;
    static constexpr std::uint64_t AT_PRODUCER = INDEX;
    static constexpr std::uint64_t NOTHING = ~std::uint64_t{0};

    std::array<HoleTable, TABLES> tables_;
    std::size_t noted_ = 0;  // of the producer
    std::size_t taken_ = 0;  // of the worker
    // Where its first hole is and which table it is, in one word: the worker looks no further
    // while it has not come there.
    alignas(LINE_BYTES) std::atomic<std::uint64_t> shown_{NOTHING};
    std::atomic<std::uint32_t> free_{((1U << TABLES) - 1) & ~1U};  // tables that are nobody's
};

}  // namespace klineagg::engine
