#include "klineagg/wal/segment.hpp"

#include <algorithm>
#include <cstring>

namespace klineagg::wal {
namespace {

FrameHeader load_header(Bytes from) {
    FrameHeader header;
    std::memcpy(static_cast<void*>(&header), from.data(), sizeof header);
    return header;
}

std::size_t zeros_before(Bytes bytes) {
    std::size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes.data() + at, sizeof word);
        if (word != 0) break;
    }
    while (at < bytes.size() && bytes[at] == std::byte{0}) ++at;
    return at;
}

}  // namespace

Bytes Window::at(std::uint64_t offset, std::size_t size) {
    if (offset < offset_ || offset + size > offset_ + size_) {
        const std::size_t wanted = std::max(size, STEP_BYTES);
        if (bytes_.size() < wanted) bytes_.resize(wanted);
        offset_ = offset;
        size_ = 0;  // should the read throw
        size_ = file_->read(offset, std::span(bytes_).first(wanted));
    }
    const auto begin = static_cast<std::size_t>(offset - offset_);
    return Bytes(bytes_).subspan(begin, std::min(size, size_ - std::min(size_, begin)));
}

SegmentScanner::SegmentScanner(std::unique_ptr<File> file, std::string path, Sequence first)
    : file_(std::move(file)), path_(std::move(path)), window_(*file_), expected_(first) {
    read_ = read_segment_block(window_.at(0, SEGMENT_HEADER_BYTES), path_);
    if (!read_.header) return;
    salt_ = salt_of(*read_.header);
}

ScanResult SegmentScanner::next(FrameView& frame) {
    if (!read_.header) return read_.is_blank ? ScanResult::blank : ScanResult::torn;
    const Bytes head = window_.at(offset_, sizeof(FrameHeader));
    if (zeros_before(head) == head.size()) {
        window_.forget();
        return ScanResult::blank;
    }
    if (head.size() < sizeof(FrameHeader)) {
        window_.forget();
        return ScanResult::torn;
    }
    const FrameHeader header = load_header(head);
    if (!is_frame(header, salt_) || header.sequence < expected_)
        return resume_behind(offset_ + FRAME_ALIGN);
    if (header.sequence > expected_) {
        // Bytes in order, numbers not: the frames between were never here.
        damage_ = {path_, offset_, 0, expected_, header.sequence - 1};
        expected_ = header.sequence;
        return ScanResult::damaged;
    }
    const std::size_t body = padded(header.bytes);
    const Bytes payload = window_.at(offset_ + sizeof header, body);
    if (payload.size() < body) return resume_behind(offset_ + FRAME_ALIGN);
    if (!is_payload(header, payload, salt_)) return resume_behind(offset_ + sizeof header + body);
    frame.header = header;
    frame.payload = payload.first(header.bytes);
    frame.offset = offset_;
    offset_ += sizeof header + body;
    expected_ = frame.next();
    return header.topic == Topic::seal ? ScanResult::sealed : ScanResult::frame;
}

ScanResult SegmentScanner::look_behind_blank() {
    return resume_behind(offset_ + FRAME_ALIGN);
}

ScanResult SegmentScanner::resume_behind(std::uint64_t from) {
    std::uint64_t at = from;
    bool only_zeros = zeros_before(window_.at(offset_, static_cast<std::size_t>(from - offset_))) ==
                      from - offset_;
    while (true) {
        constexpr std::size_t STEP = std::size_t{1} << 16U;
        const Bytes bytes = window_.at(at, STEP);
        std::size_t here = zeros_before(bytes) / FRAME_ALIGN * FRAME_ALIGN;
        only_zeros = only_zeros && zeros_before(bytes) == bytes.size();
        for (; here + sizeof(FrameHeader) <= bytes.size(); here += FRAME_ALIGN) {
            const FrameHeader header = load_header(bytes.subspan(here));
            if (!is_frame(header, salt_) || header.sequence < expected_) continue;
            const std::uint64_t found = at + here;
            damage_ = {path_, offset_, found - offset_, expected_, header.sequence - 1};
            offset_ = found;
            expected_ = header.sequence;
            return ScanResult::damaged;
        }
        if (bytes.size() < STEP) break;  // the end of the file
        at += here;
    }
    window_.forget();
    return only_zeros ? ScanResult::blank : ScanResult::torn;
}

std::vector<SegmentEntry> list_segments(FileSystem& files, const std::string& directory) {
    std::vector<SegmentEntry> segments;
    for (const std::string& name : files.list(directory)) {
        const Sequence first = segment_first(name);
        if (first != 0) segments.push_back({first, join_path(directory, name)});
    }
    return segments;  // the names have their digits in front, so they are in order
}

std::string join_path(const std::string& directory, std::string_view name) {
    std::string path = directory;
    if (!path.ends_with('/')) path += '/';
    return path.append(name);
}

}  // namespace klineagg::wal
