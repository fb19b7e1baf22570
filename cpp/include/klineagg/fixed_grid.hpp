// The boundaries of a fixed period, found without a division.
#pragma once

#include <bit>
#include <cstdint>

#include "klineagg/time.hpp"

namespace klineagg {

/// Floors times in [TIME_MIN, TIME_MAX] to a grid: multiplication by the reciprocal (Granlund and
/// Montgomery, PLDI 1994), rounded down, so that the quotient is right or one too small, and
/// then corrected. It has no branch: where trades of a symbol are sparse, whether the next one
/// lies in the next cell is a coin toss, and a wrong guess costs more than all of this.
class FixedGrid {
public:
    FixedGrid() = default;
    FixedGrid(DurationNs period, DurationNs phase) noexcept
        : origin_(floor_to(TIME_MIN, period, phase)), period_(static_cast<std::uint64_t>(period)) {
        shift_ = static_cast<unsigned>(std::bit_width(period_)) - 1;
        // floor(2^(64 + shift) / period); a power of two would need 65 bits.
        reciprocal_ = std::has_single_bit(period_)
                          ? ~std::uint64_t{0}
                          : static_cast<std::uint64_t>((Wide{1} << (64 + shift_)) / period_);
    }

    [[nodiscard]] TimeNs open_of(TimeNs time) const noexcept {
        // Unsigned: the distance of two admissible times may exceed int64.
        const std::uint64_t distance =
            static_cast<std::uint64_t>(time) - static_cast<std::uint64_t>(origin_);
        const std::uint64_t open = floor(distance).begin;
        return static_cast<TimeNs>(static_cast<std::uint64_t>(origin_) + open);
    }

    /// How many whole periods there are in `duration`, which is not negative.
    [[nodiscard]] std::int64_t periods_in(DurationNs duration) const noexcept {
        return static_cast<std::int64_t>(floor(static_cast<std::uint64_t>(duration)).periods);
    }

private:
    __extension__ using Wide = unsigned __int128;

    struct Cell {
        std::uint64_t periods;
        std::uint64_t begin;
    };
    [[nodiscard]] Cell floor(std::uint64_t distance) const noexcept {
        const auto periods =
            static_cast<std::uint64_t>((Wide{distance} * reciprocal_) >> 64) >> shift_;
        const std::uint64_t begin = periods * period_;
        const bool next = distance - begin >= period_;
        return {periods + (next ? 1 : 0), begin + (next ? period_ : 0)};
    }

    TimeNs origin_ = 0;
    std::uint64_t period_ = 1;
    std::uint64_t reciprocal_ = 0;
    unsigned shift_ = 0;
};

}  // namespace klineagg
