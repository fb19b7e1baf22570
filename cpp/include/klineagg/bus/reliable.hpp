// Messages that must arrive: acknowledged, repeated, or reported as failed.
//
// Acknowledgements and repeats are topics of their own ("<topic>.acks", "<topic>.repeats"), so the
// main ring stays as it is and nobody who does not take part sees repeats.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "klineagg/bus/logged.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/bus/tracker.hpp"
#include "klineagg/engine/thread.hpp"

namespace klineagg::bus {

struct ReliableOptions {
    // Who must acknowledge: those of these names; else, with `all`, the reliable subscribers that
    // are there when a message is sent (none: it fails); else any `acks` of them.
    std::set<std::string> names;
    bool all = false;
    std::size_t acks = 1;
    DurationNs timeout_ns = 100'000'000;  // then it is repeated
    int retries = 3;                      // at most; then it has failed
    std::size_t pending_max = 65'536;     // on their way; send() waits for room
    PublisherOptions publisher;
    std::string wal;  // a folder for the log behind it; empty: none
    wal::LogOptions log;
    std::optional<int> core;  // of the thread that repeats
};

/// What became of a message.
struct Delivery {
    std::uint64_t sequence = 0;
    bool delivered = false;
    int attempts = 0;
    std::set<std::string> acknowledged;
    std::set<std::string> missing;  // of those that are known by name
    std::size_t missing_count = 0;

    /// Why it has failed.
    [[nodiscard]] std::string text(const std::string& topic) const;
};

class ReliablePublisher {
public:
    /// Called once for each message, from the publisher's own thread, or from close(). It may send,
    /// and must not throw.
    using Done = std::function<void(const Delivery&)>;

    /// Throws what Publisher throws, and invalid_option.
    ReliablePublisher(const Folder& folder, const std::string& topic, const std::string& name,
                      const RecordType& type, ReliableOptions options = {});
    ~ReliablePublisher();
    ReliablePublisher(const ReliablePublisher&) = delete;
    ReliablePublisher& operator=(const ReliablePublisher&) = delete;

    /// Publishes one record; its sequence. Any thread. Throws bus_closed, and what the log throws.
    std::uint64_t send(const std::byte* record, Done done);
    /// The same, and waits until it is acknowledged. Throws delivery_failed.
    std::uint64_t publish(const std::byte* record);
    template <IsRecord Record>
    std::uint64_t publish(const Record& record) {
        return publish(reinterpret_cast<const std::byte*>(&record));
    }
    /// Waits until nothing is pending; false at the deadline.
    bool flush(engine::MonotonicNs deadline = engine::NO_DEADLINE);
    /// Ends it at once: what is pending fails.
    void close();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const RecordType& type() const noexcept { return type_; }
    [[nodiscard]] std::size_t pending() const;
    [[nodiscard]] std::uint64_t delivered() const noexcept { return delivered_.load(); }
    [[nodiscard]] std::uint64_t failed() const noexcept { return failed_.load(); }
    [[nodiscard]] std::uint64_t repeated() const noexcept { return repeated_.load(); }

private:
    struct Pending {
        std::vector<std::byte> record;  // with the header of the first attempt
        Done done;
        engine::MonotonicNs due = 0;
        int retries_left = 0;
        std::set<std::string> wanted;  // empty: any `acks`
        std::size_t acks = 0;
        Delivery delivery;
    };
    // By due time: all wait equally long, so new ones and repeated ones go to the end.
    using Queue = std::list<Pending>;
    using Outcomes = std::list<Pending>;

    [[nodiscard]] std::set<std::string> required() const;
    void work();
    void take_acks(const std::vector<Ack>& acks, std::size_t count, Outcomes& outcomes);
    void repeat_due(Outcomes& outcomes);
    void settle(Outcomes& outcomes);
    static void fail(Pending& pending);

    std::string name_;
    RecordType type_;
    ReliableOptions options_;
    std::unique_ptr<LoggedPublisher> logged_;  // one of the two
    std::unique_ptr<Publisher> plain_;
    Publisher repeats_;
    Subscriber returns_;
    Topic acks_topic_;
    std::uint32_t process_ = 0;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    Queue queue_;
    std::unordered_map<std::uint64_t, Queue::iterator> pending_;
    bool closing_ = false;
    std::atomic<std::uint64_t> delivered_{0};
    std::atomic<std::uint64_t> failed_{0};
    std::atomic<std::uint64_t> repeated_{0};
    engine::Thread thread_;
};

struct ReliableSubscriberOptions {
    SubscriberOptions subscriber;
    /// When they are received, or when acknowledge() is called or the next ones are asked for: then
    /// a crash in between has them sent again.
    bool at_once = true;
    /// Injects faults, for tests: true loses that message, or its repeat.
    std::function<bool(std::uint64_t)> drop;
};

/// Receives each message once, and acknowledges it. What was lost at first comes late, and so out
/// of order. Of one thread at a time.
class ReliableSubscriber {
public:
    /// `options.subscriber.name`: by which publishers know it. Throws what Subscriber and Publisher
    /// throw: one of a name lives at a time.
    ReliableSubscriber(const Folder& folder, const std::string& topic, const RecordType& type,
                       ReliableSubscriberOptions options);

    /// New messages, each once, up to `count_max`.
    std::size_t receive(std::byte* to, std::size_t count_max);
    template <IsRecord Record>
    std::size_t receive(std::span<Record> to) {
        return receive(reinterpret_cast<std::byte*>(to.data()), to.size());
    }
    /// Until there may be something to receive; false at the deadline.
    bool wait(engine::MonotonicNs deadline);
    /// All that was received but for `kept`, so many records of it that are not done with.
    void acknowledge(const std::byte* kept = nullptr, std::size_t count = 0);
    /// Acknowledges like that, and ends it.
    void close(const std::byte* kept = nullptr, std::size_t count = 0);

    [[nodiscard]] const RecordType& type() const noexcept { return main_.type(); }
    [[nodiscard]] std::uint64_t duplicates() const noexcept;
    /// Lost and not repeated (yet).
    [[nodiscard]] std::uint64_t missing() const noexcept;

private:
    std::size_t take(Subscriber& from, std::byte* to, std::size_t count_max);
    SequenceTracker& tracker(const std::string& publisher);

    std::string name_;
    ReliableSubscriberOptions options_;
    Publisher acks_;
    Subscriber main_;
    Subscriber again_;
    std::unordered_map<std::string, SequenceTracker> trackers_;
    std::vector<Ack> unacknowledged_;
};

}  // namespace klineagg::bus
