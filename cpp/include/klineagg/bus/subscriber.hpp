// Receiving a topic: the rings of all its publishers, merged, with a cursor in each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "klineagg/bus/batches.hpp"
#include "klineagg/bus/record_type.hpp"
#include "klineagg/bus/records.hpp"
#include "klineagg/bus/ring.hpp"
#include "klineagg/bus/segment.hpp"
#include "klineagg/bus/topic.hpp"
#include "klineagg/engine/clock.hpp"
#include "klineagg/engine/wait.hpp"

namespace klineagg::bus {

enum class Start : std::uint8_t {
    latest,  // what is published from now on
    oldest,  // with what the rings still have
};

struct SubscriberOptions {
    std::string name = "subscriber";
    engine::WaitKind wait = engine::WaitKind::park;
    Start start = Start::latest;
    /// The next sequence wanted of a publisher: before `start`, for those who resume.
    std::map<std::string, std::uint64_t> from;
    /// The thread that makes it, and is to receive, stays on this core.
    std::optional<int> core;
};

/// A publisher as a subscriber sees it.
struct SourceInfo {
    std::string name;
    std::uint64_t generation = 0;
    std::int64_t pid = 0;
    bool alive = false;       // holds its lock
    TimeNs heartbeat = 0;     // when it last said so
    std::uint64_t next = 0;   // the next sequence to be received
    std::uint64_t behind = 0;
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
};

/// Of one thread at a time. What a publisher sends arrives in its order, without holes other than
/// those in `lost`; the order between publishers is that of the merge.
class Subscriber {
public:
    /// Throws record_mismatch as soon as a publisher of the topic means another record, and
    /// resume_ahead when `from` is beyond what it has sent; of one that comes later receive() and
    /// wait() do so, once, and then take it from its first record on.
    Subscriber(const Folder& folder, const std::string& topic, const RecordType& type,
               SubscriberOptions options = {});
    ~Subscriber();
    Subscriber(const Subscriber&) = delete;
    Subscriber& operator=(const Subscriber&) = delete;

    /// Copies what there is, up to `count_max` records, and returns at once.
    std::size_t receive(std::byte* to, std::size_t count_max);
    template <IsRecord Record>
    std::size_t receive(std::span<Record> to) {
        check_size(sizeof(Record));
        return receive(reinterpret_cast<std::byte*>(to.data()), to.size());
    }
    /// True as soon as there is something to receive (or lost); false at the deadline.
    bool wait(engine::MonotonicNs deadline);

    /// receive(), waiting for the first record: 0 at the deadline, or after stop().
    std::size_t receive_wait(std::byte* to, std::size_t count_max, engine::MonotonicNs deadline);
    /// What comes, as std::span<const Record>, until nothing came for `timeout`, or stop().
    template <IsRecord Record>
    [[nodiscard]] auto batches(DurationNs timeout = NO_TIMEOUT,
                               std::size_t count_max = LOOP_RECORDS) {
        check_size(sizeof(Record));
        return Batches([this, timeout, records = std::vector<Record>(count_max)]() mutable {
            const std::size_t count =
                receive_wait(reinterpret_cast<std::byte*>(records.data()), records.size(),
                             engine::deadline_after(timeout));
            using Batch = std::span<const Record>;
            return count == 0 ? std::optional<Batch>() : Batch(records.data(), count);
        });
    }
    /// Calls back with each of them. What `callback` throws ends the loop, behind its batch.
    template <IsRecord Record, class Callback>
    void run(Callback&& callback, DurationNs timeout = NO_TIMEOUT) {
        for (const auto& batch : batches<Record>(timeout)) callback(batch);
    }
    /// Ends loops over it for good, within 0.1 s: from any thread, or a signal handler.
    void stop() noexcept { stop_.raise(); }
    /// Gives its line in the topic's table to others. Its counts stay, and nobody else sees it:
    /// one that was left open would be shown as falling behind for ever.
    void leave() noexcept;

    /// The next records of one publisher, where they lie. release_peek() goes past them and
    /// counts them as received, or as lost when they were overwritten meanwhile: then it says
    /// false, and what was read of them is worth nothing.
    struct Peek {
        RingReader::View view;
        std::size_t source = 0;
        std::uint64_t lost = 0;
    };
    Peek peek(std::size_t count_max);
    [[nodiscard]] bool still_valid(const Peek& peek) const;
    bool release_peek(const Peek& peek);

    [[nodiscard]] const Topic& topic() const noexcept { return topic_; }
    [[nodiscard]] const RecordType& type() const noexcept { return type_; }
    [[nodiscard]] std::vector<SourceInfo> sources() const;
    /// The next sequence of each publisher: what `SubscriberOptions::from` takes.
    [[nodiscard]] std::map<std::string, std::uint64_t> positions() const;
    [[nodiscard]] std::uint64_t received() const noexcept { return received_; }
    [[nodiscard]] std::uint64_t lost() const noexcept;
    [[nodiscard]] std::uint64_t behind() const noexcept;
    /// What receive() would find: also of publishers that have come since the last one.
    [[nodiscard]] std::uint64_t available();
    /// Keeps the mapped ring of a peek alive for whoever still looks at it.
    [[nodiscard]] std::shared_ptr<const void> memory_of(std::size_t source) const;
    void count_duplicates(std::uint64_t count) noexcept;
    /// Looks at the folder for new, replaced and dead publishers; wait() does so by itself.
    void refresh();
    /// Throws record_mismatch unless its records have this size.
    void check_size(std::size_t bytes) const;

private:
    struct Source {
        std::string name;
        std::shared_ptr<MappedFile> file;
        RingReader reader;
        LockProbe probe;
        SubscriberPlace* place = nullptr;  // where others see its cursor
        std::uint64_t received = 0;
        std::uint64_t lost_before = 0;  // in segments that were replaced
    };

    void attach(const std::string& name, bool at_start);
    void note_gone();
    [[noreturn]] void began_anew(const std::string& name, std::uint64_t wanted,
                                 std::uint64_t tail);
    /// False: there is another ring, but the old one is not drained yet.
    bool follow_replacement(Source& source);
    void look_around();
    [[nodiscard]] bool has_work() const noexcept;
    [[nodiscard]] bool needs_remote_fence() const noexcept;
    void show_places(const std::vector<std::string>& publishers) noexcept;
    void show_counts() noexcept;

    Topic topic_;
    RecordType type_;
    SubscriberOptions options_;
    std::unique_ptr<SubscriberSeat> seat_;
    std::vector<std::unique_ptr<Source>> sources_;
    std::map<std::string, std::uint64_t> gone_;  // before it came: where their sequence stood
    engine::Waiter waiter_;
    std::size_t turn_ = 0;  // of the sources, so that none starves
    std::uint64_t received_ = 0;
    std::uint64_t duplicates_ = 0;
    std::uint32_t roster_ = 0;
    std::uint32_t process_ = 0;
    TimeNs created_ = 0;
    bool is_draining_ = false;  // a ring that was replaced: the new one is next
    engine::MonotonicNs next_refresh_ = 0;
    StopSign stop_;
};

}  // namespace klineagg::bus
