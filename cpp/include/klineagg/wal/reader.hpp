// The records of a log from any place on, in bounded memory, also while it is written.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klineagg/wal/damage.hpp"
#include "klineagg/wal/names.hpp"
#include "klineagg/wal/segment.hpp"

namespace klineagg::wal {

struct ReadOptions {
    Sequence from = 0;                                   // 0: the oldest that there is
    Sequence to = std::numeric_limits<Sequence>::max();  // with it
    std::uint32_t topics = 0;                            // bits by number, 1 << topic; 0: all
    TimeNs start = std::numeric_limits<TimeNs>::min();   // of the frame's own time, when appended;
    TimeNs end = std::numeric_limits<TimeNs>::max();     // without it; both leave out frames of none
    bool salvage = false;                                // goes on past damage; see Reader::damages
    bool follow = false;    // another one writes: the end is where it is now
    bool is_quiet = false;  // nobody writes: what looks damaged is not looked at again
};

class Reader {
public:
    /// Throws wal_range when `from` is older than the oldest record, wal_io.
    Reader(std::shared_ptr<FileSystem> files, std::string directory, ReadOptions options = {});

    struct Frame {
        FrameView view;
        std::uint32_t skip = 0;   // records at its beginning that lie before `from`
        std::uint32_t count = 0;  // records of it that were asked for
    };

    /// False at the end, or with `follow` when there is nothing more yet; may be called again.
    /// The frame is valid until the next call. Throws wal_damaged, wal_format, wal_io.
    bool next(Frame& frame);

    /// What numbers stand for in the frame that came last.
    [[nodiscard]] const std::vector<Name>& names() const noexcept { return names_; }
    /// Rises when names() was emptied: another segment began.
    [[nodiscard]] std::uint64_t names_version() const noexcept { return names_version_; }
    /// What was gone past: with `salvage` everything, else only what lost no record.
    [[nodiscard]] const std::vector<Damage>& damages() const noexcept { return damages_; }
    /// Bytes behind the last frame that are none: a writer was killed, or is at work.
    [[nodiscard]] std::uint64_t torn_bytes() const noexcept { return torn_bytes_; }
    [[nodiscard]] bool is_sealed() const noexcept { return sealed_; }
    /// Whether `start` or `end` left out a frame because it has no time: old versions wrote these.
    [[nodiscard]] bool has_untimed() const noexcept { return has_untimed_; }
    /// The number behind the last record that was seen, asked for or not.
    [[nodiscard]] Sequence position() const noexcept { return position_; }
    /// Of the log; all zero while there is no segment.
    [[nodiscard]] const Uuid& log() const noexcept { return log_; }

private:
    enum class Step : std::uint8_t { frame, again, stop };

    bool open(const SegmentEntry& segment);
    Step step(Frame& frame);
    Step take(const FrameView& view, Frame& frame);
    /// Whether a frame of that time was asked for.
    [[nodiscard]] bool is_in_time(TimeNs time) noexcept;
    Step at_end(ScanResult result);
    Step at_damage(Damage damage);
    void report(const Damage& damage);
    /// Whether the place is to be read once more, where that was done less than so often.
    [[nodiscard]] bool looks_again(int most) noexcept;
    /// The segment behind the current one.
    [[nodiscard]] std::optional<SegmentEntry> following() const;

    std::shared_ptr<FileSystem> files_;
    std::string directory_;
    ReadOptions options_;
    std::unique_ptr<SegmentScanner> scanner_;
    Sequence segment_ = 0;  // its first record
    Sequence position_ = 1;
    std::vector<Name> names_;
    std::uint64_t names_version_ = 0;
    std::vector<Damage> damages_;
    std::uint64_t torn_bytes_ = 0;
    bool has_untimed_ = false;
    int looks_again_ = 0;
    bool sealed_ = false;
    bool done_ = false;
    Uuid log_{};
};

}  // namespace klineagg::wal
