// The way from one producer to one worker: bounded, in order, and able to account for every row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>

#include "klineagg/engine/clock.hpp"
#include "klineagg/engine/hole_table.hpp"
#include "klineagg/engine/lane_record.hpp"

namespace klineagg::engine {

/// What happens to a row that finds the lane full.
enum class LanePolicy : std::uint8_t {
    block,        // it is not taken: its producer waits and tries again
    drop_newest,  // it is dropped
    drop_oldest,  // the oldest rows are dropped, a block of them at a time
};

inline constexpr std::size_t LANE_CAPACITY_DEFAULT = 65'536;
inline constexpr std::size_t LANE_CAPACITY_MAX = std::size_t{1} << 28U;

/// Rows that reached the worker and are in no bar, by reason.
struct LaneRefused {
    std::uint64_t late = 0;
    std::uint64_t beyond_horizon = 0;
    std::uint64_t duplicate = 0;

    [[nodiscard]] std::uint64_t total() const noexcept { return late + beyond_horizon + duplicate; }
    LaneRefused& operator+=(const LaneRefused& other) noexcept {
        late += other.late;
        beyond_horizon += other.beyond_horizon;
        duplicate += other.duplicate;
        return *this;
    }
};

/// Everything that a lane knows of its rows, at one moment.
struct LaneCounts {
    std::uint64_t offered = 0;         // pushed + dropped_newest
    std::uint64_t pushed = 0;          // taken into the lane
    std::uint64_t applied = 0;         // of these: the worker is done with them, accepted
    std::uint64_t rejected = 0;        // of these: the worker is done with them, refused
    LaneRefused refused;               // the same, by reason
    std::uint64_t dropped_oldest = 0;  // of these: dropped to make room
    std::uint64_t dropped_newest = 0;  // never taken
    std::uint64_t in_flight = 0;       // pushed - applied - rejected - dropped_oldest
    std::uint64_t backpressure_events = 0;  // pushes that found less room than they had rows
    std::uint64_t blocked_ns = 0;           // time spent in wait_for_room
    double fill_ratio = 0.0;                // rows that wait in the lane / capacity, at most 1
};

struct LanePush {
    std::size_t taken = 0;
    std::size_t dropped = 0;  // of the rows of this call; older ones are in the counts only
};

/// One producer thread, one worker thread. Neither ever waits for the other in here but in
/// `wait_for_room`, and nothing allocates or calls the system after construction but `set_policy`.
///
/// Rows have positions: the n-th row that was ever taken into the lane has position n, from 0 on,
/// whatever becomes of it. `block` and `drop_newest` use a queue of Boost.Lockfree; `drop_oldest`
/// a ring that the producer too may pop from, by itself, while the worker is stopped. When the
/// policy changes, what is in the one is taken before what comes into the other: rows stay in
/// order, and until the worker has come that far the lane holds up to twice its capacity.
class Lane {
public:
    static constexpr std::uint64_t NO_LIMIT = std::numeric_limits<std::uint64_t>::max();

    /// Throws invalid_option unless 1 <= capacity <= LANE_CAPACITY_MAX.
    explicit Lane(std::size_t capacity = LANE_CAPACITY_DEFAULT,
                  LanePolicy policy = LanePolicy::block);
    ~Lane();
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    // --- Producer ---

    /// Takes or drops rows from the front, as the policy says. With `block` the rows that did not
    /// fit are left (taken + dropped < size) and count as not offered; so they do, with any
    /// policy, once the lane is closed. Never waits, wakes nobody.
    LanePush push(std::span<const LaneRecord> records) noexcept;

    /// Drops rows that were not to wait, whatever the policy is by now.
    void drop(std::span<const LaneRecord> records) noexcept;

    /// Counts a push that has more rows than there is room for, and waits before it tries.
    void count_backpressure() noexcept;

    /// Waits until `rows` rows (at most half the capacity is asked for) would fit. False at the
    /// deadline, and when the lane is closed. True at once when the policy is not `block`.
    /// Whoever waits first shows the worker what was pushed: else it would wait for ever.
    bool wait_for_room(std::size_t rows, MonotonicNs deadline) noexcept;

