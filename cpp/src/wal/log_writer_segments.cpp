// Segments of the writer: begun, kept, removed, and begun again after a failure.
#include <algorithm>
#include <cstring>
#include <ranges>

#include "klineagg/wal/segment.hpp"
#include "log_writer.hpp"

namespace klineagg::wal {
namespace {

constexpr std::size_t SEAL_BYTES = sizeof(FrameHeader);
constexpr std::size_t NAMES_BYTES = std::size_t{1} << 16U;  // of a frame of names

}  // namespace

Log::Writer::Writer(Shared& shared, const Recovery& recovery)
    : shared_(&shared), number_(recovery.number), staged_next_(recovery.next) {
    FileSystem& files = *shared.files;
    const TimeNs now = shared.options.clock->now();
    for (const SegmentEntry& each : list_segments(files, shared.directory)) {
        const std::unique_ptr<File> file = files.open(each.path, OpenMode::read);
        kept_.push_back({each.first, each.path, file->size(), now});
    }
    // The segment that replaces it has the same name.
    if (!kept_.empty() && kept_.back().first == recovery.next) kept_.pop_back();
    // One behind the other: what this one begins with ends the one before.
    for (std::size_t i = 0; i + 1 < kept_.size(); ++i) {
        SegmentScanner next(files.open(kept_[i + 1].path, OpenMode::read), kept_[i + 1].path,
                            kept_[i + 1].first);
        if (const auto& header = next.header()) kept_[i].ended = header->created;
    }
    begin_segment(recovery.next, 0);
}

std::unique_ptr<SegmentWriter> Log::Writer::make_segment(Sequence first, std::uint64_t bytes) {
    SegmentHeader header;
    header.log = shared_->id;
    header.nonce = random_uuid();
    header.first = first;
    header.number = ++number_;
    header.previous_first = kept_.empty() ? 0 : kept_.back().first;
    header.created = shared_->options.clock->now();
    header.sync = shared_->options.sync;
    const std::string boot = shared_->files->boot_id();
    boot.copy(header.boot.data(), header.boot.size() - 1);
    auto segment =
        std::make_unique<SegmentWriter>(*shared_->files, shared_->directory, header, bytes);
    return segment;
}

void Log::Writer::write_names(SegmentWriter& segment) {
    std::vector<std::byte> payload;
    const auto put = [&] {
        if (payload.empty()) return;
        FrameHeader header;
        header.sequence = segment.first();
        header.time = last_time_;
        header.durable = shared_->durable.load();
        header.topic = Topic::names;
        std::vector<std::byte> frame(frame_bytes(payload.size()));
        write_frame(header, payload, segment.salt(), frame.data());
        segment.write(frame);
        payload.clear();
    };
    for (const Name& each : names_) {
        put_name(payload, each.kind, each.id, each.name);
        if (payload.size() >= NAMES_BYTES) put();
    }
    put();
}

std::uint64_t Log::Writer::make_room(std::uint64_t frames) {
    std::uint64_t names = 0;
    for (const Name& each : names_) names += 8 + each.name.size();
    names += (names / NAMES_BYTES + 1) * (sizeof(FrameHeader) + FRAME_ALIGN);
    const std::uint64_t bytes = std::max<std::uint64_t>(
        shared_->options.segment_bytes, SEGMENT_HEADER_BYTES + names + frames + SEAL_BYTES);
    retain(bytes);
    check_size(bytes);
    return bytes;
}

void Log::Writer::begin_segment(Sequence first, std::size_t frame) {
    const std::uint64_t bytes = make_room(frame);
    auto segment = make_segment(first, bytes);
    write_names(*segment);
    segment->publish(syncs());
    segment_ = std::move(segment);
    count_segments();
}

void Log::Writer::keep_segment() {
    kept_.push_back({segment_->first(), segment_->path(), segment_->bytes(),
                     shared_->options.clock->now()});
    segment_.reset();
}

void Log::Writer::roll() {
    if (syncs()) sync();
    add_seal();
    segment_->finish();
    // Before the next one begins, so that what is not on the disk is in one segment only.
    if (syncs()) sync();
    keep_segment();
}

std::uint64_t Log::Writer::total_bytes() const {
    std::uint64_t total = segment_ == nullptr ? 0 : segment_->bytes();
    for (const Kept& each : kept_) total += each.bytes;
    return total;
}

void Log::Writer::check_size(std::uint64_t more) const {
    const std::uint64_t limit = shared_->size_max.load();
    const std::uint64_t total = total_bytes();
    if (limit == 0 || total + more <= limit) return;
    throw Error(ErrorCode::wal_full,
                "the log takes " + std::to_string(total) + " of " + std::to_string(limit) +
                    " bytes, and none of it may go: committed is " +
                    std::to_string(shared_->committed.load()),
                {{"bytes", std::to_string(total)},
                 {"limit", std::to_string(limit)},
                 {"committed", std::to_string(shared_->committed.load())}});
}

bool Log::Writer::is_removable(const Kept& oldest, Sequence next_first, TimeNs now,
                               std::uint64_t needed) const {
    if (shared_->options.keep_uncommitted && next_first - 1 > shared_->committed.load())
        return false;
    const std::uint64_t size_max = shared_->size_max.load();
    const DurationNs age_max = shared_->age_max_ns.load();
    const bool too_many = size_max != 0 && needed > size_max;
    return too_many || (age_max != 0 && now - oldest.ended > age_max);
}

void Log::Writer::retain(std::uint64_t more) {
    const TimeNs now = shared_->options.clock->now();
    std::uint64_t total = total_bytes();
    while (!kept_.empty()) {
        Sequence next_first = shared_->written.load() + 1;
        if (kept_.size() > 1)
            next_first = kept_[1].first;
        else if (segment_ != nullptr)
            next_first = segment_->first();
        if (!is_removable(kept_.front(), next_first, now, total + more)) break;
        try {
            shared_->files->remove(kept_.front().path);
        } catch (const Error&) {
            // Room that is not won; the check of the size says so when it matters.
            ++counts_.failed_removals;
            break;
        }
        ++counts_.removed_segments;
        total -= kept_.front().bytes;
        kept_.pop_front();
    }
    count_segments();
}

void Log::Writer::count_segments() {
    counts_.segments = kept_.size() + (segment_ == nullptr ? 0 : 1);
    counts_.segment_bytes = total_bytes();
    show_counts();
}

void Log::Writer::try_resume() {
    std::optional<Error> failure;
    try {
        rewrite();
        ++counts_.resumes;
    } catch (const Error& error) {
        failure = error;
    } catch (const std::exception& error) {
        failure = Error(ErrorCode::internal, error.what());
    }
    count_segments();
    if (!failure) shared_->state.store(LogState::running);
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->resume_failure = failure;
        if (!failure) shared_->failure.reset();
    }
    shared_->resume_wanted.store(false);
    shared_->notify();
}

