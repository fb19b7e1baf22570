// An array that grows without moving: its elements stay where they are while others use them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

namespace klineagg::engine {

/// Chunks behind a fixed directory. One thread at a time grows it (the caller sees to that); any
/// thread that has learned of an index (by whatever made it known) may use the element. So tables
/// that the trade path writes to never reallocate under it.
template <class T, std::size_t CHUNK_BITS = 10, std::size_t CHUNKS_MAX = 1024>
class GrowingArray {
public:
    static constexpr std::size_t CHUNK = std::size_t{1} << CHUNK_BITS;
    static constexpr std::size_t SIZE_MAX_ITEMS = CHUNK * CHUNKS_MAX;

    GrowingArray() = default;
    GrowingArray(const GrowingArray&) = delete;
    GrowingArray& operator=(const GrowingArray&) = delete;

    /// Makes room for `count` elements, the new ones value-initialized. Throws std::bad_alloc.
    void grow(std::size_t count) {
        while (owned_.size() * CHUNK < count) {
            owned_.push_back(std::make_unique<T[]>(CHUNK));
            chunks_[owned_.size() - 1].store(owned_.back().get(), std::memory_order_release);
        }
    }

    T& operator[](std::size_t index) noexcept {
        return chunks_[index >> CHUNK_BITS].load(std::memory_order_acquire)[index & (CHUNK - 1)];
    }
    const T& operator[](std::size_t index) const noexcept {
        return chunks_[index >> CHUNK_BITS].load(std::memory_order_acquire)[index & (CHUNK - 1)];
    }

    /// Of the growing thread.
    [[nodiscard]] std::size_t capacity() const noexcept { return owned_.size() * CHUNK; }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return owned_.size() * CHUNK * sizeof(T) + owned_.capacity() * sizeof(owned_[0]);
    }

private:
    std::array<std::atomic<T*>, CHUNKS_MAX> chunks_{};
    std::vector<std::unique_ptr<T[]>> owned_;
};

}  // namespace klineagg::engine
