#include "klineagg/file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "klineagg/error.hpp"

namespace klineagg {
namespace {

// One call of the system takes no more than 2 GiB.
constexpr std::size_t CALL_BYTES_MAX = std::size_t{1} << 30U;

[[noreturn]] void fail(const char* call, const std::string& path, int number) {
    throw Error(ErrorCode::wal_io,
                path + ": " + call + ": " + std::generic_category().message(number),
                {{"call", call}, {"path", path}, {"errno", std::to_string(number)}});
}

class RealFile final : public File {
public:
    RealFile(std::string path, int descriptor) : path_(std::move(path)), fd_(descriptor) {}
    ~RealFile() override { ::close(fd_); }

    std::size_t read(std::uint64_t offset, std::span<std::byte> to) override {
        std::size_t done = 0;
        while (done < to.size()) {
            const ssize_t got =
                ::pread(fd_, to.data() + done, std::min(to.size() - done, CALL_BYTES_MAX),
                        static_cast<off_t>(offset + done));
            if (got == 0) break;
            if (got < 0) {
                if (errno == EINTR) continue;
                fail("read", path_, errno);
            }
            done += static_cast<std::size_t>(got);
        }
        return done;
    }

    void write(std::uint64_t offset, Bytes from) override {
        std::size_t done = 0;
        while (done < from.size()) {
            const ssize_t put =
                ::pwrite(fd_, from.data() + done, std::min(from.size() - done, CALL_BYTES_MAX),
                         static_cast<off_t>(offset + done));
            if (put < 0) {
                if (errno == EINTR) continue;
                fail("write", path_, errno);
            }
            // A disk that takes nothing without an error would keep us here for ever.
            if (put == 0) fail("write", path_, ENOSPC);
            done += static_cast<std::size_t>(put);
        }
    }

    void allocate(std::uint64_t bytes) override {
#if defined(__linux__)
        int result = EINTR;
        while (result == EINTR) result = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
        if (result != 0) fail("fallocate", path_, result);
#else
        if (size() < bytes) truncate(bytes);
#endif
    }

    void truncate(std::uint64_t bytes) override {
        while (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) {
            if (errno != EINTR) fail("truncate", path_, errno);
        }
    }

    void sync() override {
#if defined(__APPLE__)
        // fsync alone leaves the data in the disk's own cache.
        if (::fcntl(fd_, F_FULLFSYNC) != 0) fail("fsync", path_, errno);
#else
        // Not again after EINTR: the failure may have been taken off the file's record.
        if (::fdatasync(fd_) != 0) fail("fdatasync", path_, errno);
#endif
    }

    std::uint64_t size() override {
        struct stat info {};
        if (::fstat(fd_, &info) != 0) fail("fstat", path_, errno);
        return static_cast<std::uint64_t>(info.st_size);
    }

    bool try_lock() override {
#if defined(F_OFD_SETLK)
        // Of the open description: closing another descriptor of the file does not drop it.
        struct flock whole {};
        whole.l_type = F_WRLCK;
        whole.l_whence = SEEK_SET;
        if (::fcntl(fd_, F_OFD_SETLK, &whole) == 0) return true;
        if (errno == EAGAIN || errno == EACCES) return false;
#else
        if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return true;
        if (errno == EWOULDBLOCK) return false;
#endif
        fail("lock", path_, errno);
    }

private:
    std::string path_;
    int fd_;
};

class RealFiles final : public FileSystem {
public:
    std::unique_ptr<File> open(const std::string& path, OpenMode mode) override {
        int flags = O_CLOEXEC;
        if (mode == OpenMode::read)
            flags |= O_RDONLY;
        else
            flags |= O_RDWR;
        if (mode == OpenMode::create) flags |= O_CREAT | O_TRUNC;
        if (mode == OpenMode::lock) flags |= O_CREAT;
        const int descriptor = ::open(path.c_str(), flags, 0644);
        if (descriptor < 0) fail("open", path, errno);
        return std::make_unique<RealFile>(path, descriptor);
    }

    void rename(const std::string& from, const std::string& to) override {
        if (::rename(from.c_str(), to.c_str()) != 0) fail("rename", to, errno);
    }

    void remove(const std::string& path) override {
        if (::unlink(path.c_str()) != 0) fail("remove", path, errno);
    }

    void make_directory(const std::string& path) override {
        std::error_code failure;
        std::filesystem::create_directories(path, failure);
        if (failure) fail("mkdir", path, failure.value());
    }

    std::vector<std::string> list(const std::string& directory) override {
        std::vector<std::string> names;
        std::error_code failure;
        std::filesystem::directory_iterator entry(directory, failure);
        while (!failure && entry != std::filesystem::directory_iterator{}) {
            names.push_back(entry->path().filename().string());
            entry.increment(failure);
        }
        if (failure) fail("list", directory, failure.value());
        std::sort(names.begin(), names.end());
        return names;
    }

    void sync_directory(const std::string& directory) override {
        const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (descriptor < 0) fail("open", directory, errno);
        const int result = ::fsync(descriptor);
        const int number = errno;
        ::close(descriptor);
        // Some file systems cannot sync a directory and say so.
        if (result != 0 && number != EINVAL) fail("fsync", directory, number);
    }

    std::string boot_id() override {
        const int descriptor =
            ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);  // a UUID as text
        if (descriptor < 0) return {};
        std::array<char, 36> text{};
        const ssize_t got = ::read(descriptor, text.data(), text.size());
        ::close(descriptor);
        return got > 0 ? std::string(text.data(), static_cast<std::size_t>(got)) : std::string();
    }
};

}  // namespace

File::~File() = default;
FileSystem::~FileSystem() = default;

const std::shared_ptr<FileSystem>& real_files() {
    static const std::shared_ptr<FileSystem> files = std::make_shared<RealFiles>();
    return files;
}

}  // namespace klineagg
