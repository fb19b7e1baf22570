#include "klineagg/bus/tracker.hpp"

#include <algorithm>

namespace klineagg::bus {

Seen SequenceTracker::see(std::uint64_t sequence) {
    const std::uint64_t expected = next_.value_or(sequence);
    if (!first_) first_ = sequence;
    if (sequence >= expected) {
        next_ = sequence + 1;
        if (sequence == expected) return Seen::in_order;
        missing_.emplace_back(expected, sequence);
        if (missing_.size() > RANGES_MAX) missing_.pop_front();
        return Seen::gap;
    }
    // Sent before this one was there, and repeated: it has not had it.
    if (sequence < *first_ && before_.insert(sequence).second) {
        ++out_of_order_;
        return Seen::out_of_order;
    }
    // The first hole that ends behind it.
    const auto hole = std::upper_bound(
        missing_.begin(), missing_.end(), sequence,
        [](std::uint64_t value, const Range& range) { return value < range.second; });
    if (hole == missing_.end() || sequence < hole->first) {
        ++duplicates_;
        return Seen::duplicate;
    }
    ++out_of_order_;
    const Range rest{sequence + 1, hole->second};
    hole->second = sequence;
    if (hole->first != hole->second) {
        if (rest.first != rest.second) missing_.insert(std::next(hole), rest);
    } else if (rest.first != rest.second) {
        *hole = rest;
    } else {
        missing_.erase(hole);
    }
    return Seen::out_of_order;
}

std::uint64_t SequenceTracker::missing_count() const noexcept {
    std::uint64_t count = 0;
    for (const Range& range : missing_) count += range.second - range.first;
    return count;
}

}  // namespace klineagg::bus
