// Vectors of four 64-bit lanes: half a cache line of a bar. Compilers make two of two lanes of
// them where the machine has no wider ones.
#pragma once

#include <cstdint>
#include <cstring>

namespace klineagg::detail {

using Double4 = double __attribute__((vector_size(32)));
using Int4 = std::int64_t __attribute__((vector_size(32)));

// By reference and always inlined: a function that passed such a vector by value would have one
// ABI where it is compiled for wide vectors and another where it is not.
template <class Vector>
[[gnu::always_inline]] inline void load4(Vector& to, const void* from) noexcept {
    static_assert(sizeof(Vector) == 32);
    std::memcpy(&to, from, sizeof to);
}
template <class Vector>
[[gnu::always_inline]] inline void store4(void* to, const Vector& from) noexcept {
    static_assert(sizeof(Vector) == 32);
    std::memcpy(to, &from, sizeof from);
}

}  // namespace klineagg::detail
