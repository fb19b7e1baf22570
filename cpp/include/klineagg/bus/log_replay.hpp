// Records out of the logs of a topic's publishers.
//
// Each topic and publisher has a log of its own, a folder "<topic>@<publisher>": its numbers are
// the sequence of the messages, its payloads the very bytes of the ring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "klineagg/bus/record_type.hpp"
#include "klineagg/time.hpp"
#include "klineagg/wal/reader.hpp"

namespace klineagg::bus {

[[nodiscard]] std::string log_directory(const std::string& root, const std::string& topic,
                                        const std::string& publisher);
/// Publishers of the topic that have a log under `root`, sorted.
[[nodiscard]] std::vector<std::string> logged_publishers(const std::string& root,
                                                         const std::string& topic);
/// What marks a log's frames as having these records: of the type's hash.
[[nodiscard]] std::uint16_t log_schema(const RecordType& type) noexcept;

/// Which records are wanted; ends are not included.
struct ReplayRange {
    std::uint64_t first = 1;
    std::uint64_t end = std::numeric_limits<std::uint64_t>::max();
    TimeNs start_time = std::numeric_limits<TimeNs>::min();  // of publishing
    TimeNs end_time = std::numeric_limits<TimeNs>::max();
};

/// Records of one publisher, in order.
class RecordReading {
public:
    virtual ~RecordReading() = default;
    /// Appends the next records to `to`, one at least, which follow each other; false at the end
    /// that there is now.
    virtual bool next(std::vector<std::byte>& to) = 0;
};

/// Records out of a log: the historical subscriber.
class LogReplay final : public RecordReading {
public:
    /// Begins with the oldest there is where older ones are gone. Throws wal_io.
    LogReplay(const std::string& directory, const RecordType& type, const ReplayRange& range);
    /// `first <= sequence < end`.
    LogReplay(const std::string& directory, const RecordType& type, std::uint64_t first,
              std::uint64_t end)
        : LogReplay(directory, type, ReplayRange{.first = first, .end = end}) {}

    /// A frame's records at a time. Throws record_mismatch when the log has other records, and
    /// what the log throws.
    bool next(std::vector<std::byte>& to) override;

private:
    void append(std::vector<std::byte>& to, std::span<const std::byte> records) const;

    std::unique_ptr<wal::Reader> reader_;
    std::size_t record_bytes_;
    std::uint16_t schema_;
    ReplayRange range_;
};

}  // namespace klineagg::bus
