// One segment, read frame by frame.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klineagg/file.hpp"
#include "klineagg/wal/damage.hpp"
#include "klineagg/wal/format.hpp"

namespace klineagg::wal {

/// A part of a file in memory, as much as somebody looks at.
class Window {
public:
    explicit Window(File& file) : file_(&file) {}

    /// Up to `size` bytes from `offset` on: fewer at the end of the file only. Valid until the
    /// next call.
    [[nodiscard]] Bytes at(std::uint64_t offset, std::size_t size);
    /// Forgets what was read: the file may have grown.
    void forget() noexcept { size_ = 0; }

private:
    static constexpr std::size_t STEP_BYTES = std::size_t{1} << 18U;

    File* file_;
    std::vector<std::byte> bytes_;
    std::uint64_t offset_ = 0;
    std::size_t size_ = 0;
};

struct FrameView {
    FrameHeader header;
    Bytes payload;
    std::uint64_t offset = 0;

    /// The number behind its last record.
    [[nodiscard]] Sequence next() const noexcept { return header.sequence + header.count; }
};

enum class ScanResult : std::uint8_t {
    frame,
    sealed,   // the segment is complete
    blank,    // nothing is written here yet, or it was cut off here
    damaged,  // see damage(); the next call goes on behind it
    torn,     // bytes that are no frame, and no frame behind them
};

/// Goes through a segment. Never throws for what the bytes are, but for a failing disk.
class SegmentScanner {
public:
    /// Throws wal_io, wal_format.
    SegmentScanner(std::unique_ptr<File> file, std::string path, Sequence first);

    /// None when both copies are damaged or the block is blank: then there is nothing to scan.
    [[nodiscard]] const std::optional<SegmentHeader>& header() const noexcept {
        return read_.header;
    }
    [[nodiscard]] bool is_blank() const noexcept { return read_.is_blank; }
    [[nodiscard]] bool has_damaged_header() const noexcept { return read_.is_damaged; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] File& file() noexcept { return *file_; }

    /// `frame` is valid until the next call. After blank or torn the same place is looked at
    /// again, with the file as it is then.
    ScanResult next(FrameView& frame);
    /// Behind blank: whether there is anything but zeros in the rest of the file, which is damage
    /// when a frame is found, and torn otherwise. False: it is the end.
    [[nodiscard]] ScanResult look_behind_blank();

    /// Looks at a place again, which has the record `expected` next.
    void go_back(std::uint64_t offset, Sequence expected) noexcept {
        window_.forget();
        offset_ = offset;
        expected_ = expected;
    }

    [[nodiscard]] const Damage& damage() const noexcept { return damage_; }
    /// The number of the next record.
    [[nodiscard]] Sequence expected() const noexcept { return expected_; }
    /// Where the next frame begins.
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

private:
    /// Looks for the next frame from `from` on; what lies before it is damage.
    ScanResult resume_behind(std::uint64_t from);

    std::unique_ptr<File> file_;
    std::string path_;
    Window window_;
    HeaderRead read_;
    std::uint32_t salt_ = 0;
    std::uint64_t offset_ = SEGMENT_HEADER_BYTES;
    Sequence expected_;
    Damage damage_;
};

/// A segment of a directory.
struct SegmentEntry {
    Sequence first = 0;
    std::string path;
};
/// By first record, rising.
[[nodiscard]] std::vector<SegmentEntry> list_segments(FileSystem& files,
                                                      const std::string& directory);
[[nodiscard]] std::string join_path(const std::string& directory, std::string_view name);

}  // namespace klineagg::wal
