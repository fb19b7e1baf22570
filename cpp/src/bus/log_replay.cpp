#include "klineagg/bus/log_replay.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <span>
#include <system_error>

#include "klineagg/bus/records.hpp"
#include "klineagg/bus/topic.hpp"
#include "klineagg/error.hpp"
#include "klineagg/file.hpp"

namespace klineagg::bus {

std::uint16_t log_schema(const RecordType& type) noexcept {
    const std::uint64_t hash = type.hash();
    return static_cast<std::uint16_t>(hash ^ (hash >> 16U) ^ (hash >> 32U) ^ (hash >> 48U));
}

std::string log_directory(const std::string& root, const std::string& topic,
                          const std::string& publisher) {
    check_topic(topic);
    check_name(publisher);
    return (std::filesystem::path(root) / (topic + "@" + publisher)).string();
}

std::vector<std::string> logged_publishers(const std::string& root, const std::string& topic) {
    std::vector<std::string> names;
    std::error_code error;
    const std::string prefix = topic + "@";
    for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
    }
    std::sort(names.begin(), names.end());
    return names;
}

LogReplay::LogReplay(const std::string& directory, const RecordType& type,
                     const ReplayRange& range)
    : record_bytes_(type.bytes()), schema_(log_schema(type)), range_(range) {
    if (range.first >= range.end || range.start_time >= range.end_time) return;
    wal::ReadOptions options;
    options.from = range.first;
    options.to = range.end - 1;
    options.topics = 1U << static_cast<unsigned>(wal::Topic::application);
    options.follow = true;  // its publisher may be at work
    try {
        reader_ = std::make_unique<wal::Reader>(real_files(), directory, options);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::wal_range) throw;
        options.from = 0;
        reader_ = std::make_unique<wal::Reader>(real_files(), directory, options);
    }
}

bool LogReplay::next(std::vector<std::byte>& to) {
    wal::Reader::Frame frame;
    const std::size_t before = to.size();
    while (to.size() == before && reader_ && reader_->next(frame)) {
        if (frame.count == 0) continue;
        const wal::FrameHeader& header = frame.view.header;
        if (header.schema != schema_ ||
            frame.view.payload.size() != std::size_t{header.count} * record_bytes_) {
            throw Error(ErrorCode::record_mismatch,
                        "the log has other records from message " +
                            std::to_string(header.sequence) + " on",
                        {{"sequence", std::to_string(header.sequence)}});
        }
        append(to, frame.view.payload.subspan(frame.skip * record_bytes_,
                                              frame.count * record_bytes_));
    }
    return to.size() != before;
}

/// Times are the records' own: a frame has those of a batch, and the log's is that of appending.
void LogReplay::append(std::vector<std::byte>& to, std::span<const std::byte> records) const {
    const ReplayRange all;
    if (range_.start_time == all.start_time && range_.end_time == all.end_time) {
        to.insert(to.end(), records.begin(), records.end());
        return;
    }
    for (; !records.empty(); records = records.subspan(record_bytes_)) {
        MessageHeader header;
        std::memcpy(&header, records.data(), sizeof header);
        if (header.publish_time < range_.start_time || header.publish_time >= range_.end_time)
            continue;
        const auto record = records.first(record_bytes_);
        to.insert(to.end(), record.begin(), record.end());
    }
}

}  // namespace klineagg::bus
