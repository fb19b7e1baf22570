#include "klineagg/engine/metrics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace klineagg::engine {

double histogram_value(std::size_t bucket) noexcept {
    if (bucket < 2 * HISTOGRAM_STEPS) return static_cast<double>(bucket);
    const auto shift = static_cast<unsigned>(bucket / HISTOGRAM_STEPS) - 1;
    const auto low = std::uint64_t{bucket - shift * HISTOGRAM_STEPS} << shift;
    const auto width = std::uint64_t{1} << shift;
    return static_cast<double>(low) + static_cast<double>(width - 1) / 2.0;
}

double HistogramSnapshot::mean() const noexcept {
    if (count_ == 0) return std::numeric_limits<double>::quiet_NaN();
    return sum_ / static_cast<double>(count_);
}

double HistogramSnapshot::percentile(double percent) const noexcept {
    if (count_ == 0) return std::numeric_limits<double>::quiet_NaN();
    const double share = std::clamp(percent, 0.0, 100.0) / 100.0;
    const auto rank = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
    if (rank >= count_) return static_cast<double>(max_);
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
        seen += counts_[bucket];
        // The middle of the last bucket with values may lie above the largest of them.
        if (seen >= rank) return std::min(histogram_value(bucket), static_cast<double>(max_));
    }
    return static_cast<double>(max_);
}

void HistogramSnapshot::merge(const HistogramSnapshot& other) {
    if (other.counts_.empty()) return;
    if (counts_.empty()) counts_.resize(HISTOGRAM_BUCKETS);
    for (std::size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; ++bucket)
        counts_[bucket] += other.counts_[bucket];
    count_ += other.count_;
    sum_ += other.sum_;
    max_ = std::max(max_, other.max_);
}

HistogramSnapshot Histogram::read() const {
    HistogramSnapshot result;
    result.counts_.resize(HISTOGRAM_BUCKETS);
    for (std::size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; ++bucket) {
        result.counts_[bucket] = counts_[bucket].load(std::memory_order_relaxed);
        // The sum of what was read, so that the percentiles are those of whole numbers of values.
        result.count_ += result.counts_[bucket];
    }
    result.sum_ = static_cast<double>(sum_.load(std::memory_order_relaxed));
    result.max_ = max_.load(std::memory_order_relaxed);
    return result;
}

}  // namespace klineagg::engine
