// Receiving everything, across restarts and however slow one is: the history from the checkpoint
// on, then the live ring without a hole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "klineagg/bus/batches.hpp"
#include "klineagg/bus/checkpoint.hpp"
#include "klineagg/bus/record_history.hpp"
#include "klineagg/bus/subscriber.hpp"

namespace klineagg::bus {

struct ResumableOptions {
    /// The folder of the logs that the publishers were given. Not looked at by who is given a
    /// history.
    std::string log_root;
    /// A file to keep the positions in. Empty: they are kept elsewhere, and come by `live.from`.
    std::string checkpoint;
    std::uint64_t every = 1000;  // messages between two checkpoints
    /// Of the live subscriber; `from` is where it goes on, `start` is `oldest` whatever it says.
    SubscriberOptions live;
};

/// Messages of one publisher that follow each other. Valid until the next call.
struct ResumedBatch {
    std::string publisher;
    std::uint64_t first = 0;  // sequence
    std::size_t count = 0;
    /// So many of them, from the first on, were handed out before the last start already.
    std::size_t repeats = 0;
    bool is_replayed = false;  // they came out of the history
    std::span<const std::byte> bytes;

    template <IsRecord Record>
    [[nodiscard]] std::span<const Record> records() const noexcept {
        return {reinterpret_cast<const Record*>(bytes.data()), bytes.size() / sizeof(Record)};
    }
};

/// Of one thread at a time. A batch counts as processed when the next one is asked for, or at
/// close(). Who keeps positions() in one transaction with his output has each message exactly once.
class Resumable {
public:
    /// Throws invalid_option (a checkpoint and positions say both where it goes on), wal_io (there
    /// is no folder of logs), file_not_found, file_format, and what a Subscriber throws.
    Resumable(const Folder& folder, const std::string& topic, const RecordType& type,
              const ResumableOptions& options);
    /// As above, without wal_io.
    Resumable(const Folder& folder, const std::string& topic, const RecordType& type,
              std::unique_ptr<RecordHistory> history, const ResumableOptions& options);
    /// Without close(), the batch at hand is not processed: it comes again after the restart.
    ~Resumable();
    Resumable(const Resumable&) = delete;
    Resumable& operator=(const Resumable&) = delete;

    /// The next batch; none at the deadline, or after stop(), which leaves a checkpoint.
    /// Throws resume_hole: neither ring nor history has what is needed; the next call goes on
    /// behind the hole. Throws resume_ahead: its publisher has never come to the position, since
    /// the topic began anew or an older state was restored; the next call goes on with its first
    /// message. And what the history throws: it is read again at a later call.
    std::optional<ResumedBatch> receive(engine::MonotonicNs deadline);
    /// What comes, until nothing came for `timeout`, or stop().
    [[nodiscard]] auto batches(DurationNs timeout = NO_TIMEOUT) {
        return Batches([this, timeout] { return receive(engine::deadline_after(timeout)); });
    }
    /// Calls back with each batch. One whose `callback` throws is not processed: it comes again,
    /// here or after a restart.
    template <class Callback>
    void run(Callback&& callback, DurationNs timeout = NO_TIMEOUT) {
        for (const ResumedBatch& batch : batches(timeout)) {
            try {
                callback(batch);
            } catch (...) {
                put_back();
                throw;
            }
        }
    }
    /// Ends loops over it for good, within 0.1 s: from any thread, or a signal handler.
    void stop() noexcept { stop_.raise(); }
    /// The batch at hand is not processed: it is the next one again.
    void put_back();
    /// The last `count` records of it alone. `seen`: what was done with them may have had its
    /// effect, so that they are repeats after a crash.
    void put_back(std::size_t count, bool seen);

    /// The next sequence of each publisher, behind what was handed out last.
    [[nodiscard]] const Positions& positions() const noexcept { return handed_out_; }
    /// Saves the positions now: what was handed out counts as processed. Throws wal_io.
    void checkpoint();
    /// Ends it, with a checkpoint of everything that was handed out. Throws wal_io.
    void close();
    /// Ends it without one, as a crash would.
    void abandon() noexcept { closed_ = true; }

    /// What was handed out before the last start, by publisher: behind the last of it.
    [[nodiscard]] const Positions& seen() const noexcept { return seen_; }
    /// Records that came out of the history, and that were handed out before the last start, too.
    [[nodiscard]] std::uint64_t replayed() const noexcept { return replayed_; }
    [[nodiscard]] std::uint64_t repeated() const noexcept { return repeated_; }

private:
    /// Records of one publisher that are taken, and where the next of them lies.
    struct Run {
        std::string publisher;
        std::vector<std::byte> bytes;
        std::size_t at = 0;
        bool is_replayed = false;
    };
    /// What is missing of a publisher, out of the history.
    struct Refill {
        std::string publisher;
        std::unique_ptr<RecordReading> records;
        bool to_the_end = false;
    };

    [[nodiscard]] std::optional<ResumedBatch> next_part();
    [[nodiscard]] ResumedBatch hand_out();
    /// Gets the next records behind each other; false: there are none but live ones to wait for.
    bool take();
    bool take_refill(Refill& refill);
    void take_live();
    void in_order(const std::string& publisher, std::span<const std::byte> records,
                  bool is_replayed);
    void refill(const std::string& publisher, std::uint64_t first, std::uint64_t end);
    void prove(const std::string& publisher);
    [[nodiscard]] bool has_come_to(const std::string& publisher, std::uint64_t position);
    void processed();
    [[nodiscard]] std::uint64_t next_of(const std::string& publisher) const;
    [[nodiscard]] MessageHeader header_at(const std::vector<std::byte>& bytes,
                                          std::size_t at) const;

    std::unique_ptr<RecordHistory> history_;
    std::uint64_t every_;
    std::optional<Checkpoint> file_;
    Positions next_;        // behind what was taken
    Positions handed_out_;  // behind what was handed out
    Positions seen_;        // before the last start
    // Of these nobody has shown yet that their publisher has ever come so far.
    std::set<std::string> unproven_;
    Subscriber live_;
    std::size_t record_bytes_;
    std::deque<std::string> to_catch_up_;
    std::optional<Refill> refill_;
    bool is_refilled_ = false;  // before the live records at hand
    std::vector<std::byte> live_records_;
    std::size_t live_at_ = 0;
    std::size_t live_end_ = 0;
    Run run_;
    std::optional<ResumedBatch> current_;
    std::uint64_t uncheckpointed_ = 0;
    std::uint64_t replayed_ = 0;
    std::uint64_t repeated_ = 0;
    bool closed_ = false;
    StopSign stop_;
};

}  // namespace klineagg::bus
