#include "lane_holes.hpp"

#include <bit>

namespace klineagg::engine {

void LaneHoles::show() noexcept {
    HoleTable& noted = tables_[noted_];
    if (noted.empty()) return;
    std::uint64_t shown = shown_.load(std::memory_order_acquire);
    if (shown != NOTHING &&
        shown_.compare_exchange_strong(shown, shown | AT_PRODUCER, std::memory_order_acq_rel)) {
        const std::uint64_t index = shown & INDEX;
        HoleTable& table = tables_[index];
        table.add(noted);
        noted.clear();
        shown_.store(table.position() << INDEX_BITS | index, std::memory_order_release);
        return;
    }
    shown_.store(noted.position() << INDEX_BITS | noted_, std::memory_order_release);
    // The worker has one of the other two at most: it gives one back before it takes the next.
    noted_ = static_cast<std::size_t>(std::countr_zero(free_.load(std::memory_order_acquire)));
    free_.fetch_and(~(1U << noted_), std::memory_order_acq_rel);
}

HoleTable* LaneHoles::take() noexcept {
    std::uint64_t shown = shown_.load(std::memory_order_acquire);
    if (shown == NOTHING || (shown & INDEX) == AT_PRODUCER) return nullptr;
    if (!shown_.compare_exchange_strong(shown, NOTHING, std::memory_order_acq_rel)) return nullptr;
    taken_ = static_cast<std::size_t>(shown & INDEX);
    return &tables_[taken_];
}

void LaneHoles::give_back() noexcept {
    tables_[taken_].clear();
    free_.fetch_or(1U << taken_, std::memory_order_acq_rel);
}

}  // namespace klineagg::engine
