// Memory that will be written soon, asked for before a writer has to wait for it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace klineagg::detail {

inline constexpr std::size_t CACHE_LINE = 64;  // bytes

/// Of an array that is written one item after the other: the item `ahead` places behind the one
/// at hand. An address, not a pointer: near the end of the array there is no such item.
template <class Item>
inline void prefetch_ahead(const Item* at, std::size_t ahead) noexcept {
    const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(at) + ahead * sizeof(Item);
    for (std::uintptr_t line = begin; line < begin + sizeof(Item); line += CACHE_LINE)
        // NOLINTNEXTLINE(performance-no-int-to-ptr): nothing is read or written through it
        __builtin_prefetch(reinterpret_cast<const void*>(line), 1);
}

}  // namespace klineagg::detail
