// The thread that writes the log.
#pragma once

#include <deque>
#include <set>
#include <vector>

#include "klineagg/engine/thread.hpp"
#include "klineagg/wal/recovery.hpp"
#include "log_shared.hpp"
#include "segment_writer.hpp"

namespace klineagg::wal {

class Log::Writer {
public:
    /// Makes the first segment of this writer; throws what goes wrong with that.
    Writer(Shared& shared, const Recovery& recovery);
    ~Writer() { stop(); }

    void start();
    /// Returns when everything is written, or cannot be.
    void stop();

private:
    static constexpr std::size_t STAGING_BYTES = std::size_t{1} << 20U;

    /// A segment on the disk that is not written any more.
    struct Kept {
        Sequence first;
        std::string path;
        std::uint64_t bytes;
        TimeNs ended;  // by the log's clock: frames may have times of their own, or none
    };

    void run();
    bool turn();
    bool write_committed();
    void stage(const Ring::Entry& entry);
    void flush();
    bool sync_if_due();
    void sync();
    void roll();
    void begin_segment(Sequence first, std::size_t frame);
    [[nodiscard]] std::unique_ptr<SegmentWriter> make_segment(Sequence first, std::uint64_t bytes);
    void write_names(SegmentWriter& segment);
    void add_seal();
    void keep_segment();
    void check_size(std::uint64_t more) const;
    /// What a new segment takes that begins with so many bytes of frames; removes old segments
    /// for it. Throws wal_full.
    [[nodiscard]] std::uint64_t make_room(std::uint64_t frames);
    /// Removes segments that are too old, or more than the limit with `more` bytes to come.
    void retain(std::uint64_t more);
    [[nodiscard]] bool is_removable(const Kept& oldest, Sequence next_first, TimeNs now,
                                    std::uint64_t needed) const;
    void remember(const Ring::Entry& entry);
    void halt(const Error& error);
    void try_resume();
    void rewrite();
    void verify_tail(Sequence last) const;
    void finish();
    [[nodiscard]] bool has_work() const;
    [[nodiscard]] engine::MonotonicNs next_deadline() const;
    [[nodiscard]] bool syncs() const noexcept { return shared_->options.sync != SyncMode::none; }
    [[nodiscard]] std::uint64_t total_bytes() const;
    void count_segments();
    /// For stats(), before what they count is published: who waited for a sync finds it counted.
    void show_counts();

    Shared* shared_;
    std::unique_ptr<SegmentWriter> segment_;
    std::deque<Kept> kept_;  // oldest first
    std::uint64_t number_;
    std::uint64_t read_position_ = 0;  // of the ring: what is written
    std::uint64_t staged_position_ = 0;
    Sequence staged_next_;  // behind the last staged record
    std::vector<std::byte> staging_;
    std::size_t staged_ = 0;
    std::uint64_t staged_frames_ = 0;
    std::uint64_t unsynced_bytes_ = 0;
    engine::MonotonicNs sync_due_ = engine::NO_DEADLINE;
    TimeNs last_time_ = 0;
    std::vector<Name> names_;
    std::set<std::pair<NameKind, std::int32_t>> known_;
    LogStats counts_;
    engine::Thread thread_;
};

}  // namespace klineagg::wal
