// Memory in blocks of one size, from whoever wants to give it.
#pragma once

#include <cstddef>
#include <new>

namespace klineagg {

/// Where kept bars and their kin come from. The seam by which a thread that must not allocate is
/// given memory that another one has made ready.
class BlockPool {
public:
    static constexpr std::size_t BLOCK_BYTES = 384;  // a bar that is kept, and its links
    static constexpr std::size_t BLOCK_ALIGN = 64;

    /// Throws std::bad_alloc.
    [[nodiscard]] virtual void* take() = 0;
    virtual void give(void* block) noexcept = 0;

protected:
    ~BlockPool() = default;
};

namespace detail {

/// Room for one T: a block of the pool, or of the heap when there is none.
template <class T>
[[nodiscard]] void* take_block(BlockPool* pool) {
    static_assert(sizeof(T) <= BlockPool::BLOCK_BYTES);
    static_assert(alignof(T) <= BlockPool::BLOCK_ALIGN);
    if (pool != nullptr) return pool->take();
    return ::operator new(sizeof(T), std::align_val_t{BlockPool::BLOCK_ALIGN});
}

template <class T>
void give_block(BlockPool* pool, T* block) noexcept {
    if (pool != nullptr) pool->give(block);
    else ::operator delete(block, std::align_val_t{BlockPool::BLOCK_ALIGN});
}

}  // namespace detail

}  // namespace klineagg
