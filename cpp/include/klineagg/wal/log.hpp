// The write-ahead log: many threads append, one writes, nothing that was acknowledged is lost.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klineagg/engine/clock.hpp"
#include "klineagg/error.hpp"
#include "klineagg/file.hpp"
#include "klineagg/wal/damage.hpp"
#include "klineagg/wal/format.hpp"
#include "klineagg/wal/names.hpp"

namespace klineagg::wal {

struct LogOptions {
    // none: the system decides when bytes reach the disk; interval: at the latest `interval_ns`
    // after they were written; always: `durable` follows `written` at once.
    SyncMode sync = SyncMode::interval;
    // What a power cut may take. A sync has a median of 70 us and a p99 of 8 ms, so ten a second
    // cost next to nothing, and shorter ones would only add waits behind the tail of the last.
    DurationNs interval_ns = 100'000'000;
    std::size_t segment_bytes = std::size_t{64} << 20U;
    std::size_t ring_bytes = std::size_t{32} << 20U;
    std::uint64_t size_max = 0;            // of all segments; 0: no limit
    DurationNs age_max_ns = 0;             // older segments go; 0: none does by its age
    bool keep_uncommitted = true;          // nothing goes that lies behind set_committed()
    bool salvage = false;                  // opens a damaged log; see Log::lost
    std::shared_ptr<engine::Clock> clock;  // stamps the frames; none: the system's
};

/// Throws invalid_option for what no log can have; opening one does it first of all.
void check_options(const LogOptions& options);

enum class LogState : std::uint8_t {
    running,
    halted,  // nothing is accepted; readers go on; see failure() and resume()
    closed,
};

enum class AppendStatus : std::uint8_t {
    ok,
    would_block,  // the ring is full: the disk is slower than what comes in
    halted,
    closed,
    too_large,
};

/// Is told on the writer's thread when written, durable or the state changes: to notify somebody,
/// not to do things.
class Listener {
public:
    Listener() = default;
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    virtual ~Listener() = default;
    virtual void log_moved() noexcept = 0;
};

struct Appended {
    AppendStatus status = AppendStatus::ok;
    Sequence first = 0;
    Sequence last = 0;
};

struct LogStats {
    Sequence next = 1;
    Sequence written = 0;
    Sequence durable = 0;
    Sequence committed = 0;
    std::uint64_t frames = 0;
    std::uint64_t bytes = 0;  // of frames, written by this object
    std::uint64_t writes = 0;
    std::uint64_t syncs = 0;
    std::int64_t sync_ns_max = 0;
    std::uint64_t segments = 0;       // files on the disk
    std::uint64_t segment_bytes = 0;  // what they take
    std::uint64_t removed_segments = 0;
    std::uint64_t failed_removals = 0;
    std::uint64_t halts = 0;
    std::uint64_t resumes = 0;
    std::uint64_t would_block = 0;
    std::uint64_t ring_bytes = 0;
    std::uint64_t ring_used_bytes = 0;
};

class Log {
public:
    /// Opens or makes a log; repairs a torn tail. Throws wal_locked, wal_damaged, wal_format,
    /// wal_io, invalid_option.
    Log(std::shared_ptr<FileSystem> files, std::string directory, LogOptions options = {});
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;
    ~Log();

    // --- Any thread, without a lock, an allocation or a system call ---

    /// Appends one frame of `count` records, at most one for each byte of the payload or one. The
    /// numbers are given; the records count when written() has reached the last of them. `time`:
    /// what the frame is stamped with in place of the log's clock.
    Appended append(Topic topic, Bytes payload, std::uint32_t count = 1, std::uint16_t schema = 0,
                    std::uint8_t flags = 0, TimeNs time = TIME_NONE) noexcept;
    [[nodiscard]] std::size_t payload_bytes_max() const noexcept;
    /// Everything up to here is with the operating system: no crash of the process loses it.
    [[nodiscard]] Sequence written() const noexcept;
    /// Everything up to here is on the disk: no power cut loses it. 0 with SyncMode::none.
    [[nodiscard]] Sequence durable() const noexcept;
    /// What a record has to reach to be accepted: durable with SyncMode::always, else written.
    [[nodiscard]] Sequence accepted() const noexcept;
    [[nodiscard]] LogState state() const noexcept;
    /// The number that the next record will have.
    [[nodiscard]] Sequence next_sequence() const noexcept;

    // --- Any thread ---

    /// As append, but waits for room until the deadline. Throws wal_timeout, wal_halted,
    /// wal_closed, wal_record.
    Appended append_wait(Topic topic, Bytes payload, std::uint32_t count,
                         engine::MonotonicNs deadline, std::uint16_t schema = 0);
    /// Says what a number stands for in the frames that are appended after it.
    void append_names(const std::vector<Name>& names, engine::MonotonicNs deadline);
    /// False at the deadline. Throws the failure when the log has halted before, wal_closed.
    bool wait_written(Sequence sequence, engine::MonotonicNs deadline);
    /// Has it synced now. Throws invalid_option with SyncMode::none.
    bool wait_durable(Sequence sequence, engine::MonotonicNs deadline);
    /// One at most: false while there is another one.
    [[nodiscard]] bool listen(Listener& listener) noexcept;
    /// When it returns, nobody is in it, and it is not called any more.
    void end_listening(Listener& listener) noexcept;

    /// Why it has halted.
    [[nodiscard]] std::optional<Error> failure() const;
    /// Of the operator, when the cause is mended: looks at what is on the disk, and goes on in a
    /// new segment with everything that is not known to be there. Throws what went wrong; the log
    /// is then still halted.
    void resume();

    /// Everything up to here is in the lake and may go by age and size.
    void set_committed(Sequence sequence) noexcept;
    /// 0: no limit. Applied at once.
    void set_retention(std::uint64_t size_max, DurationNs age_max_ns);

    [[nodiscard]] LogStats stats() const;
    [[nodiscard]] const std::string& directory() const noexcept;
    [[nodiscard]] const std::shared_ptr<FileSystem>& files() const noexcept;
    [[nodiscard]] const Uuid& id() const noexcept;
    [[nodiscard]] SyncMode sync_mode() const noexcept;
    /// What opening cut off as torn: bytes.
    [[nodiscard]] std::uint64_t repaired_bytes() const noexcept;
    /// What opening went past, with `salvage`: of the last file, the others were not read.
    [[nodiscard]] const std::vector<Damage>& lost() const noexcept;
    /// Whether it was opened with `salvage`: who reads it goes past damage, too.
    [[nodiscard]] bool salvages() const noexcept;

    /// Writes and syncs what was appended before, unless it has halted. Idempotent. Throws the
    /// failure when that does not work, and is closed all the same.
    void close();

private:
    struct Shared;
    class Writer;

    std::unique_ptr<Shared> shared_;
    std::unique_ptr<Writer> writer_;
};

}  // namespace klineagg::wal
