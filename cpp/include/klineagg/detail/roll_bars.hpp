// Finer bars become coarser bars of a fixed period, without a guess.
#pragma once

#include <cstddef>

#include "klineagg/bar.hpp"
#include "klineagg/fixed_grid.hpp"
#include "klineagg/time_bar.hpp"

namespace klineagg::detail {

/// Merges finer bars, each later than the one before it, into `open`, a bar of the grid, and into
/// the bars that follow it. Those that ended stand in `made`, the last is `open`. Stops before
/// `room` bars have ended; `made` has room for one more. Returns the first finer bar that it did
/// not take and how many ended in `ended`; nullptr, with `open` as it was, when one of them asks
/// for merge_into. With the widest vectors of the machine.
const PartialBar* roll_bars(PartialBar& open, const FixedGrid& grid, DurationNs period,
                            const PartialBar* child, const PartialBar* end, PartialBar* made,
                            std::size_t room, std::size_t& ended) noexcept;
/// The same, bit for bit, with the vectors that every machine has.
const PartialBar* roll_bars_portably(PartialBar& open, const FixedGrid& grid, DurationNs period,
                                     const PartialBar* child, const PartialBar* end,
                                     PartialBar* made, std::size_t room,
                                     std::size_t& ended) noexcept;

/// Times are merged one by one.
inline const TimeBar* roll_bars(TimeBar&, const FixedGrid&, DurationNs, const TimeBar*,
                                const TimeBar*, TimeBar*, std::size_t, std::size_t&) noexcept {
    return nullptr;
}

}  // namespace klineagg::detail
