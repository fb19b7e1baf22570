#include "klineagg/engine/spare_blocks.hpp"

#include <algorithm>

namespace klineagg::engine {

SpareBlocks::Free* SpareBlocks::make(std::size_t count, Free*& last) {
    // Not value-initialized: who takes a block writes it anyway.
    std::unique_ptr<Block[]> slab(new Block[count]);
    Free* first = nullptr;
    for (std::size_t i = count; i-- > 0;) {
        first = new (slab[i].bytes) Free{first};
        if (i + 1 == count) last = first;
    }
    const std::lock_guard lock(making_);
    slabs_.push_back(std::move(slab));
    bytes_.fetch_add(count * sizeof(Block), std::memory_order_relaxed);
    return first;
}

void* SpareBlocks::take() {
    if (free_ == nullptr) [[unlikely]] {
        free_ = ready_.exchange(nullptr, std::memory_order_acquire);
        if (free_ == nullptr) {
            Free* last = nullptr;
            free_ = make(MISS_BLOCKS, last);
            misses_.store(misses_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
    }
    Free* const block = free_;
    free_ = block->next;
    shown_taken_.store(++taken_, std::memory_order_relaxed);
    return block;
}

void SpareBlocks::give(void* block) noexcept {
    free_ = new (block) Free{free_};
    shown_taken_.store(--taken_, std::memory_order_relaxed);
}

bool SpareBlocks::refill() {
    const std::int64_t taken = shown_taken_.load(std::memory_order_relaxed);
    // Four times what was taken since the last look: the next one may be late.
    const auto grown = static_cast<std::size_t>(std::max<std::int64_t>(taken - last_taken_, 0));
    last_taken_ = taken;
    target_ = std::clamp(std::max(4 * grown, target_ - target_ / 8), SPARES_MIN, SPARES_MAX);
    const std::int64_t spare = put_ - taken;
    // While the worker has not fetched the last ones, it has enough.
    if (spare >= static_cast<std::int64_t>(target_ / 2) ||
        ready_.load(std::memory_order_relaxed) != nullptr) {
        return false;
    }
    const auto count = static_cast<std::size_t>(
        std::max<std::int64_t>(static_cast<std::int64_t>(target_) - std::max<std::int64_t>(spare, 0), 1));
    Free* last = nullptr;
    ready_.store(make(count, last), std::memory_order_release);
    put_ += static_cast<std::int64_t>(count);
    return true;
}

SpareBlocks& BlockStore::lend() {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : pools_) {
        if (entry.lent) continue;
        entry.lent = true;
        return *entry.pool;
    }
    pools_.push_back({std::make_unique<SpareBlocks>(), true});
    (void)pools_.back().pool->refill();
    return *pools_.back().pool;
}

void BlockStore::take_back(SpareBlocks& pool) {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : pools_) entry.lent = entry.lent && entry.pool.get() != &pool;
}

bool BlockStore::refill() {
    const std::lock_guard lock(mutex_);
    bool busy = false;
    for (Entry& entry : pools_) busy = (entry.lent && entry.pool->refill()) || busy;
    return busy;
}

std::size_t BlockStore::bytes() const {
    const std::lock_guard lock(mutex_);
    std::size_t total = 0;
    for (const Entry& entry : pools_) total += entry.pool->bytes();
    return total;
}

}  // namespace klineagg::engine
