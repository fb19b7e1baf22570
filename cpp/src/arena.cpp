#include "klineagg/arena.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "klineagg/detail/fork_lock.hpp"

namespace klineagg {

namespace {

constexpr std::size_t HUGE_PAGE = std::size_t{2} << 20;
// Smaller blocks cost little to make, and would only crowd the cache.
constexpr std::size_t CACHED_BYTES_MIN = 2 * HUGE_PAGE;

struct Block {
    std::byte* data;
    std::size_t size;
};

/// Blocks that are worth keeping come in four sizes for each power of two: snapshots of a few rows
/// more each time would all ask the system for pages, which took ten times as long as their rows.
/// What nobody touches of a block is no memory.
std::size_t block_bytes(std::size_t bytes) noexcept {
    if (bytes < CACHED_BYTES_MIN || bytes > ARENA_CACHE_BYTES_MAX) return bytes;
    const std::size_t step = std::max(std::bit_floor(bytes) / 4, std::size_t{1});
    return (bytes + step - 1) / step * step;
}

class Cache {
public:
    /// A kept block for `bytes`, none of more than twice the size.
    bool take(std::size_t bytes, Block& block) noexcept {
        const std::lock_guard lock(mutex_);
        const auto fits = [bytes](const Block& kept) {
            return kept.size >= bytes && kept.size / 2 <= bytes;
        };
        const auto place = std::find_if(blocks_.begin(), blocks_.end(), fits);
        if (place == blocks_.end()) return false;
        block = *place;
        blocks_.erase(place);
        bytes_ -= block.size;
        return true;
    }

    /// False when there is no room for it.
    bool keep(Block block) noexcept {
#ifdef MADV_FREE
        if (block.size < CACHED_BYTES_MIN || block.size > ARENA_CACHE_BYTES_MAX) return false;
        const std::lock_guard lock(mutex_);
        while (bytes_ + block.size > ARENA_CACHE_BYTES_MAX) drop_first();
        if (::madvise(block.data, block.size, MADV_FREE) != 0) return false;
        try {
            blocks_.push_back(block);
        } catch (const std::bad_alloc&) {
            return false;
        }
        bytes_ += block.size;
        return true;
#else
        (void)block;
        return false;
#endif
    }

    void trim() noexcept {
        const std::lock_guard lock(mutex_);
        while (!blocks_.empty()) drop_first();
    }

    std::size_t bytes() noexcept {
        const std::lock_guard lock(mutex_);
        return bytes_;
    }

    std::mutex& mutex() noexcept { return mutex_; }

private:
    void drop_first() noexcept {
        (void)::munmap(blocks_.front().data, blocks_.front().size);
        bytes_ -= blocks_.front().size;
        blocks_.erase(blocks_.begin());
    }

    std::mutex mutex_;
    std::vector<Block> blocks_;
    std::size_t bytes_ = 0;
};

/// Never destroyed: arrays may outlive every static object of this library.
Cache& cache() {
    static Cache* const only = new Cache;
    return *only;
}

std::mutex& cache_lock() noexcept { return cache().mutex(); }
[[maybe_unused]] const bool forks = detail::free_in_children<cache_lock>();

/// A file in memory that has no name, so that nothing is left behind by a process that is killed.
int open_shared() noexcept {
#ifdef __linux__
    return ::memfd_create("klineagg-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
#else
    static std::atomic<unsigned> count{0};
    for (int attempt = 0; attempt < 100; ++attempt) {
        const std::string name = "/kla." + std::to_string(::getpid()) + "." +
                                 std::to_string(count.fetch_add(1));
        const int file = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
        if (file >= 0) {
            (void)::shm_unlink(name.c_str());
            return file;
        }
        if (errno != EEXIST) return -1;
    }
    return -1;
#endif
}

#ifdef __linux__
/// What the machine could still give. Pages of shared memory are nobody's in particular: asking
/// for more than there is ends other processes before it fails here.
std::size_t available_memory() noexcept {
    std::FILE* const file = std::fopen("/proc/meminfo", "re");
    if (file == nullptr) return std::numeric_limits<std::size_t>::max();
    std::size_t available = std::numeric_limits<std::size_t>::max();
    std::array<char, 128> line{};
    unsigned long long kib = 0;
    while (std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr) {
        if (std::sscanf(line.data(), "MemAvailable: %llu kB", &kib) != 1) continue;
        available = static_cast<std::size_t>(kib) << 10U;
        break;
    }
    (void)std::fclose(file);
    return available;
}
#endif

/// All pages at once: one that is missing when it is written to would kill the process (SIGBUS).
bool reserve(int file, std::size_t bytes) noexcept {
#ifdef __linux__
    if (bytes > available_memory()) return false;
    int error = 0;
    do error = ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
    while (error == EINTR);
    return error == 0;
#else
    return ::ftruncate(file, static_cast<off_t>(bytes)) == 0;
#endif
}

}  // namespace

Arena::Arena(std::size_t bytes, ArenaKind kind) {
    if (bytes == 0) return;
    if (kind == ArenaKind::shared) {
        const int file = open_shared();
        void* memory = MAP_FAILED;
        if (file >= 0 && reserve(file, bytes))
            memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (memory == MAP_FAILED) {
            if (file >= 0) (void)::close(file);
            throw std::bad_alloc();
        }
        data_ = static_cast<std::byte*>(memory);
        size_ = bytes;
        file_ = file;
        return;
    }
    Block block{nullptr, block_bytes(bytes)};
    if (!cache().take(bytes, block)) {
        void* memory = ::mmap(nullptr, block.size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
        // In 4 KiB pages the faults of 430 MB took 180 ms, in huge ones 33 ms.
        if (bytes >= 2 * HUGE_PAGE) (void)::madvise(memory, block.size, MADV_HUGEPAGE);
#endif
        block.data = static_cast<std::byte*>(memory);
    }
    data_ = block.data;
    size_ = block.size;
}

Arena::~Arena() {
    if (data_ == nullptr) return;
    if (file_ >= 0) {
        // Who has mapped it keeps it: the memory goes when the last mapping does.
        (void)::munmap(data_, size_);
        (void)::close(file_);
    } else if (!cache().keep({data_, size_})) {
        (void)::munmap(data_, size_);
    }
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      file_(std::exchange(other.file_, -1)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(file_, other.file_);
    return *this;
}

bool Arena::freeze() noexcept {
    if (file_ < 0) return true;
    if (::mprotect(data_, size_, PROT_READ) != 0) return false;
#ifdef F_SEAL_FUTURE_WRITE
    // Not F_SEAL_WRITE: it wants no mapping that was ever writable, and ours was.
    constexpr int seals = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    return ::fcntl(file_, F_ADD_SEALS, seals) == 0;
#else
    return true;
#endif
}

void trim_arena_cache() noexcept { cache().trim(); }

std::size_t arena_cache_bytes() noexcept { return cache().bytes(); }

}  // namespace klineagg
