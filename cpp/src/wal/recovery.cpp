#include "klineagg/wal/recovery.hpp"

#include <algorithm>
#include <string_view>

namespace klineagg::wal {
namespace {

/// Goes through the last segment once and remembers what the verdict needs.
class TailScan {
public:
    explicit TailScan(SegmentScanner& scanner) : scanner_(&scanner) {}

    void run() {
        FrameView frame;
        marks_.push_back({scanner_->expected(), scanner_->offset()});
        while (true) {
            ScanResult result = scanner_->next(frame);
            if (result == ScanResult::blank) result = scanner_->look_behind_blank();
            if (result == ScanResult::frame) {
                durable_ = std::max(durable_, frame.header.durable);
                if (scanner_->offset() - marks_.back().offset >= MARK_BYTES)
                    marks_.push_back({frame.next(), scanner_->offset()});
                continue;
            }
            if (result == ScanResult::damaged) {
                damages_.push_back(scanner_->damage());
                continue;
            }
            if (result == ScanResult::sealed) durable_ = std::max(durable_, frame.header.durable);
            sealed_ = result == ScanResult::sealed;
            torn_ = result == ScanResult::torn;
            return;
        }
    }

    /// The verdict. `same_boot`: since the segment was made the machine has run, so nothing that
    /// was written can have vanished.
    void judge(bool same_boot, bool salvage, Recovery& into) const {
        into.next = scanner_->expected();
        into.end = scanner_->offset();
        into.is_sealed = sealed_;
        const auto& header = scanner_->header();
        const bool synced = header && header->sync != SyncMode::none;
        into.was_synced = synced;
        const std::uint64_t size = scanner_->file().size();
        if (torn_) into.cut_bytes = size - into.end;
        for (const Damage& damage : damages_) {
            // A hole in what was not synced yet, after a power cut: what lies behind it was
            // never promised, and without what is missing it means nothing. Not behind damage that
            // was gone past: what says that the records before that were durable may lie behind
            // this hole, and without it the next opening would take the damage for such a hole
            // and cut off all that was saved.
            const bool was_promised = damage.first <= durable_ || !into.damages.empty();
            if (!same_boot && synced && !was_promised) {
                into.cut_records = into.next - damage.first -
                                   (damage.loses_records() ? damage.last - damage.first + 1 : 0);
                into.next = damage.first;
                into.end = damage.offset;
                into.cut_bytes = size - into.end;
                into.is_sealed = false;
                break;
            }
            if (!salvage) throw damage.error();
            into.damages.push_back(damage);
        }
        into.unsynced_from = SEGMENT_HEADER_BYTES;
        for (const Mark& mark : marks_) {
            if (mark.next <= durable_ + 1) into.unsynced_from = mark.offset;
        }
    }

private:
    static constexpr std::uint64_t MARK_BYTES = std::uint64_t{1} << 16U;
    struct Mark {
        Sequence next;
        std::uint64_t offset;
    };

    SegmentScanner* scanner_;
    std::vector<Damage> damages_;
    std::vector<Mark> marks_;
    Sequence durable_ = 0;
    bool sealed_ = false;
    bool torn_ = false;
};

/// A segment whose header is gone: nobody can tell its frames from other bytes.
void lose_segment(SegmentScanner& scanner, Sequence first, bool salvage, Recovery& into) {
    const std::uint64_t size = scanner.file().size();
    // No record takes less than a byte, so this is beyond the last number that it can have held.
    const Damage damage{scanner.path(), 0, size, first, first + size};
    if (!salvage) throw damage.error();
    into.damages.push_back(damage);
    into.next = damage.last + 1;
    into.end = size;
    into.unsynced_from = size;
    // The log's id must not change. Segments before this one still have it.
}

}  // namespace

Recovery recover(FileSystem& files, const std::string& directory, bool salvage) {
    Recovery into;
    std::vector<SegmentEntry> segments = list_segments(files, directory);
    while (!segments.empty()) {
        const SegmentEntry last = segments.back();
        segments.pop_back();
        SegmentScanner scanner(files.open(last.path, OpenMode::read), last.path, last.first);
        if (scanner.is_blank()) {
            into.blank.push_back(last.path);
            into.next = std::max(into.next, last.first);
            continue;
        }
        into.last_segment = last.first;
        into.path = last.path;
        const auto& found = scanner.header();
        if (!found) {
            lose_segment(scanner, last.first, salvage, into);
            into.log = random_uuid();
            for (const SegmentEntry& each : segments) {
                SegmentScanner other(files.open(each.path, OpenMode::read), each.path, each.first);
                if (const auto& header = other.header()) {
                    into.log = header->log;
                    into.number = header->number + 1;
                }
            }
            return into;
        }
        const SegmentHeader& header = *found;
        into.log = header.log;
        into.number = header.number;
        TailScan scan(scanner);
        scan.run();
        const std::string boot = files.boot_id();
        const bool same_boot = !boot.empty() && boot == std::string_view(header.boot.data());
        scan.judge(same_boot, salvage, into);
        return into;
    }
    into.log = random_uuid();
    return into;
}

void repair(FileSystem& files, const std::string& directory, const Recovery& recovery, bool sync) {
    for (const std::string& path : recovery.blank) files.remove(path);
    if (recovery.last_segment == 0 || recovery.is_sealed) return;
    if (sync && !recovery.was_synced) {
        for (const SegmentEntry& each : list_segments(files, directory))
            if (each.first < recovery.last_segment) files.open(each.path, OpenMode::write)->sync();
    }
    const std::unique_ptr<File> file = files.open(recovery.path, OpenMode::write);
    // Also the room that a killed writer had made for more: one segment for each of its deaths
    // would soon be all that the limit of the log allows.
    if (file->size() > recovery.end) file->truncate(recovery.end);
    if (!sync) return;
    // The last writer may have died of a failed sync, after which the system takes pages that
    // never reached the disk for clean ones. Written again, they are dirty, and this sync counts.
    std::vector<std::byte> bytes(std::size_t{1} << 20U);
    for (std::uint64_t at = recovery.unsynced_from; at < recovery.end;) {
        const auto wanted = std::min<std::uint64_t>(bytes.size(), recovery.end - at);
        const std::size_t got =
            file->read(at, std::span(bytes).first(static_cast<std::size_t>(wanted)));
        if (got == 0) break;
        file->write(at, Bytes(bytes).first(got));
        at += got;
    }
    file->sync();
}

}  // namespace klineagg::wal
