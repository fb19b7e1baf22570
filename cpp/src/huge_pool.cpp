#include "klineagg/detail/huge_pool.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "klineagg/detail/fork_lock.hpp"

namespace klineagg::detail {

namespace {

constexpr std::size_t HUGE_PAGE = std::size_t{2} << 20;

std::size_t rounded(std::size_t bytes) {
    return (bytes + HUGE_POOL_ALIGN - 1) / HUGE_POOL_ALIGN * HUGE_POOL_ALIGN;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool POOLED = false;  // the sanitizer watches the heap
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool POOLED = false;
#else
constexpr bool POOLED = true;
#endif
#else
constexpr bool POOLED = true;
#endif

/// Carves pieces from huge pages; pieces of one size are used again. Sizes are few: symbols have
/// the levels of their plan.
class Pool {
public:
    void* take(std::size_t bytes, std::size_t align) {
        const std::lock_guard lock(mutex_);
        std::vector<void*>& kept = kept_[{bytes, align}];
        if (!kept.empty()) {
            void* const piece = kept.back();
            kept.pop_back();
            used_ += bytes;
            return piece;
        }
        if (const std::size_t skipped = to_skip(align); bytes + skipped <= left_) {
            next_ += skipped;
            left_ -= skipped;
        } else {
            carve(bytes);  // which begins with a huge page
        }
        const std::size_t made = ++made_[{bytes, align}];
        if (kept.capacity() < made) kept.reserve(2 * made);  // so that giving back never allocates
        std::byte* const piece = next_;
        next_ += bytes;
        left_ -= bytes;
        used_ += bytes;
        return piece;
    }

    void give(void* piece, std::size_t bytes, std::size_t align) noexcept {
        const std::lock_guard lock(mutex_);
        kept_.find({bytes, align})->second.push_back(piece);
        used_ -= bytes;
        if (used_ == 0) release();
    }

    std::size_t bytes() noexcept {
        const std::lock_guard lock(mutex_);
        return bytes_;
    }

    std::mutex& mutex() noexcept { return mutex_; }

private:
    struct Region {
        std::byte* data;
        std::size_t size;
    };

    [[nodiscard]] std::size_t to_skip(std::size_t align) const noexcept {
        return (align - reinterpret_cast<std::uintptr_t>(next_) % align) % align;
    }

    void carve(std::size_t bytes) {
        const std::size_t size = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        regions_.reserve(regions_.size() + 1);
        // One page more, so that a huge page can begin inside; what is beside it goes back.
        void* const memory = ::mmap(nullptr, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        auto* const begin = static_cast<std::byte*>(memory);
        const std::size_t over = reinterpret_cast<std::uintptr_t>(memory) % HUGE_PAGE;
        const std::size_t before = (HUGE_PAGE - over) % HUGE_PAGE;
        if (before != 0) (void)::munmap(begin, before);
        (void)::munmap(begin + before + size, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
        (void)::madvise(begin + before, size, MADV_HUGEPAGE);
#endif
        regions_.push_back({begin + before, size});
        bytes_ += size;
        next_ = begin + before;
        left_ = size;
    }

    /// All but one: many small runs in turn need not clear a huge page each.
    void release() noexcept {
        while (regions_.size() > 1) {
            (void)::munmap(regions_.back().data, regions_.back().size);
            regions_.pop_back();
        }
        kept_.clear();
        made_.clear();
        next_ = regions_.front().data;
        left_ = bytes_ = regions_.front().size;
    }

    std::mutex mutex_;
    using Kind = std::pair<std::size_t, std::size_t>;  // size, alignment
    std::map<Kind, std::vector<void*>> kept_;
    std::map<Kind, std::size_t> made_;
    std::vector<Region> regions_;
    std::byte* next_ = nullptr;
    std::size_t left_ = 0;
    std::size_t used_ = 0;
    std::size_t bytes_ = 0;
};

/// Never destroyed: symbols may outlive every static object of this library.
Pool& pool() {
    static Pool* const only = new Pool;
    return *only;
}

std::mutex& pool_lock() noexcept { return pool().mutex(); }
[[maybe_unused]] const bool forks = free_in_children<pool_lock>();

}  // namespace

void* huge_take(std::size_t bytes, std::size_t align) {
    if (!POOLED) return ::operator new(bytes, std::align_val_t{align});
    return pool().take(rounded(bytes), align);
}

void huge_give(void* memory, std::size_t bytes, std::size_t align) noexcept {
    if (!POOLED) ::operator delete(memory, std::align_val_t{align});
    else pool().give(memory, rounded(bytes), align);
}

std::size_t huge_pool_bytes() noexcept { return pool().bytes(); }

}  // namespace klineagg::detail
