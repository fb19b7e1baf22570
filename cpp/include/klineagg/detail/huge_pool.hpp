// Memory for state that is scattered by symbol: in huge pages, where there are any.
#pragma once

#include <cstddef>
#include <limits>
#include <new>

namespace klineagg::detail {

inline constexpr std::size_t HUGE_POOL_ALIGN = 64;

/// `align`: a power of two, up to a huge page. Throws std::bad_alloc. Any thread; takes a lock.
[[nodiscard]] void* huge_take(std::size_t bytes, std::size_t align = HUGE_POOL_ALIGN);
/// `bytes` and `align` as they were taken.
void huge_give(void* memory, std::size_t bytes, std::size_t align = HUGE_POOL_ALIGN) noexcept;
/// What the pool has from the system, in use or not.
[[nodiscard]] std::size_t huge_pool_bytes() noexcept;

/// For containers whose elements many symbols have: in pages of 4 KiB, finding a symbol's bars in
/// the page table took longer than reading them.
template <class T>
struct HugeAllocator {
    using value_type = T;

    HugeAllocator() = default;
    template <class Other>
    HugeAllocator(const HugeAllocator<Other>&) noexcept {}

    [[nodiscard]] T* allocate(std::size_t count) {
        static_assert(alignof(T) <= HUGE_POOL_ALIGN);
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_alloc();
        return static_cast<T*>(huge_take(count * sizeof(T)));
    }
    void deallocate(T* memory, std::size_t count) noexcept {
        huge_give(memory, count * sizeof(T));
    }
    friend bool operator==(const HugeAllocator&, const HugeAllocator&) noexcept { return true; }
};

}  // namespace klineagg::detail
