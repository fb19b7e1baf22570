#include "lane_holes.hpp"

#include <algorithm>

namespace klineagg::engine {
namespace {

void widen(LaneHole& hole, const LaneHole& more) noexcept {
    if (hole.count == 0) {
        const std::int32_t symbol = hole.symbol;
        hole = more;
        hole.symbol = symbol;
        return;
    }
    hole.position = std::min(hole.position, more.position);
    hole.time_min = std::min(hole.time_min, more.time_min);
    hole.time_max = std::max(hole.time_max, more.time_max);
    hole.count += more.count;
}

}  // namespace

LaneHole* LaneHoles::find(std::int32_t symbol) noexcept {
    // Ids are dense, so their low bits spread them well; a multiplier helps those that are not.
    std::size_t slot = (static_cast<std::uint32_t>(symbol) * 0x9E3779B1U) >> 22U;
    static_assert(INDEX_SIZE == std::size_t{1} << 10U);
    for (; index_[slot] != 0; slot = (slot + 1) % INDEX_SIZE) {
        LaneHole& hole = noted_[index_[slot] - 1U];
        if (hole.symbol == symbol) return &hole;
    }
    if (noted_count_ == SYMBOLS_MAX) return &rest_;
    LaneHole& hole = noted_[noted_count_++];
    hole = {};
    hole.symbol = symbol;
    index_[slot] = static_cast<std::uint16_t>(noted_count_);
    return &hole;
}

void LaneHoles::note(const LaneRecord& record, std::uint64_t position) noexcept {
    widen(*find(record.symbol), {position, record.time, record.time, 1, record.symbol});
}

void LaneHoles::hand_over() noexcept {
    if (noted_count_ == 0) return;
    for (std::size_t i = 0; i < noted_count_; ++i)
        if (!waiting_.push(noted_[i])) widen(rest_, noted_[i]);
    noted_count_ = 0;
    index_.fill(0);
    if (rest_.count != 0) widen_all(rest_);
    rest_ = {};
}

void LaneHoles::widen_all(const LaneHole& hole) noexcept {
    const std::uint64_t seen = seen_.load(std::memory_order_acquire);
    all_.update([&](CounterSet<VALUES>::Values& values) {
        LaneHole known;
        if (values[GENERATION] != seen) {
            // The worker may be about to read it: what it has not confirmed must stay in.
            known = {values[POSITION], static_cast<TimeNs>(values[TIME_LOWEST]),
                     static_cast<TimeNs>(values[TIME_HIGHEST]), values[COUNT],
                     LaneHole::ALL_SYMBOLS};
        }
        widen(known, hole);
        values = {values[GENERATION] + 1, known.position,
                  static_cast<std::uint64_t>(known.time_min),
                  static_cast<std::uint64_t>(known.time_max), known.count};
    });
}

bool LaneHoles::take(LaneHole& hole) noexcept {
    if (waiting_.pop(hole)) return true;
    if (all_.load(GENERATION) == seen_.load(std::memory_order_relaxed)) return false;
    const CounterSet<VALUES>::Values values = all_.read();
    hole = {values[POSITION], static_cast<TimeNs>(values[TIME_LOWEST]),
            static_cast<TimeNs>(values[TIME_HIGHEST]), values[COUNT], LaneHole::ALL_SYMBOLS};
    seen_.store(values[GENERATION], std::memory_order_release);
    return true;
}

bool LaneHoles::empty() const noexcept {
    return waiting_.read_available() == 0 &&
           all_.load(GENERATION) == seen_.load(std::memory_order_relaxed);
}

}  // namespace klineagg::engine
