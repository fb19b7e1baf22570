// What a lane is made of: a queue of Boost.Lockfree and a ring that both ends may pop.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/metrics.hpp"
#include "lane_holes.hpp"
#include "lane_ring.hpp"

namespace klineagg::engine {

/// Which of queue and ring the producer is at; behind it, the worker. Each arrow is made by the
/// one who is named, when the condition holds:
///
///     queue -> queue_then_ring    producer, drop_oldest is wanted
///     queue_then_ring -> ring     worker, the queue is empty
///     ring -> ring_then_queue     producer, another policy is wanted
///     ring_then_queue -> queue    worker or producer, the ring is empty
enum class Route : std::uint32_t { queue, queue_then_ring, ring, ring_then_queue };

struct Lane::Impl {
    enum Produced : std::size_t {
        PUSHED,
        DROPPED_NEWEST,
        DROPPED_OLDEST,
        BACKPRESSURE,
        BLOCKED,
        PRODUCED
    };
    enum Settled : std::size_t { POSITION, APPLIED, LATE, BEYOND_HORIZON, DUPLICATE, SETTLED };

    static constexpr std::size_t EVICT_ROWS_MAX = 1024;

    Impl(std::size_t rows, LanePolicy chosen)
        : capacity(rows),
          evict_rows(std::clamp<std::size_t>(rows / 8, 1, EVICT_ROWS_MAX)),
          policy(chosen),
          queue(rows) {
        if (chosen == LanePolicy::drop_oldest) ring = std::make_unique<LaneRing>(rows);
    }

    // --- Producer ---

    [[nodiscard]] bool at_queue() const noexcept {
        const Route now = route.load(std::memory_order_acquire);
        return now == Route::queue || now == Route::ring_then_queue;
    }
    [[nodiscard]] std::size_t room() const noexcept {
        return at_queue() ? queue.write_available() : ring->room();
    }
    void steer(LanePolicy wanted) noexcept;
    void start_ring() noexcept;
    void put(std::span<const LaneRecord> rows) noexcept;
    void drop_newest(std::span<const LaneRecord> rows) noexcept;
    void drop_oldest() noexcept;
    void evict(std::size_t rows) noexcept;
    void count(Produced what, std::uint64_t amount) noexcept {
        produced.update([&](auto& values) { values[what] += amount; });
    }

    // --- Worker ---

    /// The rows taken; sets `taken_position`. False: the route has changed, look again.
    bool take_from_queue(Route now, std::uint64_t until, std::span<LaneRecord>& into) noexcept;
    bool take_from_ring(Route now, std::uint64_t until, std::span<LaneRecord>& into) noexcept;

    const std::size_t capacity;
    const std::size_t evict_rows;
    std::atomic<LanePolicy> policy;
    std::atomic<bool> closed{false};
    std::mutex setting;              // of set_policy
    std::unique_ptr<LaneRing> ring;  // made before the first policy that needs it is shown
    boost::lockfree::spsc_queue<LaneRecord> queue;
    LaneHoles holes;

    alignas(LINE_BYTES) std::atomic<Route> route{Route::queue};
    // Position in the lane less position in the queue or ring, as of its last turn.
    std::atomic<std::uint64_t> queue_offset{0};
    std::atomic<std::uint64_t> ring_offset{0};

    // Written by the producer. Rows are counted before they can be taken, so that no reader ever
    // sees more of them applied than pushed; `tail` follows when they can.
    CounterSet<PRODUCED> produced;
    alignas(LINE_BYTES) std::atomic<std::uint64_t> tail{0};
    std::uint64_t queue_pushed = 0;
    // Rows are gone of which `holes` does not know yet.
    std::atomic<bool> evicting{false};

    // Written by the worker.
    CounterSet<SETTLED> settled;
    alignas(LINE_BYTES) std::atomic<std::uint64_t> rows_taken{0};
    std::uint64_t queue_taken = 0;
    std::uint64_t taken_position = 0;
    std::uint64_t rows_unsettled = 0;
};

}  // namespace klineagg::engine