    /// Both of them: `before_wait()` is called before each wait, to commit and to notify.
    template <class BeforeWait>
    LanePush push(std::span<const LaneRecord> records, MonotonicNs deadline,
                  BeforeWait&& before_wait) {
        LanePush done;
        while (true) {
            const LanePush step = push(records);
            done.taken += step.taken;
            done.dropped += step.dropped;
            records = records.subspan(step.taken + step.dropped);
            if (records.empty() || is_closed()) return done;
            before_wait();
            if (!wait_for_room(records.size(), deadline)) return done;
        }
    }

    // --- Worker ---

    /// Moves rows into `into`, in order, none at `until` or behind it. Empty when there are none
    /// (so every row before `until` that was pushed before the call is taken or dropped).
    std::span<const LaneRecord> take(std::span<LaneRecord> into,
                                     std::uint64_t until = NO_LIMIT) noexcept;
    /// The position of the next row to be taken, as of the last `take`.
    [[nodiscard]] std::uint64_t taken() const noexcept;
    /// Everything taken so far is applied, but for the `refused` rows of it; moves `applied()` to
    /// `taken()`. Call it after a `take` that gave no rows too: the rows may have been dropped.
    void settle(const LaneRefused& refused = {}) noexcept;
    /// Of what was taken, the next `rows` rows are applied, up to `position`.
    void settle_part(std::uint64_t position, std::uint64_t rows,
                     const LaneRefused& refused) noexcept;
    /// `take`, `apply(rows)` unless there are none, which may return what it refused, `settle`.
    /// Returns the number of rows.
    template <class Apply>
    std::size_t consume(std::span<LaneRecord> scratch, std::uint64_t until, Apply&& apply) {
        const std::span<const LaneRecord> rows = take(scratch, until);
        if constexpr (std::is_void_v<decltype(apply(rows))>) {
            if (!rows.empty()) apply(rows);
            settle();
        } else {
            settle(rows.empty() ? LaneRefused{} : apply(rows));
        }
        return rows.size();
    }
    /// The position of the first row behind the first hole that is not taken; NO_LIMIT: there is
    /// none. With `drop_newest` it is known before the row there can be taken; a hole of
    /// `drop_oldest` comes as soon as the dropped rows were read, some microseconds later.
    [[nodiscard]] std::uint64_t hole_position() const noexcept;
    /// The producer is making room by `drop_oldest`: rows may be gone whose hole is not known yet.
    [[nodiscard]] bool is_evicting() const noexcept;
    /// All holes there are, which are the worker's until it gives them back; it must have given
    /// back those before. None, also when there are some: the producer adds to them just now.
    [[nodiscard]] HoleTable* take_holes() noexcept;
    void give_holes() noexcept;
    /// Nothing to take, no hole: for the look before sleeping.
    [[nodiscard]] bool empty() const noexcept;

    // --- Anybody ---

    /// The position behind the last row that can be taken. A row shows in it right after it can
    /// be: a quick worker may have taken it already.
    [[nodiscard]] std::uint64_t pushed() const noexcept;
    /// Every row before this position is applied, rejected or dropped.
    [[nodiscard]] std::uint64_t applied() const noexcept;
    /// `offered == applied + rejected + dropped_oldest + dropped_newest + in_flight` at whatever
    /// moment; `in_flight` is exact unless the worker is so fast that no moment can be caught.
    [[nodiscard]] LaneCounts counts() const noexcept;

    [[nodiscard]] std::size_t capacity() const noexcept;
    [[nodiscard]] LanePolicy policy() const noexcept;
    /// From the producer's next step on, also in `wait_for_room`. May allocate (throws
    /// std::bad_alloc, and then nothing has changed).
    void set_policy(LanePolicy policy);
    /// Ends all waiting and takes no more rows; those inside can still be taken.
    void close() noexcept;
    [[nodiscard]] bool is_closed() const noexcept;
    /// What the lane has reserved; pages that were never used do not count as the process's.
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace klineagg::engine