void Log::Writer::verify_tail(Sequence last) const {
    const std::vector<SegmentEntry> segments = list_segments(*shared_->files, shared_->directory);
    for (const SegmentEntry& each : std::views::reverse(segments)) {
        if (each.first > last) continue;
        SegmentScanner scanner(shared_->files->open(each.path, OpenMode::read), each.path,
                               each.first);
        FrameView frame;
        ScanResult result = ScanResult::frame;
        while (result == ScanResult::frame && scanner.expected() <= last)
            result = scanner.next(frame);
        if (result == ScanResult::damaged) throw scanner.damage().error();
        if (scanner.expected() <= last) {
            const Damage missing{each.path, scanner.offset(), 0, scanner.expected(), last};
            throw missing.error();
        }
        return;
    }
}

void Log::Writer::rewrite() {
    Ring& ring = shared_->ring;
    const Sequence first = ring.freed_sequence();
    if (segment_ != nullptr) {
        if (segment_->first() < first)
            keep_segment();
        else
            segment_.reset();  // the new one takes its name
    }
    if (first > 1 && !kept_.empty()) verify_tail(first - 1);
    // What readers may have seen already, and what the callers were told is written, is in the
    // new segment before it has its name: no crash in between can lose it.
    std::uint64_t bytes = 0;
    std::uint64_t position = ring.freed();
    while (position < read_position_) {
        const Ring::Entry* const entry = ring.peek(position);
        if (entry == nullptr || position >= read_position_) break;
        bytes += frame_bytes(entry->bytes);
        position += entry->grains;
    }
    bytes = make_room(bytes);
    segment_ = make_segment(first, bytes);
    write_names(*segment_);
    position = ring.freed();
    while (position < read_position_) {
        const Ring::Entry* const entry = ring.peek(position);
        if (entry == nullptr || position >= read_position_) break;
        stage(*entry);
        position += entry->grains;
        segment_->write(Bytes(staging_).first(staged_));
        staged_ = 0;
    }
    staged_frames_ = 0;
    segment_->publish(syncs());
    unsynced_bytes_ = 0;
    sync_due_ = engine::NO_DEADLINE;
    if (!syncs()) return;
    const Sequence written = shared_->written.load();
    ring.free_to(read_position_, written + 1);
    shared_->publish(shared_->durable, written);
}

}  // namespace klineagg::wal
