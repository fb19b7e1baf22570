#include "klineagg/bus/segment.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

[[noreturn]] void unavailable(const std::string& what, const std::string& path, int error) {
    throw Error(ErrorCode::bus_unavailable,
                what + " " + path + ": " + std::strerror(error),  // NOLINT(concurrency-mt-unsafe)
                {{"path", path}, {"errno", std::to_string(error)}});
}

// Locks of open files pass to forked children together with the files. The children close them:
// what they may use between fork() and exec() are system calls and atomics.
constexpr std::size_t LOCKS_MAX = 8192;
std::array<std::atomic<int>, LOCKS_MAX>& lock_files() {
    static std::array<std::atomic<int>, LOCKS_MAX> files{};  // fd + 1, 0: free
    return files;
}
std::atomic<std::uint32_t>& generation() {
    static std::atomic<std::uint32_t> value{0};
    return value;
}

void after_fork() noexcept {
    generation().fetch_add(1, std::memory_order_relaxed);
    for (std::atomic<int>& file : lock_files()) {
        const int held = file.exchange(0, std::memory_order_relaxed);
        if (held > 0) ::close(held - 1);
    }
}

void watch_forks() {
    static const int registered = pthread_atfork(nullptr, nullptr, after_fork);
    (void)registered;
}

bool remember(int fd) noexcept {
    for (std::atomic<int>& file : lock_files()) {
        int free = 0;
        if (file.compare_exchange_strong(free, fd + 1, std::memory_order_relaxed)) return true;
    }
    return false;
}

/// False: it is not one of them.
bool forget(int fd) noexcept {
    for (std::atomic<int>& file : lock_files()) {
        int held = fd + 1;
        if (file.compare_exchange_strong(held, 0, std::memory_order_relaxed)) return true;
    }
    return false;
}

#if defined(F_OFD_SETLK)
constexpr int SET_LOCK = F_OFD_SETLK;
constexpr int GET_LOCK = F_OFD_GETLK;
#else
constexpr int SET_LOCK = F_SETLK;
constexpr int GET_LOCK = F_GETLK;
#endif

struct flock bytes_lock(std::int64_t first, std::int64_t count) noexcept {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(first);
    lock.l_len = static_cast<off_t>(count);
    return lock;
}

bool locked(int fd, std::int64_t byte) noexcept {
    struct flock lock = bytes_lock(byte, 1);
    return fd >= 0 && fcntl(fd, GET_LOCK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int allocate(int fd, std::size_t bytes) noexcept {
#if defined(__APPLE__)
    return ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
#else
    return posix_fallocate(fd, 0, static_cast<off_t>(bytes));
#endif
}

std::pair<std::uint64_t, std::uint64_t> identity_of(const struct stat& status) noexcept {
    return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
}

class File {
public:
    explicit File(int fd) noexcept : fd_(fd) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int fd() const noexcept { return fd_; }

private:
    int fd_;
};

}  // namespace

std::uint32_t process_generation() noexcept {
    watch_forks();
    return generation().load(std::memory_order_relaxed);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        close();
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
        identity_ = other.identity_;
    }
    return *this;
}

void MappedFile::close() noexcept {
    if (data_ != nullptr) munmap(data_, size_);
    data_ = nullptr;
}

MappedFile MappedFile::create(const std::string& path, std::size_t bytes, const Access& access,
                              bool group_writes) {
    const File file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.fd() < 0) unavailable("cannot make the segment", path, errno);
    const auto fail = [&](const char* what, int error) {
        ::unlink(path.c_str());
        unavailable(what, path, error);
    };
    if (access.group >= 0) {
        if (fchown(file.fd(), static_cast<uid_t>(-1), static_cast<gid_t>(access.group)) != 0)
            fail("cannot give its group to", errno);
        if (fchmod(file.fd(), group_writes ? 0660 : 0640) != 0) fail("cannot open up", errno);
    }
    if (const int error = allocate(file.fd(), bytes); error != 0)
        fail("no shared memory for", error);
    struct stat status {};
    void* const memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
    if (memory == MAP_FAILED || fstat(file.fd(), &status) != 0) fail("cannot map", errno);
    MappedFile mapped;
    mapped.data_ = static_cast<std::byte*>(memory);
    mapped.size_ = bytes;
    mapped.identity_ = identity_of(status);
    return mapped;
}

