// Rows of values become columns, in registers.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

namespace klineagg::detail {

/// Four rows of four values become four columns. Of 8 bytes of whatever type: nothing is computed.
[[gnu::target("avx2"), gnu::always_inline]] inline void transpose(__m256d (&lines)[4]) noexcept {
    const __m256d even0 = _mm256_unpacklo_pd(lines[0], lines[1]);
    const __m256d odd0 = _mm256_unpackhi_pd(lines[0], lines[1]);
    const __m256d even1 = _mm256_unpacklo_pd(lines[2], lines[3]);
    const __m256d odd1 = _mm256_unpackhi_pd(lines[2], lines[3]);
    lines[0] = _mm256_permute2f128_pd(even0, even1, 0x20);
    lines[1] = _mm256_permute2f128_pd(odd0, odd1, 0x20);
    lines[2] = _mm256_permute2f128_pd(even0, even1, 0x31);
    lines[3] = _mm256_permute2f128_pd(odd0, odd1, 0x31);
}

}  // namespace klineagg::detail
#endif
