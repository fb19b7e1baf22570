// One segment, written.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "klineagg/file.hpp"
#include "klineagg/wal/format.hpp"

namespace klineagg::wal {

/// Made under a temporary name, so that a segment that exists has a whole header.
class SegmentWriter {
public:
    /// Takes the room on the disk now. Throws wal_io.
    SegmentWriter(FileSystem& files, std::string directory, const SegmentHeader& header,
                  std::uint64_t bytes);
    /// A file that never got its name is removed again.
    ~SegmentWriter();
    SegmentWriter(const SegmentWriter&) = delete;
    SegmentWriter& operator=(const SegmentWriter&) = delete;

    /// Gives it its name; what was written so far is in it, and with `sync` on the disk.
    void publish(bool sync);
    void write(Bytes bytes);
    void sync() { file_->sync(); }
    /// Gives the room back that was not used.
    void finish();

    [[nodiscard]] std::uint64_t room() const noexcept { return bytes_ - end_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::uint32_t salt() const noexcept { return salt_; }
    [[nodiscard]] Sequence first() const noexcept { return first_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::uint64_t end() const noexcept { return end_; }

private:
    FileSystem* files_;
    std::string directory_;
    std::string path_;
    std::unique_ptr<File> file_;
    std::uint64_t bytes_;
    std::uint64_t end_ = SEGMENT_HEADER_BYTES;
    std::uint32_t salt_;
    Sequence first_;
    bool published_ = false;
};

}  // namespace klineagg::wal
