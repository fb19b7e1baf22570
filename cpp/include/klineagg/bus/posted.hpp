// A publisher with a log whose callers do not wait for the disk: records are shown when the log has
// accepted them, by whoever finds that first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "klineagg/bus/logged.hpp"

namespace klineagg::bus {

/// Any thread may post; what it posts is in the log, and in the ring behind the tail, when post()
/// returns. Log and ring count alike: a record's sequence is its number in the log.
class PostedPublisher final : public wal::Listener {
public:
    /// Throws what LoggedPublisher throws.
    PostedPublisher(const Folder& folder, const std::string& topic, const std::string& name,
                    const RecordType& type, const std::string& root, PublisherOptions options,
                    wal::LogOptions log_options);
    ~PostedPublisher() override;

    /// The last one's sequence. Waits only when the disk is behind by half of the ring, or by all
    /// of the log's own. Throws the failure of a log that has halted, wal_timeout, bus_closed.
    std::uint64_t post(const std::byte* records, std::size_t count);
    template <IsRecord Record>
    std::uint64_t post(std::span<const Record> records) {
        return post(reinterpret_cast<const std::byte*>(records.data()), records.size());
    }
    /// Until the log keeps all that was posted before, also over a power cut where it ever does so.
    /// Throws wal_timeout, its failure.
    void settle();
    /// Shows all that was posted, then ends. Throws when the log cannot accept it; it is closed
    /// all the same, and a successor shows what the log has.
    void close();

    [[nodiscard]] Publisher& publisher() noexcept { return logged_.publisher(); }
    [[nodiscard]] wal::Log& log() noexcept { return logged_.log(); }

    void log_moved() noexcept override { show(); }

private:
    void wait_for(wal::Sequence wanted, bool durable);
    void wait_for_room(std::size_t count);
    void show() noexcept;

    LoggedPublisher logged_;
    std::vector<std::byte> stamped_;
    TurnLock posting_;
    TurnLock showing_;
    std::uint64_t next_ = 0;                // of who posts
    std::atomic<std::uint64_t> staged_{0};  // sequences below stand in the ring
    bool open_ = true;
};

}  // namespace klineagg::bus