std::optional<MappedFile> MappedFile::open(const std::string& path, bool writable) {
    const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW;
    const File file(::open(path.c_str(), flags));
    if (file.fd() < 0) {
        if (errno == ENOENT) return std::nullopt;
        unavailable("cannot open the segment", path, errno);
    }
    struct stat status {};
    if (fstat(file.fd(), &status) != 0) unavailable("cannot open the segment", path, errno);
    if (status.st_size <= 0)
        throw Error(ErrorCode::segment_damaged, "the segment is empty: " + path, {{"path", path}});
    const auto bytes = static_cast<std::size_t>(status.st_size);
    void* const memory = mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                              MAP_SHARED, file.fd(), 0);
    if (memory == MAP_FAILED) unavailable("cannot map", path, errno);
    MappedFile mapped;
    mapped.data_ = static_cast<std::byte*>(memory);
    mapped.size_ = bytes;
    mapped.identity_ = identity_of(status);
    return mapped;
}

void MappedFile::populate() noexcept {
#if defined(__linux__)
#if !defined(MADV_POPULATE_WRITE)
    constexpr int MADV_POPULATE_WRITE = 23;
#endif
    // Older systems refuse it, and then the pages come one by one.
    static_cast<void>(madvise(data_, size_, MADV_POPULATE_WRITE));
#endif
}

bool MappedFile::is_at(const std::string& path) const noexcept {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && identity_ == identity_of(status);
}

bool FileLock::is_at(const std::string& path) const noexcept {
    struct stat here {};
    struct stat there {};
    return fstat(fd_, &here) == 0 && stat(path.c_str(), &there) == 0 &&
           identity_of(here) == identity_of(there);
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
    if (this != &other) {
        release();
        fd_ = std::exchange(other.fd_, -1);
        process_ = other.process_;
    }
    return *this;
}

FileLock FileLock::try_lock(const std::string& path, std::int64_t byte, Kind kind) {
    return ask(path, byte, 1, kind);
}

FileLock FileLock::try_lock_all(const std::string& path) {
    return ask(path, 0, 0, Kind::exclusive);  // a length of 0: to the end, wherever that will be
}

FileLock FileLock::ask(const std::string& path, std::int64_t first, std::int64_t count,
                       Kind kind) {
    watch_forks();
    FileLock lock;
    // An open file of its own: a mapping keeps the file it was made from open, also in a forked
    // child, and the lock with it.
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        if (errno == ENOENT) return lock;
        unavailable("cannot open the segment", path, errno);
    }
    if (!remember(fd)) {
        ::close(fd);
        unavailable("too many locks in this process for", path, EMFILE);
    }
    lock.fd_ = fd;
    lock.process_ = process_generation();
    struct flock request = bytes_lock(first, count);
    if (kind == Kind::shared) request.l_type = F_RDLCK;
    if (fcntl(fd, SET_LOCK, &request) != 0) {
        const int error = errno;
        lock.release();
        if (error != EAGAIN && error != EACCES) unavailable("cannot lock", path, error);
    }
    return lock;
}

bool FileLock::is_locked(const std::string& path, std::int64_t byte) {
    const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    return locked(file.fd(), byte);
}

void FileLock::release() noexcept {
    const int fd = std::exchange(fd_, -1);
    if (fd >= 0 && process_ == process_generation() && forget(fd)) ::close(fd);
}

LockProbe::LockProbe(const std::string& path)
    : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) {}

LockProbe& LockProbe::operator=(LockProbe&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

LockProbe::~LockProbe() {
    if (fd_ >= 0) ::close(fd_);
}

bool LockProbe::is_locked(std::int64_t byte) const noexcept { return locked(fd_, byte); }

}  // namespace klineagg::bus
