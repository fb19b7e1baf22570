#include "klineagg/wal/reader.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

namespace klineagg::wal {
namespace {

constexpr int LOOKS_MAX = 3;
constexpr std::chrono::milliseconds LOOK_PAUSE{5};

}  // namespace

Reader::Reader(std::shared_ptr<FileSystem> files, std::string directory, ReadOptions options)
    : files_(std::move(files)), directory_(std::move(directory)), options_(options) {
    const std::vector<SegmentEntry> segments = list_segments(*files_, directory_);
    if (segments.empty()) {
        position_ = std::max<Sequence>(options_.from, 1);
        return;
    }
    const Sequence oldest = segments.front().first;
    if (options_.from == 0) options_.from = oldest;
    if (options_.from < oldest) {
        throw Error(ErrorCode::wal_range,
                    "the log begins with record " + std::to_string(oldest) + ", not with " +
                        std::to_string(options_.from),
                    {{"oldest", std::to_string(oldest)}, {"from", std::to_string(options_.from)}});
    }
    auto at = std::upper_bound(segments.begin(), segments.end(), options_.from,
                               [](Sequence from, const auto& each) { return from < each.first; });
    open(*--at);
}

bool Reader::open(const SegmentEntry& segment) {
    auto scanner = std::make_unique<SegmentScanner>(files_->open(segment.path, OpenMode::read),
                                                    segment.path, segment.first);
    scanner_ = std::move(scanner);
    segment_ = segment.first;
    position_ = std::max(position_, segment.first);
    names_.clear();
    ++names_version_;
    sealed_ = false;
    const auto& header = scanner_->header();
    if (header) log_ = header->log;
    if (header && scanner_->has_damaged_header())
        damages_.push_back(
            {segment.path, 0, SEGMENT_HEADER_BYTES, segment.first, segment.first - 1});
    return true;
}

bool Reader::next(Frame& frame) {
    while (!done_) {
        if (scanner_ == nullptr) {
            const std::vector<SegmentEntry> segments = list_segments(*files_, directory_);
            if (segments.empty()) return false;
            if (options_.from == 0) options_.from = segments.front().first;
            open(segments.front());
        }
        const Step step = this->step(frame);
        if (step == Step::frame) return true;
        if (step == Step::stop) return false;
    }
    return false;
}

Reader::Step Reader::step(Frame& frame) {
    FrameView view;
    const ScanResult result = scanner_->next(view);
    switch (result) {
        case ScanResult::frame: looks_again_ = 0; return take(view, frame);
        case ScanResult::damaged: return at_damage(scanner_->damage());
        case ScanResult::sealed:
        case ScanResult::blank:
        case ScanResult::torn: return at_end(result);
    }
    return Step::stop;
}

Reader::Step Reader::take(const FrameView& view, Frame& frame) {
    torn_bytes_ = 0;
    if (view.header.topic == Topic::names) {
        (void)read_names(view.payload, names_);  // under a CRC: it is what was written
        return Step::again;
    }
    const Sequence first = std::max({view.header.sequence, options_.from, position_});
    position_ = std::max(position_, view.next());
    if (view.header.sequence > options_.to) {
        done_ = true;
        return Step::stop;
    }
    if (first >= view.next()) return Step::again;  // before what was asked for, or seen already
    const auto topic = static_cast<unsigned>(view.header.topic);
    if (options_.topics != 0 && (topic >= 32 || (options_.topics >> topic & 1U) == 0))
        return Step::again;
    if (!is_in_time(view.header.time)) return Step::again;
    frame.view = view;
    frame.skip = static_cast<std::uint32_t>(first - view.header.sequence);
    // Without overflow: `to` may be the largest number.
    const Sequence last = std::min(options_.to, view.next() - 1);
    frame.count = static_cast<std::uint32_t>(last - first + 1);
    return Step::frame;
}

bool Reader::is_in_time(TimeNs time) noexcept {
    constexpr ReadOptions ANY;
    const bool is_any = options_.start == ANY.start && options_.end == ANY.end;
    if (is_any) return true;
    if (time == 0) has_untimed_ = true;
    return time != 0 && time >= options_.start && time < options_.end;
}

bool Reader::looks_again(int most) noexcept {
    if (options_.is_quiet || looks_again_ >= most) return false;
    ++looks_again_;
    return true;
}

std::optional<SegmentEntry> Reader::following() const {
    for (const SegmentEntry& each : list_segments(*files_, directory_))
        if (each.first > segment_) return each;
    return std::nullopt;
}

Reader::Step Reader::at_end(ScanResult result) {
    const std::optional<SegmentEntry> next = following();
    if (next && next->first <= scanner_->expected()) {
        // What the old one has behind this was written again in the new one.
        open(*next);
        return Step::again;
    }
    if (next && looks_again(1)) {
        // What was read may be from before the writer went on to the next segment. Now that this
        // is there, nothing comes into the old one any more.
        scanner_->go_back(scanner_->offset(), scanner_->expected());
        return Step::again;
    }
    if (result == ScanResult::blank && scanner_->header() && (next || !options_.follow)) {
        const ScanResult behind = scanner_->look_behind_blank();
        if (behind == ScanResult::damaged) return at_damage(scanner_->damage());
        result = behind;
    }
    if (next) {
        // Between two segments nothing may be missing.
        const std::uint64_t size = scanner_->file().size();
        const std::uint64_t at = scanner_->header() ? scanner_->offset() : 0;
        report({scanner_->path(), at, size - std::min(size, at), scanner_->expected(),
                next->first - 1});
        open(*next);
        return Step::again;
    }
    sealed_ = result == ScanResult::sealed;
    if (!scanner_->header() && !scanner_->is_blank() && !done_) {
        const std::uint64_t size = scanner_->file().size();
        done_ = true;
        report({scanner_->path(), 0, size, segment_, segment_ + size});
    }
    if (result == ScanResult::torn && scanner_->header())
        torn_bytes_ = scanner_->file().size() - scanner_->offset();
    return Step::stop;
}

Reader::Step Reader::at_damage(Damage damage) {
    const std::optional<SegmentEntry> next = following();
    if (next && damage.first >= next->first) {
        open(*next);
        return Step::again;
    }
    if (looks_again(next ? 1 : LOOKS_MAX)) {
        // A writer may be in the middle of it: what was read first may be older than what was
        // read behind it.
        if (!next) std::this_thread::sleep_for(LOOK_PAUSE);
        scanner_->go_back(damage.offset, damage.first);
        return Step::again;
    }
    if (next) damage.last = std::min(damage.last, next->first - 1);
    looks_again_ = 0;
    report(damage);
    return Step::again;
}

void Reader::report(const Damage& damage) {
    // Of records that nobody asked for nobody has to know.
    const bool concerns =
        !damage.loses_records() || (damage.last >= options_.from && damage.first <= options_.to);
    if (!concerns) return;
    if (!options_.salvage) throw damage.error();
    damages_.push_back(damage);
}

}  // namespace klineagg::wal
