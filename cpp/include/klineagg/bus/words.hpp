// Copies beside a writer of another process: a plain memcpy would be a data race, so records move
// in atomic words of 8 bytes, and a check afterwards says whether they belong together.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace klineagg::bus {

using Word = std::atomic<std::uint64_t>;
static_assert(sizeof(Word) == 8 && Word::is_always_lock_free);

#if defined(__SANITIZE_THREAD__)
#define KLINEAGG_BUS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KLINEAGG_BUS_TSAN 1
#endif
#endif

// ThreadSanitizer does not know fences. There each word carries the order itself, which is the
// same promise (and on x86 the same instructions).
#if defined(KLINEAGG_BUS_TSAN)
inline constexpr std::memory_order WORD_STORE = std::memory_order_release;
inline constexpr std::memory_order WORD_LOAD = std::memory_order_acquire;
inline void fence_release() noexcept {}
inline void fence_acquire() noexcept {}
#else
inline constexpr std::memory_order WORD_STORE = std::memory_order_relaxed;
inline constexpr std::memory_order WORD_LOAD = std::memory_order_relaxed;
inline void fence_release() noexcept { std::atomic_thread_fence(std::memory_order_release); }
inline void fence_acquire() noexcept { std::atomic_thread_fence(std::memory_order_acquire); }
#endif

/// `from` is private memory of any alignment.
inline void store_words(Word* to, const std::byte* from, std::size_t words) noexcept {
    for (std::size_t i = 0; i < words; ++i) {
        std::uint64_t value;
        __builtin_memcpy(&value, from + i * 8, 8);
        to[i].store(value, WORD_STORE);
    }
}

/// `to` is private memory of any alignment.
inline void load_words(std::byte* to, const Word* from, std::size_t words) noexcept {
    for (std::size_t i = 0; i < words; ++i) {
        const std::uint64_t value = from[i].load(WORD_LOAD);
        __builtin_memcpy(to + i * 8, &value, 8);
    }
}

}  // namespace klineagg::bus
