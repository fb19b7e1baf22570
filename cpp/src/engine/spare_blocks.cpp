#include "klineagg/engine/spare_blocks.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "klineagg/detail/huge_pool.hpp"

namespace klineagg::engine {

SpareBlocks::Slab* SpareBlocks::make(std::size_t slabs, bool touched) {
    constexpr std::size_t PAGE = 4096;
    Slab* first = nullptr;
    for (; slabs != 0; --slabs) {
        const std::lock_guard lock(making_);
        slabs_.reserve(slabs_.size() + 1);
        // In huge pages: bars of an hour ago are all over the memory, and finding their pages
        // takes as long as reading them.
        auto* const bytes = static_cast<char*>(detail::huge_take(Slab::BYTES, Slab::BYTES));
        if (touched)
            for (std::size_t at = 0; at < Slab::BYTES; at += PAGE)
                *static_cast<volatile char*>(bytes + at) = 0;
        auto* const slab = new (bytes) Slab;  // blocks are not cleared
        for (std::size_t i = 0; i < Slab::BLOCKS; ++i)
            slab->free[i / 64] = (i % 64 == 0 ? 0 : slab->free[i / 64]) | std::uint64_t{1} << i % 64;
        slab->free_count = Slab::BLOCKS;
        slab->owner = this;
        slab->next = first;
        slab->is_queued = true;
        first = slab;
        slabs_.push_back(slab);
        bytes_.fetch_add(Slab::BYTES, std::memory_order_relaxed);
    }
    return first;
}

SpareBlocks::~SpareBlocks() {
    for (Slab* const slab : slabs_) detail::huge_give(slab, Slab::BYTES, Slab::BYTES);
}

void SpareBlocks::prefetch(const void* block) noexcept {
    // To be written, all of it, by the next bar that closes: it lay aside since an hour ago.
    const auto* const bytes = static_cast<const char*>(block);
    for (std::size_t at = 0; at < BLOCK_BYTES; at += BLOCK_ALIGN) __builtin_prefetch(bytes + at, 1);
}

SpareBlocks::Slab& SpareBlocks::slab_of(void* block) noexcept {
    const auto place = reinterpret_cast<std::uintptr_t>(block);
    return *reinterpret_cast<Slab*>(static_cast<std::byte*>(block) - place % Slab::BYTES);
}

bool SpareBlocks::turn() noexcept {
    if (first_ == nullptr) {
        first_ = ready_.exchange(nullptr, std::memory_order_acquire);
        if (first_ == nullptr) return false;
        for (last_ = first_; last_->next != nullptr;) last_ = last_->next;
    }
    current_ = std::exchange(first_, first_->next);
    current_->is_queued = false;
    word_ = 0;
    return true;
}

void* SpareBlocks::pop() noexcept {
    void* block = nullptr;
    if (foreign_ != nullptr) [[unlikely]] {
        block = std::exchange(foreign_, foreign_->next);
    } else {
        if ((current_ == nullptr || current_->free_count == 0) && !turn()) return nullptr;
        while (current_->free[word_] == 0) word_ = (word_ + 1) % Slab::WORDS;
        std::uint64_t& free = current_->free[word_];
        block = &current_->blocks[64 * word_ + static_cast<std::size_t>(std::countr_zero(free))];
        free &= free - 1;
        --current_->free_count;
    }
    prefetch(block);
    return block;
}

void* SpareBlocks::take() {
    // The one that was asked for longest ago, and another one is asked for in its place.
    void*& asked = asked_[next_asked_++ % ASKED];
    void* block = asked != nullptr ? asked : pop();
    asked = pop();
    if (block == nullptr) [[unlikely]] {
        first_ = last_ = make(1, false);
        misses_.store(misses_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        block = pop();
    }
    shown_taken_.store(++taken_, std::memory_order_relaxed);
    return block;
}

void SpareBlocks::give(void* block) noexcept {
    Slab& slab = slab_of(block);
    if (slab.owner != this) [[unlikely]] {
        foreign_ = new (block) Free{foreign_};
    } else {
        const auto index = static_cast<std::size_t>(static_cast<Block*>(block) - slab.blocks);
        slab.free[index / 64] |= std::uint64_t{1} << index % 64;
        if (++slab.free_count == 1 && &slab != current_ && !slab.is_queued) {
            slab.next = nullptr;
            slab.is_queued = true;
            (first_ != nullptr ? last_->next : first_) = &slab;
            last_ = &slab;
        }
    }
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
    const std::size_t slabs = (count + Slab::BLOCKS - 1) / Slab::BLOCKS;
    ready_.store(make(slabs, true), std::memory_order_release);
    put_ += static_cast<std::int64_t>(slabs * Slab::BLOCKS);
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
