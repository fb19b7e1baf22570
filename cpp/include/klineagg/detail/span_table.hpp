// A sorted table of spans with an index that finds a time in about two cache misses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/interval.hpp"

namespace klineagg::detail {

/// Spans must be sorted, disjoint, non-empty and at least one; `Interval::table` checks it.
class SpanTable {
public:
    explicit SpanTable(std::vector<Span> spans);

    [[nodiscard]] const std::vector<Span>& spans() const noexcept { return spans_; }
    /// How many spans open before `time`.
    [[nodiscard]] std::size_t opens_before(TimeNs time) const noexcept;

private:
    std::vector<Span> spans_;
    // Time is cut into slices of 2^shift ns, about one per span: slice_[i] spans open before
    // slice i begins. A plain binary search misses the cache at each of its ~20 steps on a table
    // of a million spans; here only the few spans of one slice are searched.
    std::vector<std::uint32_t> slice_;
    unsigned shift_ = 0;
};

}  // namespace klineagg::detail
