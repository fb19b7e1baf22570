#include "klineagg/engine/lane.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "klineagg/engine/wait.hpp"
#include "klineagg/error.hpp"
#include "lane_impl.hpp"

namespace klineagg::engine {
namespace {

// A large push is shown to the worker in parts of 48 KiB: it starts early, and the rows are still
// in a cache.
constexpr std::size_t PUT_ROWS = 1024;

constexpr int ROOM_SPINS = 512;
constexpr std::chrono::microseconds ROOM_SLEEP{50};
constexpr int EXACT_READS = 64;

}  // namespace

Lane::Lane(std::size_t capacity, LanePolicy policy) {
    if (capacity < 1 || capacity > LANE_CAPACITY_MAX) {
        throw Error(ErrorCode::invalid_option,
                    "the capacity of a lane is 1 to " + std::to_string(LANE_CAPACITY_MAX) +
                        " rows, not " + std::to_string(capacity),
                    {{"lane_capacity", std::to_string(capacity)}});
    }
    impl_ = std::make_unique<Impl>(capacity, policy);
}

Lane::~Lane() = default;

LanePush Lane::push(std::span<const LaneRecord> records) noexcept {
    Impl& impl = *impl_;
    LanePush done;
    bool was_full = false;
    while (!records.empty() && !is_closed()) {
        const LanePolicy policy = impl.policy.load(std::memory_order_acquire);
        impl.steer(policy);
        const std::size_t rows = std::min({impl.room(), records.size(), PUT_ROWS});
        if (rows != 0) {
            impl.put(records.first(rows));
            records = records.subspan(rows);
            done.taken += rows;
            continue;
        }
        if (!was_full) impl.count(Impl::BACKPRESSURE, 1);
        was_full = true;
        if (policy == LanePolicy::block) break;
        if (policy == LanePolicy::drop_newest) {
            impl.drop_newest(records);
            done.dropped += records.size();
            break;
        }
        impl.drop_oldest();
    }
    return done;
}

void Lane::drop(std::span<const LaneRecord> records) noexcept {
    if (!records.empty()) impl_->drop_newest(records);
}

void Lane::count_backpressure() noexcept { impl_->count(Impl::BACKPRESSURE, 1); }

bool Lane::wait_for_room(std::size_t rows, MonotonicNs deadline) noexcept {
    Impl& impl = *impl_;
    const std::size_t wanted = std::min(rows, std::max<std::size_t>(1, impl.capacity / 2));
    // Another policy needs no waiting: it drops.
    const auto is_ready = [&] {
        return impl.room() >= wanted ||
               impl.policy.load(std::memory_order_acquire) != LanePolicy::block;
    };
    if (is_ready()) return !is_closed();
    const MonotonicNs start = monotonic_ns();
    bool ready = false;
    for (int spins = 0; !is_closed() && !(ready = is_ready()); ++spins) {
        if (deadline != NO_DEADLINE && monotonic_ns() >= deadline) break;
        // Sleeping by itself and not waiting for a call: a call would be a system call of the
        // worker, on its trade path, just when it is behind.
        if (spins < ROOM_SPINS) spin_pause();
        else std::this_thread::sleep_for(ROOM_SLEEP);
    }
    impl.count(Impl::BLOCKED, static_cast<std::uint64_t>(monotonic_ns() - start));
    return ready && !is_closed();
}

std::span<const LaneRecord> Lane::take(std::span<LaneRecord> into, std::uint64_t until) noexcept {
    Impl& impl = *impl_;
    if (into.empty()) return {};  // would look like an empty lane below
    std::span<LaneRecord> rows = into;
    for (bool done = false; !done;) {
        const Route now = impl.route.load(std::memory_order_acquire);
        const bool at_queue = now == Route::queue || now == Route::queue_then_ring;
        done = at_queue ? impl.take_from_queue(now, until, rows)
                        : impl.take_from_ring(now, until, rows);
    }
    if (!rows.empty()) {
        impl.rows_unsettled += rows.size();
        // Release: who sees these rows taken also sees them pushed.
        impl.rows_taken.store(impl.rows_taken.load(std::memory_order_relaxed) + rows.size(),
                              std::memory_order_release);
    }
    return rows;
}

std::uint64_t Lane::taken() const noexcept { return impl_->taken_position; }

void Lane::settle(const LaneRefused& refused) noexcept {
    Impl& impl = *impl_;
    const std::uint64_t known = impl.settled.own()[Impl::POSITION];
    if (impl.rows_unsettled == 0 && known == impl.taken_position) return;
    impl.settled.update([&](auto& values) {
        values[Impl::POSITION] = impl.taken_position;
        values[Impl::APPLIED] += impl.rows_unsettled - refused.total();
        values[Impl::LATE] += refused.late;
        values[Impl::BEYOND_HORIZON] += refused.beyond_horizon;
        values[Impl::DUPLICATE] += refused.duplicate;
    });
    impl.rows_unsettled = 0;
}

void Lane::settle_part(std::uint64_t position, std::uint64_t rows,
                       const LaneRefused& refused) noexcept {
    Impl& impl = *impl_;
    impl.settled.update([&](auto& values) {
        values[Impl::POSITION] = position;
        values[Impl::APPLIED] += rows - refused.total();
        values[Impl::LATE] += refused.late;
        values[Impl::BEYOND_HORIZON] += refused.beyond_horizon;
        values[Impl::DUPLICATE] += refused.duplicate;
    });
    impl.rows_unsettled -= rows;
}

std::uint64_t Lane::hole_position() const noexcept { return impl_->holes.position(); }

bool Lane::is_evicting() const noexcept {
    return impl_->evicting.load(std::memory_order_acquire);
}

HoleTable* Lane::take_holes() noexcept { return impl_->holes.take(); }

void Lane::give_holes() noexcept { impl_->holes.give_back(); }

bool Lane::empty() const noexcept {
    const Impl& impl = *impl_;
    // Without `route` there may be no ring yet; with it, whatever the route was, it is there.
    if (impl.queue.read_available() != 0 || hole_position() != NO_LIMIT) return false;
    return impl.route.load(std::memory_order_acquire) == Route::queue || impl.ring->empty();
}

std::uint64_t Lane::pushed() const noexcept { return impl_->tail.load(std::memory_order_acquire); }

std::uint64_t Lane::applied() const noexcept { return impl_->settled.load(Impl::POSITION); }

LaneCounts Lane::counts() const noexcept {
    const Impl& impl = *impl_;
    LaneCounts counts;
    for (int i = 0; i < EXACT_READS; ++i) {
        // The worker's numbers first: what it has settled was counted as pushed before. Unchanged
        // afterwards, they held at the moment at which the producer's were read.
        std::uint64_t before = 0;
        std::uint64_t after = 0;
        const std::uint64_t rows_taken = impl.rows_taken.load(std::memory_order_acquire);
        const auto settled = impl.settled.read(&before);
        const auto produced = impl.produced.read();
        impl.settled.read(&after);
        counts.pushed = produced[Impl::PUSHED];
        counts.dropped_newest = produced[Impl::DROPPED_NEWEST];
        counts.offered = counts.pushed + counts.dropped_newest;
        counts.dropped_oldest = produced[Impl::DROPPED_OLDEST];
        counts.applied = settled[Impl::APPLIED];
        counts.refused = {settled[Impl::LATE], settled[Impl::BEYOND_HORIZON],
                          settled[Impl::DUPLICATE]};
        counts.rejected = counts.refused.total();
        counts.in_flight =
            counts.pushed - counts.dropped_oldest - counts.applied - counts.rejected;
        counts.backpressure_events = produced[Impl::BACKPRESSURE];
        counts.blocked_ns = produced[Impl::BLOCKED];
        const auto waiting =
            static_cast<double>(counts.pushed - counts.dropped_oldest - rows_taken);
        counts.fill_ratio = std::min(1.0, waiting / static_cast<double>(impl.capacity));
        if (before == after) break;
    }
    return counts;
}

std::size_t Lane::capacity() const noexcept { return impl_->capacity; }

LanePolicy Lane::policy() const noexcept { return impl_->policy.load(std::memory_order_acquire); }

void Lane::set_policy(LanePolicy policy) {
    Impl& impl = *impl_;
    const std::lock_guard lock(impl.setting);
    if (policy == LanePolicy::drop_oldest && !impl.ring)
        impl.ring = std::make_unique<LaneRing>(impl.capacity);
    impl.policy.store(policy, std::memory_order_release);
}

void Lane::close() noexcept { impl_->closed.store(true, std::memory_order_release); }

bool Lane::is_closed() const noexcept { return impl_->closed.load(std::memory_order_acquire); }

std::size_t Lane::memory_bytes() const noexcept {
    Impl& impl = *impl_;
    const std::lock_guard lock(impl.setting);
    return sizeof *this + sizeof impl + LaneHoles::REST_BYTES +
           (impl.capacity + 1) * sizeof(LaneRecord) +
           (impl.ring ? impl.ring->memory_bytes() : 0);
}

}  // namespace klineagg::engine
