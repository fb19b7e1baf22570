// The engine's place in its log: what is in the log counts, in the order in which it is there.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "klineagg/engine/journal_records.hpp"
#include "klineagg/engine/wait.hpp"
#include "klineagg/wal/log.hpp"

namespace klineagg::engine {

using wal::Sequence;

struct JournalStats {
    wal::LogStats log;
    bool halted = false;
    std::string cause;             // of the halt
    Sequence accepted = 0;
    Sequence committed = 0;        // what the log may drop
    std::uint64_t checkpoint_failures = 0;  // files that could not be written
};

/// A file beside the log: what a consumer has committed.
struct CommittedFile {
    std::string consumer;             // empty: what a new log began with
    std::optional<Sequence> position; // none: it cannot be read
    std::uint64_t bytes = 0;
};
/// Those of a log's folder, by the names of the consumers. Throws wal_io.
[[nodiscard]] std::vector<CommittedFile> committed_files(FileSystem& files,
                                                         const std::string& directory);
/// The one that is furthest back, where an engine begins; empty when there is none. Throws wal_io.
[[nodiscard]] std::vector<std::byte> first_checkpoint(FileSystem& files,
                                                      const std::string& directory);

/// Every worker appends the trades that it has taken and applies them when the log has accepted
/// them. What concerns all workers (the clock, cuts, changes) is a record too, and each worker does
/// it between its own records before and behind it.
class Journal final : public wal::Listener {
public:
    static constexpr Sequence EVERYTHING = std::numeric_limits<Sequence>::max();

    struct Tick {
        Sequence sequence = 0;
        TimeNs watermark = TIME_NONE;  // the highest so far
    };
    /// Who follows the ticks; it is told when the log has moved.
    struct Follower {
        std::atomic<std::uint64_t> done{0};  // ticks
        TimeNs begin = TIME_NONE;            // the watermark after these
        Waiter* waiter = nullptr;
    };

    explicit Journal(std::shared_ptr<wal::Log> log);
    ~Journal() override;

    [[nodiscard]] wal::Log& log() noexcept { return *log_; }

    // --- Workers: no lock, no allocation, no system call, but for one tick a second ---

    wal::Appended append_trades(Bytes block, std::size_t rows, TimeNs time) noexcept {
        return append(wal::Topic::trade, block, static_cast<std::uint32_t>(rows), TRADE_SCHEMA,
                      time);
    }
    wal::Appended append(Bytes record, TimeNs time) noexcept {
        return append(wal::Topic::command, record, 1, JOURNAL_SCHEMA, time);
    }
    /// Up to here the log has everything; stands still from a halt to resume().
    [[nodiscard]] Sequence bound() noexcept;
    [[nodiscard]] bool is_halted() noexcept {
        (void)bound();
        return frozen_.load(std::memory_order_acquire) != EVERYTHING;
    }
    /// Raises the clock's watermark for everybody, unless it is there already. False when that
    /// cannot be done now.
    bool tick(TimeNs watermark, TimeNs now) noexcept;
    /// As tick, but a record in any case. Of the thread that makes a cut.
    wal::Appended mark(const ClockRecord& record, TimeNs now) noexcept;
    /// Somebody is about to append a tick, which may be before what was appended just now.
    [[nodiscard]] bool is_ticking() const noexcept {
        return ticking_.load(std::memory_order_seq_cst);
    }
    /// The `n`-th tick, from 0; false when there is none yet.
    [[nodiscard]] bool tick_at(std::uint64_t n, Tick& tick) const noexcept {
        if (n >= ticks_made_.load(std::memory_order_acquire)) return false;
        tick = ticks_[n % TICKS];
        return true;
    }
    [[nodiscard]] std::uint64_t ticks_made() const noexcept {
        return ticks_made_.load(std::memory_order_acquire);
    }

    // --- Control ---

    void follow(Follower& follower);
    void unfollow(Follower& follower) noexcept;
    /// Before any tick: what was recovered.
    void begin_at(TimeNs watermark) noexcept { highest_ = begin_ = watermark; }
    /// Appends, and waits until it is accepted. Throws what the log has halted for.
    Sequence write(const std::vector<std::byte>& record, TimeNs now);
    Sequence write_mark(const ClockRecord& record, TimeNs now);
    void wait_accepted(Sequence sequence);
    /// Throws the reason when acceptance has halted.
    void check();
    void resume();
    /// No worker runs any more: another engine may have the log.
    void detach() noexcept;
    /// While a log is replayed nothing is written.
    [[nodiscard]] bool is_replaying() const noexcept { return replaying_; }
    void set_replaying(bool replaying) noexcept { replaying_ = replaying; }
    [[nodiscard]] JournalStats stats();

    // --- Checkpoints ---

    /// A consumer has committed everything up to a position, with the state there: the log need
    /// not go back further for it.
    void commit(const std::string& consumer, Sequence position,
                const std::vector<std::byte>& placed);
    /// The checkpoint in the folder that is furthest back; empty when there is none.
    [[nodiscard]] std::vector<std::byte> oldest_checkpoint();
    void forget(const std::string& consumer);
    /// Nobody goes on behind this position but from the checkpoint there: those behind it do not
    /// know what was made new since. Throws wal_io.
    void hold_back(Sequence position);
    /// The state that a new log goes on from; until a consumer commits. Throws wal_io.
    void begin_with(const std::vector<std::byte>& placed);

    void log_moved() noexcept override;

private:
    static constexpr std::uint64_t TICKS = 64;
    static constexpr std::uint16_t TRADE_SCHEMA = 1;

    /// With the system's time in the place of a clock that had not been set: frames are found by
    /// time, and replayed at the distances in which they came.
    wal::Appended append(wal::Topic topic, Bytes payload, std::uint32_t count, std::uint16_t schema,
                         TimeNs time) noexcept {
        const bool has_clock = time != 0 && time != TIME_MIN;
        const auto flags = static_cast<std::uint8_t>(
            has_clock ? JOURNAL_FRAME : JOURNAL_FRAME | JOURNAL_NO_CLOCK);
        return log_->append(topic, payload, count, schema, flags, has_clock ? time : TIME_NONE);
    }
    wal::Appended append_tick(const ClockRecord& record, TimeNs now) noexcept;
    [[nodiscard]] bool has_room() const noexcept;
    void write_file(const std::string& path, const std::vector<std::byte>& placed);
    /// False when there is none. Throws wal_io, and then it counts still.
    bool remove_file(const std::string& consumer);
    void set_least();
    [[nodiscard]] std::string path_of(const std::string& consumer) const;
    void read_committed();

    std::shared_ptr<wal::Log> log_;
    std::mutex mutex_;  // of ticks and followers
    std::vector<Follower*> followers_;
    std::array<Tick, TICKS> ticks_{};
    TimeNs highest_ = TIME_NONE;
    TimeNs begin_ = TIME_NONE;
    bool replaying_ = false;
    std::mutex files_;
    std::map<std::string, Sequence> committed_;  // by consumer, under files_
    std::atomic<std::uint64_t> failures_{0};
    alignas(128) std::atomic<bool> ticking_{false};
    std::atomic<std::uint64_t> ticks_made_{0};
    alignas(128) std::atomic<Sequence> frozen_{EVERYTHING};
};

}  // namespace klineagg::engine
