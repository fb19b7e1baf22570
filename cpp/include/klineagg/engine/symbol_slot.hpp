// The state of one symbol, and the table of all of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "klineagg/aggregator.hpp"
#include "klineagg/engine/duplicates.hpp"
#include "klineagg/engine/growing_array.hpp"
#include "klineagg/engine/kept_rows.hpp"
#include "klineagg/engine/plan_generation.hpp"

namespace klineagg::engine {

inline constexpr std::uint32_t NOT_IN_HEAP = std::numeric_limits<std::uint32_t>::max();

/// One symbol. Owned by one worker at a time: nothing in it is shared, so nothing is atomic.
struct SymbolSlot {
    SymbolSlot(const PlanGeneration& plan, std::uint32_t index_, std::size_t keep_bars)
        : index(index_),
          generation(plan.number),
          kept(plan.outputs.size(), keep_bars),
          aggregator(plan.plan, plan.options) {}

    // One cache line that grouping a block reads, just before the bars themselves.
    std::int32_t symbol = -1;
    std::uint32_t index;
    std::uint32_t heap_index = NOT_IN_HEAP;
    std::uint32_t generation;        // of the plan that the aggregator follows
    std::uint32_t block_rows = 0;    // of the block that is being grouped
    TimeNs clock_seen = TIME_NONE;   // the clock's watermark that the aggregator has reached
    std::int64_t trades = 0;         // applied; the measured load
    TimeNs joined = TIME_NONE;       // the clock when it was first heard of
    SeenIds ids;                     // of its trades
    bool dirty = false;              // its open bars changed since the last freeze

    // By output, since when the bars of intervals are whole that came later; empty: all are.
    std::vector<TimeNs> begins;
    KeptRows kept;

    [[nodiscard]] TimeNs begin_of(int output) const noexcept {
        return begins.empty() ? TIME_NONE : begins[static_cast<std::size_t>(output)];
    }
    /// Read by whoever balances the workers' loads.
    void count_trades(std::int64_t count) noexcept {
        std::atomic_ref(trades).store(trades + count, std::memory_order_relaxed);
    }
    [[nodiscard]] std::int64_t trades_seen() noexcept {
        return std::atomic_ref(trades).load(std::memory_order_relaxed);
    }

    alignas(64) SymbolAggregator<PartialBar> aggregator;
};

/// Asks for the bar that the symbol's next trade changes.
inline void prefetch_base(const SymbolSlot& slot) noexcept {
    const auto* const bar = reinterpret_cast<const char*>(&slot.aggregator);
    for (std::size_t at = 0; at < sizeof(PartialBar); at += 64) __builtin_prefetch(bar + at, 1);
}

/// Slots in chunks that are made ahead; indices are dense and never move.
class SlotTable {
public:
    static constexpr std::uint32_t CHUNK_BITS = 6;
    static constexpr std::uint32_t CHUNK = 1U << CHUNK_BITS;
    static constexpr std::uint32_t CHUNKS_MAX = 1U << 14U;

    /// `before_growth(slots)` makes room in every table by slot, before anybody can claim one.
    SlotTable(const PlanGeneration& generation, std::size_t keep_bars);
    /// Slots are made for this generation from now on.
    void follow(const PlanGeneration& generation);
    /// It is called at once with the slots there are.
    void on_growth(std::function<void(std::uint32_t slots)> before_growth);
    ~SlotTable();
    SlotTable(const SlotTable&) = delete;
    SlotTable& operator=(const SlotTable&) = delete;

    SymbolSlot& operator[](std::uint32_t index) const noexcept {
        return (*chunks_[index >> CHUNK_BITS].load(std::memory_order_acquire))[index & (CHUNK - 1)];
    }

    /// A slot that nobody has: one that was given back, or the first of those made ahead. Without a
    /// lock unless they are used up: then one more chunk is made here. Throws std::bad_alloc.
    std::uint32_t claim();

    /// An empty slot to take the place of that one. Throws std::bad_alloc.
    [[nodiscard]] std::unique_ptr<SymbolSlot> make_one(std::uint32_t index) const {
        return std::make_unique<SymbolSlot>(*generation_, index, keep_bars_);
    }
    /// Gives a slot back, which nobody else knows any more.
    void release(std::uint32_t index) noexcept;

    /// Makes sure that `spare` slots are ready; true when it made some. One lock.
    bool prepare(std::uint32_t spare);

    [[nodiscard]] std::uint32_t used() const noexcept {
        return used_.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint32_t made() const noexcept {
        return made_.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::size_t bytes() const noexcept;
    /// How often none was ready, so that who claimed one had to make some.
    [[nodiscard]] std::int64_t misses() const noexcept {
        return misses_.load(std::memory_order_relaxed);
    }
    /// Of the rows that keep_bars holds.
    [[nodiscard]] std::size_t kept_bytes() const noexcept {
        return made() * KeptRows::bytes_of(generation_->outputs.size(), keep_bars_);
    }

private:
    using Chunk = std::vector<SymbolSlot, detail::HugeAllocator<SymbolSlot>>;

    void make_chunk();
    bool take_free(std::uint32_t& index) noexcept;

    const PlanGeneration* generation_;
    std::size_t keep_bars_;
    std::function<void(std::uint32_t)> before_growth_;
    std::mutex making_;
    std::unique_ptr<std::atomic<Chunk*>[]> chunks_;
    std::atomic<std::uint32_t> made_{0};
    std::atomic<std::int64_t> misses_{0};
    // Slots given back, as a stack: the first one + 1, below a count of changes, so that one that
    // was taken and given back meanwhile is told from one that stayed.
    std::atomic<std::uint64_t> free_{0};
    GrowingArray<std::uint32_t> next_free_;
    alignas(128) std::atomic<std::uint32_t> used_{0};
};

}  // namespace klineagg::engine
