// A publisher whose records are in a write-ahead log before anybody sees them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "klineagg/bus/log_replay.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/record_type.hpp"
#include "klineagg/wal/log.hpp"

namespace klineagg::bus {

/// Of one thread at a time.
class LoggedPublisher {
public:
    /// Opens log and ring. What is in the log and was not published any more, by a predecessor
    /// that was killed between the two, is published now. Throws what both throw, and
    /// bus_unavailable when the ring is ahead of the log.
    LoggedPublisher(const Folder& folder, const std::string& topic, const std::string& name,
                    const RecordType& type, const std::string& root,
                    PublisherOptions options = {}, wal::LogOptions log_options = {});
    ~LoggedPublisher();
    LoggedPublisher(const LoggedPublisher&) = delete;
    LoggedPublisher& operator=(const LoggedPublisher&) = delete;

    /// Stamps the records, has them accepted by the log, then shows them. The last one's
    /// sequence. Throws wal_halted and its kin: then nothing of the batch was shown.
    std::uint64_t publish(const std::byte* records, std::size_t count);
    void close();

    // The steps of publish(), for those who show their records later.
    /// Copies `count` records to `to`, with the headers of sequences from `first` on.
    void stamp(std::vector<std::byte>& to, const std::byte* records, std::size_t count,
               std::uint64_t first) const;
    /// At most batch_max() records; waits for room in the log. Throws wal_timeout and its kin.
    void append(const std::vector<std::byte>& stamped, std::size_t count, std::uint64_t first,
                engine::MonotonicNs deadline);
    [[nodiscard]] std::size_t batch_max() const noexcept;

    [[nodiscard]] Publisher& publisher() noexcept { return *publisher_; }
    [[nodiscard]] wal::Log& log() noexcept { return *log_; }

private:
    void check_records(const std::string& directory) const;
    void catch_up(const std::string& directory);

    RecordType type_;
    std::unique_ptr<wal::Log> log_;
    std::unique_ptr<Publisher> publisher_;
    std::vector<std::byte> stamped_;
};

}  // namespace klineagg::bus
