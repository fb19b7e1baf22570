#include "lane_impl.hpp"

namespace klineagg::engine {

void Lane::Impl::start_ring() noexcept {
    // A worker that was stopped while it looked at this ring, when it was the ring's turn before,
    // must not take what comes now: it is behind the rows in the queue.
    ring->move_on();
    ring_offset.store(tail.load(std::memory_order_relaxed) - ring->tail(),
                      std::memory_order_release);
    route.store(Route::queue_then_ring, std::memory_order_release);
}

void Lane::Impl::steer(LanePolicy wanted) noexcept {
    const Route now = route.load(std::memory_order_acquire);
    if (wanted == LanePolicy::drop_oldest) {
        if (now == Route::queue) start_ring();
    } else if (now == Route::ring) {
        queue_offset.store(tail.load(std::memory_order_relaxed) - queue_pushed,
                           std::memory_order_release);
        route.store(Route::ring_then_queue, std::memory_order_release);
    }
}

void Lane::Impl::put(std::span<const LaneRecord> rows) noexcept {
    count(PUSHED, rows.size());
    if (at_queue()) {
        queue.push(rows.data(), rows.size());
        queue_pushed += rows.size();
    } else {
        ring->push(rows);
    }
    tail.store(tail.load(std::memory_order_relaxed) + rows.size(), std::memory_order_release);
}

void Lane::Impl::drop_newest(std::span<const LaneRecord> rows) noexcept {
    const std::uint64_t position = tail.load(std::memory_order_relaxed);
    for (const LaneRecord& row : rows) holes.note(row, position);
    count(DROPPED_NEWEST, rows.size());
    holes.show();
}

void Lane::Impl::evict(std::size_t rows) noexcept {
    // Before the ring's head moves: who finds it moved finds this set, or the holes shown.
    evicting.store(true, std::memory_order_relaxed);
    std::uint64_t dropped = 0;
    const std::uint64_t offset = ring_offset.load(std::memory_order_relaxed);
    ring->evict(rows, [&](const LaneRecord& row, std::uint64_t end) {
        ++dropped;
        holes.note(row, end + offset);
    });
    if (dropped != 0) count(DROPPED_OLDEST, dropped);
    holes.show();  // at once: the worker may take the rows behind them already
    evicting.store(false, std::memory_order_release);
}

void Lane::Impl::drop_oldest() noexcept {
    if (!at_queue()) {
        evict(evict_rows);
        return;
    }
    // The queue is full, the worker has still not taken what is in the ring: that is the oldest,
    // and without it the rows in the queue are next, behind which the ring has its turn again.
    evict(capacity);
    Route now = Route::ring_then_queue;
    route.compare_exchange_strong(now, Route::queue, std::memory_order_acq_rel);
    start_ring();
}

bool Lane::Impl::take_from_queue(Route now, std::uint64_t until,
                                 std::span<LaneRecord>& into) noexcept {
    const std::uint64_t position = queue_taken + queue_offset.load(std::memory_order_acquire);
    const std::uint64_t limit = until > position ? until - position : 0;
    const std::size_t rows = queue.pop(into.data(), std::min<std::size_t>(into.size(), limit));
    queue_taken += rows;
    taken_position = position + rows;
    if (rows == 0 && limit != 0 && now == Route::queue_then_ring) {
        route.store(Route::ring, std::memory_order_release);
        return false;
    }
    into = into.first(rows);
    return true;
}

bool Lane::Impl::take_from_ring(Route now, std::uint64_t until,
                                std::span<LaneRecord>& into) noexcept {
    const std::uint64_t head = ring->head();
    const std::uint64_t offset = ring_offset.load(std::memory_order_acquire);
    // The producer may have emptied the ring and started it again by itself. Found unchanged here,
    // it has done neither before the head was read, and if it does from now on, the head moves.
    if (route.load(std::memory_order_acquire) != now) return false;
    const std::uint64_t position = head + offset;
    const LaneRing::Claim claim =
        ring->take(head, until > position ? until - position : 0, into);
    if (claim == LaneRing::Claim::lost) {
        // A producer that drops all the time would win all the time against long copies.
        into = into.first((into.size() + 1) / 2);
        return false;
    }
    const bool none = claim == LaneRing::Claim::none;
    if (none && position < until && now == Route::ring_then_queue) {
        Route expected = now;
        route.compare_exchange_strong(expected, Route::queue, std::memory_order_acq_rel);
        return false;
    }
    if (none) into = {};
    taken_position = position + into.size();
    return true;
}

}  // namespace klineagg::engine
