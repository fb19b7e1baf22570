#include "klineagg/engine/spare_blocks.hpp"

#include <algorithm>

#include "klineagg/detail/huge_pool.hpp"

namespace klineagg::engine {

SpareBlocks::Free* SpareBlocks::chain(Block* slab, std::size_t count, Free* next) noexcept {
    for (std::size_t i = count; i-- > 0;) next = new (slab[i].bytes) Free{next};
    return next;
}

SpareBlocks::Free* SpareBlocks::make(std::size_t slabs) {
    Free* first = nullptr;
    for (; slabs != 0; --slabs) {
        const std::lock_guard lock(making_);
        slabs_.reserve(slabs_.size() + 1);
        // In huge pages: bars of an hour ago are all over the memory, and finding their pages
        // takes as long as reading them.
        slabs_.push_back(static_cast<Block*>(detail::huge_take(SLAB_BYTES)));
        bytes_.fetch_add(SLAB_BYTES, std::memory_order_relaxed);
        first = chain(slabs_.back(), SLAB_BLOCKS, first);
    }
    return first;
}

SpareBlocks::Free* SpareBlocks::make_missing() {
    // Not value-initialized: who takes a block writes it anyway.
    std::unique_ptr<Block[]> blocks(new Block[MISS_BLOCKS]);
    Free* const first = chain(blocks.get(), MISS_BLOCKS, nullptr);
    const std::lock_guard lock(making_);
    missing_.push_back(std::move(blocks));
    bytes_.fetch_add(MISS_BLOCKS * sizeof(Block), std::memory_order_relaxed);
    return first;
}

SpareBlocks::~SpareBlocks() {
    for (Block* const slab : slabs_) detail::huge_give(slab, SLAB_BYTES);
}

void SpareBlocks::prefetch(const void* block) noexcept {
    // To be written, all of it, by the next bar that closes: it lay aside since an hour ago.
    const auto* const bytes = static_cast<const char*>(block);
    for (std::size_t at = 0; at < BLOCK_BYTES; at += BLOCK_ALIGN) __builtin_prefetch(bytes + at, 1);
}

SpareBlocks::Free* SpareBlocks::pop() noexcept {
    if (free_ == nullptr) [[unlikely]] {
        free_ = ready_.exchange(nullptr, std::memory_order_acquire);
        if (free_ == nullptr) return nullptr;
    }
    Free* const block = free_;
    free_ = block->next;
    prefetch(block);
    return block;
}

void* SpareBlocks::take() {
    // The one that was asked for longest ago, and another one is asked for in its place.
    Free*& asked = asked_[next_asked_++ % ASKED];
    Free* block = asked != nullptr ? asked : pop();
    asked = pop();
    if (block == nullptr) [[unlikely]] {
        free_ = make_missing();
        misses_.store(misses_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        block = pop();
    }
    shown_taken_.store(++taken_, std::memory_order_relaxed);
    return block;
}

void SpareBlocks::give(void* block) noexcept {
    free_ = new (block) Free{free_};
    shown_taken_.store(--taken_, std::memory_order_relaxed);
}

bool SpareBlocks::refill(std::size_t symbols) {
    const std::int64_t taken = shown_taken_.load(std::memory_order_relaxed);
    const auto grown = static_cast<std::size_t>(std::max<std::int64_t>(taken - last_taken_, 0));
    last_taken_ = taken;
    // Bars close in bursts that come again, at every minute and hour: what one of them took is held
    // ready for the next, and forgotten over minutes only.
    const MonotonicNs now = monotonic_ns();
    if (now - forgot_at_ >= NS_PER_SECOND) {
        target_ -= target_ / 128;
        forgot_at_ = now;
    }
    // A boundary that many intervals share may close several bars of each symbol, and the first
    // such burst comes unannounced.
    target_ = std::clamp(std::max(2 * grown, target_), SPARES_MIN + SPARES_EACH * symbols,
                         SPARES_MAX + SPARES_EACH * symbols);
    const std::int64_t spare = put_ - taken;
    // While the worker has not fetched the last ones, it has enough.
    if (spare >= static_cast<std::int64_t>(target_ / 2) ||
        ready_.load(std::memory_order_relaxed) != nullptr) {
        return false;
    }
    const auto count = static_cast<std::size_t>(
        std::max<std::int64_t>(static_cast<std::int64_t>(target_) - std::max<std::int64_t>(spare, 0), 1));
    const std::size_t slabs = (count + SLAB_BLOCKS - 1) / SLAB_BLOCKS;
    ready_.store(make(slabs), std::memory_order_release);
    put_ += static_cast<std::int64_t>(slabs * SLAB_BLOCKS);
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
    (void)pools_.back().pool->refill(0);
    return *pools_.back().pool;
}

void BlockStore::take_back(SpareBlocks& pool) {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : pools_) entry.lent = entry.lent && entry.pool.get() != &pool;
}

bool BlockStore::refill(std::size_t symbols) {
    const std::lock_guard lock(mutex_);
    bool busy = false;
    std::size_t lent = 0;
    for (const Entry& entry : pools_) lent += entry.lent ? 1 : 0;
    for (Entry& entry : pools_)
        busy = (entry.lent && entry.pool->refill(symbols / lent)) || busy;
    return busy;
}

std::int64_t BlockStore::misses() const {
    const std::lock_guard lock(mutex_);
    std::int64_t total = 0;
    for (const Entry& entry : pools_) total += entry.pool->misses();
    return total;
}

std::size_t BlockStore::bytes() const {
    const std::lock_guard lock(mutex_);
    std::size_t total = 0;
    for (const Entry& entry : pools_) total += entry.pool->bytes();
    return total;
}

}  // namespace klineagg::engine
