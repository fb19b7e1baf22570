#include "klineagg/detail/span_table.hpp"

#include <algorithm>
#include <utility>

namespace klineagg::detail {
namespace {

// The distance may exceed int64: a table can reach from 1900 to 2200.
std::uint64_t distance(TimeNs from, TimeNs to) noexcept {
    return static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
}

}  // namespace

SpanTable::SpanTable(std::vector<Span> spans) : spans_(std::move(spans)) {
    const TimeNs base = spans_.front().open;
    const std::uint64_t reach = distance(base, spans_.back().open);
    while ((reach >> shift_) > spans_.size()) ++shift_;
    const std::size_t slices = static_cast<std::size_t>(reach >> shift_) + 1;
    slice_.resize(slices + 1);
    std::size_t row = 0;
    for (std::size_t slice = 0; slice < slices; ++slice) {
        const std::uint64_t begin = static_cast<std::uint64_t>(slice) << shift_;
        while (row < spans_.size() && distance(base, spans_[row].open) < begin) ++row;
        slice_[slice] = static_cast<std::uint32_t>(row);
    }
    slice_[slices] = static_cast<std::uint32_t>(spans_.size());
}

std::size_t SpanTable::opens_before(TimeNs time) const noexcept {
    if (time <= spans_.front().open) return 0;
    if (time > spans_.back().open) return spans_.size();
    const auto slice = static_cast<std::size_t>(distance(spans_.front().open, time) >> shift_);
    const auto begin = spans_.begin() + static_cast<std::ptrdiff_t>(slice_[slice]);
    const auto end = spans_.begin() + static_cast<std::ptrdiff_t>(slice_[slice + 1]);
    const auto found = std::lower_bound(
        begin, end, time, [](const Span& span, TimeNs key) { return span.open < key; });
    return static_cast<std::size_t>(found - spans_.begin());
}

}  // namespace klineagg::detail
