// Counters and histograms that one thread writes and any thread reads, without locks.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace klineagg::engine {

/// What two threads write is kept this far apart: 64-byte lines are fetched in adjacent pairs.
inline constexpr std::size_t LINE_BYTES = 128;

/// Of one writing thread: a plain load and store, where `fetch_add` would lock the line.
template <class T>
inline void add_relaxed(std::atomic<T>& counter, T amount) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

/// A counter on lines of its own.
class alignas(LINE_BYTES) Counter {
public:
    void add(std::uint64_t amount = 1) noexcept { add_relaxed(value_, amount); }
    [[nodiscard]] std::uint64_t load() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// N numbers that one thread changes together and others read together: never a half of a change.
/// A reader that comes into a change looks again; the writer never waits.
template <std::size_t N>
class alignas(LINE_BYTES) CounterSet {
public:
    using Values = std::array<std::uint64_t, N>;

    /// Of the writer: `change(Values&)` alters a copy of the values, which is then shown.
    template <class Change>
    void update(Change&& change) noexcept {
        change(own_);
        const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
        sequence_.store(sequence + 1, std::memory_order_relaxed);
        // Release and acquire of each value, in place of fences: who has read a new value sees
        // that the sequence number is odd, or another one.
        for (std::size_t i = 0; i < N; ++i) shown_[i].store(own_[i], std::memory_order_release);
        sequence_.store(sequence + 2, std::memory_order_release);
    }
    /// Of the writer.
    [[nodiscard]] const Values& own() const noexcept { return own_; }

    /// Of anybody. `version` is the same for two reads between which nothing was changed.
    Values read(std::uint64_t* version = nullptr) const noexcept {
        while (true) {
            const std::uint64_t before = sequence_.load(std::memory_order_acquire);
            Values values;
            for (std::size_t i = 0; i < N; ++i)
                values[i] = shown_[i].load(std::memory_order_acquire);
            if (before % 2 == 0 && sequence_.load(std::memory_order_acquire) == before) {
                if (version != nullptr) *version = before;
                return values;
            }
        }
    }
    /// Of anybody: one of the values, with everything that its writer did before.
    [[nodiscard]] std::uint64_t load(std::size_t index) const noexcept {
        return shown_[index].load(std::memory_order_acquire);
    }

private:
    std::atomic<std::uint64_t> sequence_{0};
    std::array<std::atomic<std::uint64_t>, N> shown_{};
    alignas(LINE_BYTES) Values own_{};
};

// Values up to 127 ns have a bucket each; above, each power of two has 64: a bucket is at most
// 1/64 of its lower end wide, and its middle at most 1/128 (0.8 %) off.
inline constexpr unsigned HISTOGRAM_BITS = 6;
inline constexpr std::size_t HISTOGRAM_STEPS = std::size_t{1} << HISTOGRAM_BITS;
inline constexpr std::int64_t HISTOGRAM_MAX_NS = 3'600'000'000'000;  // 1 h

/// The bucket of a value; those out of range go to the first and the last.
constexpr std::size_t histogram_bucket(std::int64_t value) noexcept {
    if (value < 0) value = 0;
    if (value > HISTOGRAM_MAX_NS) value = HISTOGRAM_MAX_NS;
    const auto bits = static_cast<std::uint64_t>(value);
    const auto width = static_cast<unsigned>(std::bit_width(bits));
    if (width <= HISTOGRAM_BITS + 1) return static_cast<std::size_t>(bits);
    const unsigned shift = width - HISTOGRAM_BITS - 1;
    return static_cast<std::size_t>((bits >> shift) + (std::uint64_t{shift} << HISTOGRAM_BITS));
}
inline constexpr std::size_t HISTOGRAM_BUCKETS = histogram_bucket(HISTOGRAM_MAX_NS) + 1;

/// What a bucket stands for: the middle of its values.
double histogram_value(std::size_t bucket) noexcept;

/// A histogram as it was read; those of several threads merge into one.
class HistogramSnapshot {
public:
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    /// The largest value exactly, also beyond the range. 0 when there is none.
    [[nodiscard]] std::int64_t max() const noexcept { return max_; }
    /// NaN when there is none.
    [[nodiscard]] double mean() const noexcept;
    /// The value that `percent` of all values do not exceed, within 1 %; NaN when there is none.
    [[nodiscard]] double percentile(double percent) const noexcept;
    void merge(const HistogramSnapshot& other);

private:
    friend class Histogram;

    std::vector<std::uint64_t> counts_;  // empty: no values
    std::uint64_t count_ = 0;
    std::int64_t max_ = 0;
    double sum_ = 0.0;
};

/// Latencies in ns, 1 ns ... 1 h, in 19 KiB. One writer; a read while it writes may miss its last
/// values, never sees anything else.
class Histogram {
public:
    /// `count` times the same value: the rows of one batch. At most 2^64 ns in all.
    void record(std::int64_t value_ns, std::uint64_t count = 1) noexcept {
        if (value_ns < 0) value_ns = 0;  // clocks of two cores may differ by a little
        add_relaxed(counts_[histogram_bucket(value_ns)], count);
        add_relaxed(sum_, static_cast<std::uint64_t>(value_ns) * count);
        if (value_ns > max_.load(std::memory_order_relaxed))
            max_.store(value_ns, std::memory_order_relaxed);
    }
    [[nodiscard]] HistogramSnapshot read() const;

private:
    alignas(LINE_BYTES) std::array<std::atomic<std::uint64_t>, HISTOGRAM_BUCKETS> counts_{};
    std::atomic<std::uint64_t> sum_{0};
    std::atomic<std::int64_t> max_{0};
};

}  // namespace klineagg::engine
