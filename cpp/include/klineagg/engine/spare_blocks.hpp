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

    static constexpr std::size_t ASKED = 4;  // a power of two
    static constexpr std::size_t SPARES_MIN = 512;
    static constexpr std::size_t SPARES_MAX = 65536;
    static constexpr std::size_t SPARES_EACH = 2;  // for each symbol
    static constexpr std::size_t MISS_BLOCKS = 64;
    static constexpr std::size_t SLAB_BLOCKS = 682;  // eight slabs fill a huge page
    static constexpr std::size_t SLAB_BYTES = SLAB_BLOCKS * sizeof(Block);

    static void prefetch(const void* block) noexcept;
    static Free* chain(Block* slab, std::size_t count, Free* next) noexcept;
    /// The next free block, out of the list; nullptr when the keeper is behind.
    Free* pop() noexcept;
    /// A chain of new blocks.
    Free* make(std::size_t slabs);
    Free* make_missing();

    // Of the worker.
    Free* free_ = nullptr;
    // The next ones to be taken, in turn: their memory is asked for when they come in here.
    std::array<Free*, ASKED> asked_{};
    std::size_t next_asked_ = 0;
    std::int64_t taken_ = 0;  // less what was given back
    std::atomic<std::int64_t> shown_taken_{0};
    std::atomic<std::int64_t> misses_{0};

    alignas(128) std::atomic<Free*> ready_{nullptr};  // from the keeper, for the worker

    // Of the keeper.
    alignas(128) std::int64_t put_ = 0;
    std::int64_t last_taken_ = 0;
    std::size_t target_ = SPARES_MIN;
    MonotonicNs forgot_at_ = 0;

    std::mutex making_;  // a worker that finds nothing makes blocks itself
    std::vector<Block*> slabs_;
    std::vector<std::unique_ptr<Block[]>> missing_;  // made by the worker
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
