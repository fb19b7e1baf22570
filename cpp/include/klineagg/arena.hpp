// One block of memory from the operating system, in huge pages where there are any.
#pragma once

#include <cstddef>
#include <cstdint>

namespace klineagg {

/// Where an arena's memory is.
enum class ArenaKind : std::uint8_t {
    own,     // of this process alone
    shared,  // in a file without a name: another process that is handed the file maps it
};

/// Its bytes are undefined: they may be those of an arena that is gone. Released blocks are kept
/// for the next arena up to ARENA_CACHE_BYTES_MAX, marked so that the system may take their
/// pages whenever it needs them: giving out fresh pages takes about as long as making the bars.
class Arena {
public:
    Arena() = default;
    /// Throws std::bad_alloc.
    explicit Arena(std::size_t bytes, ArenaKind kind = ArenaKind::own);
    ~Arena();
    Arena(Arena&& other) noexcept;
    Arena& operator=(Arena&& other) noexcept;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// The file of shared memory, open as long as the arena; -1 for memory of one's own.
    [[nodiscard]] int file() const noexcept { return file_; }
    /// From here on nobody can write into shared memory, this process included, nor resize it.
    /// False when the system refuses; memory of one's own stays as it is.
    bool freeze() noexcept;

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    int file_ = -1;
};

inline constexpr std::size_t ARENA_CACHE_BYTES_MAX = std::size_t{1} << 30;

/// Gives the kept blocks back to the system.
void trim_arena_cache() noexcept;
/// Bytes in kept blocks.
std::size_t arena_cache_bytes() noexcept;

}  // namespace klineagg
