// The seam for file calls: the real ones, or in tests ones that fail and lose what was not synced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace klineagg {

using Bytes = std::span<const std::byte>;

/// An open file. Every call throws Error(wal_io) with the fields call, path and errno.
/// Nothing is ever mapped for writing: a full disk would kill the process by a signal.
class File {
public:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    virtual ~File();

    /// Reads as much as there is; fewer bytes than asked for at the end of the file only.
    virtual std::size_t read(std::uint64_t offset, std::span<std::byte> to) = 0;
    /// Writes all of it, or throws with an unknown part of it written.
    virtual void write(std::uint64_t offset, Bytes from) = 0;
    /// Takes the room on the disk now, so that no later write into it finds the disk full. The
    /// new bytes are zero.
    virtual void allocate(std::uint64_t bytes) = 0;
    virtual void truncate(std::uint64_t bytes) = 0;
    /// What was written is on the disk. After it threw, nobody knows what is, and a second call
    /// that returns says nothing about the writes before the first.
    virtual void sync() = 0;
    [[nodiscard]] virtual std::uint64_t size() = 0;
    /// Locks the file against other descriptions of it, until it is closed or the process ends.
    [[nodiscard]] virtual bool try_lock() = 0;
};

enum class OpenMode : std::uint8_t {
    read,
    write,   // reads and writes a file that exists
    create,  // an empty one, whatever was there
    lock,    // makes it when it is not there, and keeps it as it is
};

class FileSystem {
public:
    FileSystem() = default;
    FileSystem(const FileSystem&) = delete;
    FileSystem& operator=(const FileSystem&) = delete;
    virtual ~FileSystem();

    [[nodiscard]] virtual std::unique_ptr<File> open(const std::string& path, OpenMode mode) = 0;
    virtual void rename(const std::string& from, const std::string& to) = 0;
    virtual void remove(const std::string& path) = 0;
    /// With its parents; nothing when it is there.
    virtual void make_directory(const std::string& path) = 0;
    /// Names, sorted.
    [[nodiscard]] virtual std::vector<std::string> list(const std::string& directory) = 0;
    /// Names that were made, changed or removed in it are on the disk.
    virtual void sync_directory(const std::string& directory) = 0;
    /// Another one after every start of the machine: as long as it is the same, what was written
    /// can be read, synced or not. Empty where the system does not say.
    [[nodiscard]] virtual std::string boot_id() = 0;
};

/// Those of the operating system.
[[nodiscard]] const std::shared_ptr<FileSystem>& real_files();

}  // namespace klineagg
