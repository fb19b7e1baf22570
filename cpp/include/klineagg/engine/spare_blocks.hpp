// Blocks for kept bars: made by the keeper, used by the workers.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "klineagg/block_pool.hpp"
#include "klineagg/engine/clock.hpp"

namespace klineagg::engine {

/// The pool of one worker. The keeper puts blocks in its way before it needs them.
class SpareBlocks final : public BlockPool {
public:
    SpareBlocks() = default;
    ~SpareBlocks();
    SpareBlocks(const SpareBlocks&) = delete;
    SpareBlocks& operator=(const SpareBlocks&) = delete;

    // --- The worker ---

    [[nodiscard]] void* take() override;
    void give(void* block) noexcept override;

    // --- The keeper ---

    /// Makes blocks until enough for a while are ready, of a worker with about so many symbols.
    /// True when it made any. Throws std::bad_alloc.
    bool refill(std::size_t symbols = 0);

    // --- Anybody ---

    /// Memory of this pool's blocks, in use or not; blocks that moved to another pool stay here.
    [[nodiscard]] std::size_t bytes() const noexcept {
        return bytes_.load(std::memory_order_relaxed);
    }
    /// Blocks that were wanted when there were none, so that the worker had to make them.
    [[nodiscard]] std::int64_t misses() const noexcept {
        return misses_.load(std::memory_order_relaxed);
    }

private:
    struct Free {
        Free* next;
    };
    struct alignas(BLOCK_ALIGN) Block {
        std::byte bytes[BLOCK_BYTES];
    };
    /// Blocks one behind the other, and which of them are free. They are taken in the order of
    /// their addresses, so that bars which close one after the other lie one behind the other:
    /// blocks in the order in which they came back would be all over the memory, and writing them
    /// took longer than all else about a bar that is kept.
    struct Slab {
        static constexpr std::size_t BYTES = std::size_t{1} << 18U;  // and its alignment
        static constexpr std::size_t WORDS = 11;
        static constexpr std::size_t BLOCKS = 682;

        Block blocks[BLOCKS];
        std::uint64_t free[WORDS];
        std::size_t free_count;
        const SpareBlocks* owner;
        Slab* next;
        bool is_queued;
    };
    static_assert(sizeof(Slab) <= Slab::BYTES && Slab::BLOCKS <= 64 * Slab::WORDS);

    static constexpr std::size_t ASKED = 4;  // a power of two
    static constexpr std::size_t SPARES_MIN = 512;
    static constexpr std::size_t SPARES_MAX = 65536;
    static constexpr std::size_t SPARES_EACH = 2;  // for each symbol

    static void prefetch(const void* block) noexcept;
    [[nodiscard]] static Slab& slab_of(void* block) noexcept;
    /// The next free block; nullptr when the keeper is behind.
    void* pop() noexcept;
    /// Goes on to the next slab with free blocks; false: there is none.
    bool turn() noexcept;
    /// New slabs, linked. `touched`: the system has given their pages.
    Slab* make(std::size_t slabs, bool touched);

    // Of the worker.
    Slab* current_ = nullptr;
    std::size_t word_ = 0;
    Slab* first_ = nullptr;  // of those with free blocks behind the current one, in turn
    Slab* last_ = nullptr;
    Free* foreign_ = nullptr;  // blocks of other pools
    // The next ones to be taken, in turn: their memory is asked for when they come in here.
    std::array<void*, ASKED> asked_{};
    std::size_t next_asked_ = 0;
    std::int64_t taken_ = 0;  // less what was given back
    std::atomic<std::int64_t> shown_taken_{0};
    std::atomic<std::int64_t> misses_{0};

    alignas(128) std::atomic<Slab*> ready_{nullptr};  // from the keeper, for the worker

    // Of the keeper.
    alignas(128) std::int64_t put_ = 0;
    std::int64_t last_taken_ = 0;
    std::size_t target_ = SPARES_MIN;
    MonotonicNs forgot_at_ = 0;

    std::mutex making_;  // a worker that finds nothing makes a slab itself
    std::vector<Slab*> slabs_;
    std::atomic<std::size_t> bytes_{0};
};

/// The pools of an engine. Bars outlive the worker that kept them, so their memory does too.
class BlockStore {
public:
    /// A pool for a new worker: one that is free again, or a new one.
    [[nodiscard]] SpareBlocks& lend();
    void take_back(SpareBlocks& pool);
    /// Of the keeper: refills all that are lent.
    bool refill(std::size_t symbols = 0);
    [[nodiscard]] std::size_t bytes() const;
    [[nodiscard]] std::int64_t misses() const;

private:
    struct Entry {
        std::unique_ptr<SpareBlocks> pool;
        bool lent;
    };
    mutable std::mutex mutex_;
    std::vector<Entry> pools_;
};

}  // namespace klineagg::engine
