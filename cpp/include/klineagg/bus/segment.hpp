// Files in shared memory: made whole before they get their name, never shrunk, locked by the
// kernel as long as their owner lives.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace klineagg::bus {

/// Owner only, or with a group: the group may read rings and use the words for waiting.
struct Access {
    std::int64_t group = -1;  // numeric id, -1: owner only
};

/// Rises in every forked child, where segments of the parent must not be written.
[[nodiscard]] std::uint32_t process_generation() noexcept;

/// A file that is mapped as a whole.
class MappedFile {
public:
    MappedFile() = default;
    MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
    MappedFile& operator=(MappedFile&& other) noexcept;
    ~MappedFile() { close(); }

    /// A new file of zeros, all of its memory taken, so that writing it can never fail (a full
    /// shared memory would be a SIGBUS). Throws bus_unavailable.
    static MappedFile create(const std::string& path, std::size_t bytes, const Access& access,
                             bool group_writes);
    /// Empty when there is no such file. Throws bus_unavailable for anything else.
    static std::optional<MappedFile> open(const std::string& path, bool writable);

    /// Has the system enter all of its pages into this process's tables, for who is going to write
    /// them: else the first time around a ring costs a page fault every few messages.
    void populate() noexcept;

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Device and inode: another file of the same name has another one.
    [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> identity() const noexcept {
        return identity_;
    }
    /// Whether `path` still names this file.
    [[nodiscard]] bool is_at(const std::string& path) const noexcept;

private:
    void close() noexcept;

    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::pair<std::uint64_t, std::uint64_t> identity_{};
};

/// A lock on one byte of a file, held until it is dropped or the process dies, however it dies.
/// A forked child does not hold it: else a publisher whose child lives on would never look dead.
class FileLock {
public:
    FileLock() = default;
    FileLock(FileLock&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), process_(other.process_) {}
    FileLock& operator=(FileLock&& other) noexcept;
    ~FileLock() { release(); }

    enum class Kind : std::uint8_t { exclusive, shared };

    /// Not held() when somebody else has it, or there is no such file.
    static FileLock try_lock(const std::string& path, std::int64_t byte = 0,
                             Kind kind = Kind::exclusive);
    /// All bytes that there are and will be: held only when nobody has any of them.
    static FileLock try_lock_all(const std::string& path);
    /// Whether anybody, this process included, holds it.
    static bool is_locked(const std::string& path, std::int64_t byte = 0);

    [[nodiscard]] bool held() const noexcept { return fd_ >= 0; }
    /// Whether `path` still names the file that is locked.
    [[nodiscard]] bool is_at(const std::string& path) const noexcept;
    void release() noexcept;

private:
    static FileLock ask(const std::string& path, std::int64_t first, std::int64_t count,
                        Kind kind);

    int fd_ = -1;
    std::uint32_t process_ = 0;  // in a forked child the number may be another file's by now
};

/// An open file to ask about a lock again and again, without looking up its path.
class LockProbe {
public:
    LockProbe() = default;
    explicit LockProbe(const std::string& path);
    LockProbe(LockProbe&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    LockProbe& operator=(LockProbe&& other) noexcept;
    ~LockProbe();

    [[nodiscard]] bool is_locked(std::int64_t byte = 0) const noexcept;

private:
    int fd_ = -1;
};

}  // namespace klineagg::bus
