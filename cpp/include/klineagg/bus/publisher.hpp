// Publishing to a topic: one ring, one living publisher of its name.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "klineagg/bus/record_type.hpp"
#include "klineagg/bus/records.hpp"
#include "klineagg/bus/ring.hpp"
#include "klineagg/bus/segment.hpp"
#include "klineagg/bus/stamp_clock.hpp"
#include "klineagg/bus/topic.hpp"

namespace klineagg::bus {

struct PublisherOptions {
    std::size_t ring_bytes = 0;  // 0: default_ring_bytes(topic)
    /// Where the sequence begins when nobody of this name was here before; that of the log behind
    /// it, where there is one. A predecessor's sequence goes on whatever this says.
    std::uint64_t first_sequence = 1;
    /// The sequence goes on here at the least, also behind a predecessor: what lies between is
    /// lost, and readers count it.
    std::uint64_t skip_to = 0;
    /// Segments of dead publishers, of all topics, are removed at start after so long.
    DurationNs orphan_after = 60 * NS_PER_SECOND;
    std::size_t publishers_max = PUBLISHERS_MAX;
    /// Records keep the header that they come with: repeats of another publisher's messages.
    bool keep_headers = false;
    /// The thread that makes it, and is to publish, stays on this core.
    std::optional<int> core;
};

/// Lets several threads take turns; uncontended, it costs one locked instruction. Who waits spins
/// for a moment, gives his core away a few times, then sleeps between his looks: who has the turn
/// may have lost his core for a whole time slice.
class TurnLock {
public:
    void lock() noexcept;
    void unlock() noexcept { taken_.store(false, std::memory_order_release); }

private:
    std::atomic<bool> taken_{false};
};

/// Any thread may publish; threads take turns. Never waits for a reader.
class Publisher {
public:
    /// Throws publisher_exists, record_mismatch (living publishers of the topic mean other
    /// records), too_many_publishers, bus_unavailable, bus_name.
    Publisher(const Folder& folder, const std::string& topic, const std::string& name,
              const RecordType& type, const PublisherOptions& options = {});
    ~Publisher();
    Publisher(const Publisher&) = delete;
    Publisher& operator=(const Publisher&) = delete;

    /// Copies `count` records behind each other into the ring and stamps their headers; more than
    /// batch_max() in several batches. The last one's sequence. Throws bus_closed.
    std::uint64_t publish(const std::byte* records, std::size_t count);
    template <IsRecord Record>
    std::uint64_t publish(std::span<const Record> records) {
        check_size(sizeof(Record));
        return publish(reinterpret_cast<const std::byte*>(records.data()), records.size());
    }
    template <IsRecord Record>
    std::uint64_t publish(const Record& record) {
        return publish(std::span<const Record>(&record, 1));
    }

    /// Places for `count` records in the ring, in at most two pieces, to be written in place and
    /// then shown by commit_loan(). One loan at a time, and no publish() meanwhile.
    /// Throws batch_too_large, loan_outstanding, bus_closed.
    struct Loan {
        std::uint64_t number = 0;
        std::uint64_t first = 0;
        std::span<std::byte> pieces[2];
    };
    Loan loan(std::size_t count);
    /// Stamps and shows the first `count` of them; 0 drops the loan. The last one's sequence.
    std::uint64_t commit_loan(std::size_t count);
    /// Drops the loan of that number, unless it is settled: for those who may have lost it.
    void drop_loan(std::uint64_t number) noexcept;

    /// Writes records, header and all, where nobody sees them before reveal(): for those that
    /// have to be in a log first. `first` follows what was staged before; all that is not revealed
    /// is at most batch_max(). Instead of publish(), by one thread at a time.
    void stage(const std::byte* records, std::uint64_t first, std::size_t count);
    /// Shows what was staged below `next`. By one thread at a time, also beside stage().
    void reveal(std::uint64_t next) noexcept;

    /// Nothing more comes; readers drain what there is. A successor may follow at once.
    void close() noexcept;

    [[nodiscard]] bool is_open() const noexcept { return open_; }
    /// In a forked child.
    [[nodiscard]] bool is_foreign() const noexcept { return process_ != process_generation(); }
    /// Throws bus_closed, forked.
    void check_open() const;
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const Topic& topic() const noexcept { return topic_; }
    [[nodiscard]] const RecordType& type() const noexcept { return type_; }
    [[nodiscard]] std::uint64_t capacity() const noexcept { return ring_.capacity(); }
    [[nodiscard]] std::uint64_t batch_max() const noexcept { return ring_.capacity() / 2; }
    [[nodiscard]] std::uint64_t generation() const noexcept;
    [[nodiscard]] std::uint64_t next_sequence() const noexcept;
    [[nodiscard]] std::uint64_t wake_count() const noexcept;

private:
    void acquire(const PublisherOptions& options);
    bool take_over(const PublisherOptions& options);
    /// What a ring begins with.
    struct Place {
        std::uint64_t first = 1;  // sequence
        std::uint64_t generation = 1;
        TimeNs origin_created = 0;  // of the first ring of its line, 0: this is it
        std::uint64_t origin_sequence = 0;
        bool is_taken = false;  // by another ring, which it replaces
    };
    bool make(const PublisherOptions& options, const Place& place);
    void begin_life();
    void check_topic_records(const PublisherOptions& options) const;
    void check_size(std::size_t bytes) const;
    void check_no_loan() const;
    void notify() noexcept;

    Topic topic_;
    std::string name_;
    RecordType type_;
    MappedFile file_;
    FileLock lock_;
    RingMemory ring_;
    RingWriter writer_;
    MessageHeader stamp_;
    StampClock clock_;
    TurnLock turn_;
    std::uint64_t loaned_ = 0;
    std::uint64_t loan_number_ = 0;
    std::uint32_t process_ = 0;
    bool keep_headers_ = false;
    bool remote_fence_ = false;
    bool open_ = false;
};

}  // namespace klineagg::bus
