// Loops over the batches of a subscriber: `for (const auto& batch : subscriber.batches<Tick>())`.
#pragma once

#include <atomic>
#include <cstddef>
#include <iterator>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "klineagg/engine/clock.hpp"
#include "klineagg/time.hpp"

namespace klineagg::bus {

/// For timeouts: a loop that ends by stop() alone.
inline constexpr DurationNs NO_TIMEOUT = std::numeric_limits<DurationNs>::max();
/// Records that a loop takes at once, at most.
inline constexpr std::size_t LOOP_RECORDS = 1024;

/// Ends loops, from any thread or signal handler. It stays: loops that begin later end at once.
class StopSign {
public:
    /// Who waits looks at it this often.
    static constexpr DurationNs STEP_NS = 100'000'000;

    void raise() noexcept { raised_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] bool is_raised() const noexcept {
        return raised_.load(std::memory_order_relaxed);
    }
    /// Calls `wait(deadline)` a step at a time: its true at once, false at the deadline or sign.
    template <class Wait>
    bool wait(engine::MonotonicNs deadline, Wait&& wait) const {
        while (!is_raised()) {
            const engine::MonotonicNs step = engine::deadline_after(STEP_NS);
            if (wait(step < deadline ? step : deadline)) return true;
            if (step >= deadline) return false;
        }
        return false;
    }

private:
    std::atomic<bool> raised_{false};
};

/// A range that is run through once. `Next` gives an optional batch; none is the end. A batch is
/// valid until the next one is asked for.
template <class Next>
class Batches {
public:
    using Batch = typename std::invoke_result_t<Next&>::value_type;

    explicit Batches(Next next) : next_(std::move(next)) {}

    class Iterator {
    public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = Batch;
        using difference_type = std::ptrdiff_t;

        explicit Iterator(Next& next) : next_(&next), batch_(next()) {}
        const Batch& operator*() const noexcept { return *batch_; }
        const Batch* operator->() const noexcept { return &*batch_; }
        Iterator& operator++() {
            batch_ = (*next_)();
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return !batch_.has_value(); }

    private:
        Next* next_;
        std::optional<Batch> batch_;
    };

    [[nodiscard]] Iterator begin() { return Iterator(next_); }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    Next next_;
};

}  // namespace klineagg::bus
