// Which symbols' open bars changed: one bit on the trade path, the rest off it.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "klineagg/engine/growing_array.hpp"

namespace klineagg::engine {

/// A set of slots. Grown by the keeper, used by one thread.
class SlotSet {
public:
    static constexpr std::size_t NONE = ~std::size_t{0};

    void grow(std::size_t slots) { words_.grow((slots + 63) / 64); }
    [[nodiscard]] bool contains(std::size_t slot) const noexcept {
        return (words_[slot / 64] >> (slot % 64) & 1U) != 0;
    }
    /// True when it was not in it.
    bool insert(std::size_t slot) noexcept {
        std::uint64_t& word = words_[slot / 64];
        const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
        const bool is_new = (word & bit) == 0;
        word |= bit;
        return is_new;
    }
    void erase(std::size_t slot) noexcept {
        words_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
    }
    /// The first member in [from, limit), NONE when there is none.
    [[nodiscard]] std::size_t next(std::size_t from, std::size_t limit) const noexcept {
        for (std::size_t word = from / 64; word * 64 < limit; ++word) {
            std::uint64_t bits = words_[word];
            if (word == from / 64) bits &= ~std::uint64_t{0} << (from % 64);
            if (bits == 0) continue;
            const std::size_t slot = word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
            return slot < limit ? slot : NONE;
        }
        return NONE;
    }
    /// How many there are below `limit`.
    [[nodiscard]] std::size_t count(std::size_t limit) const noexcept {
        std::size_t members = 0;
        for (std::size_t word = 0; word * 64 < limit; ++word)
            members += static_cast<std::size_t>(std::popcount(words_[word]));
        return members;
    }
    [[nodiscard]] std::uint64_t word(std::size_t index) const noexcept { return words_[index]; }
    void set_word(std::size_t index, std::uint64_t bits) noexcept { words_[index] = bits; }
    [[nodiscard]] std::size_t bytes() const noexcept { return words_.bytes(); }

private:
    GrowingArray<std::uint64_t> words_;
};

/// The slots that changed since the last freeze, in a list with room for every slot there is:
/// nothing is allocated when one is added. Its flag is in the slot, so each is in it once.
class DirtyTable {
public:
    void grow(std::size_t slots) {
        for (auto& list : lists_) list.grow(slots);
        listed_.grow(slots);
    }
    /// A slot that left and came back stands in the list already: more than once would overflow it.
    void add(std::uint32_t slot) noexcept {
        if (!listed_.insert(slot)) return;
        const std::size_t size = size_.load(std::memory_order_relaxed);
        lists_[active_][size] = slot;
        size_.store(size + 1, std::memory_order_relaxed);
    }
    /// Begins a new list; the one that ends is readable until the next freeze.
    void freeze() noexcept {
        frozen_ = size_.exchange(0, std::memory_order_relaxed);
        for (std::size_t i = 0; i < frozen_; ++i) listed_.erase(lists_[active_][i]);
        active_ = 1 - active_;
    }
    /// Forgets all of it: of a worker whose slots are others' now.
    void clear() noexcept {
        freeze();
        freeze();
    }
    /// Of anybody, about: how many there are now.
    [[nodiscard]] std::size_t size() const noexcept {
        return size_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::size_t frozen() const noexcept { return frozen_; }
    [[nodiscard]] std::uint32_t frozen(std::size_t index) const noexcept {
        return lists_[1 - active_][index];
    }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return lists_[0].bytes() + lists_[1].bytes() + listed_.bytes();
    }

private:
    GrowingArray<std::uint32_t> lists_[2];
    SlotSet listed_;  // those in the active list
    std::size_t active_ = 0;
    std::atomic<std::size_t> size_{0};
    std::size_t frozen_ = 0;
};

}  // namespace klineagg::engine
