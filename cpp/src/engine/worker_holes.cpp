// Of a worker: trades that a lane has dropped make the bars over them INCOMPLETE.
#include <algorithm>

#include "klineagg/engine/worker.hpp"

namespace klineagg::engine {

std::uint64_t Worker::mark_holes(Intake& intake, std::uint64_t limit) {
    while (const LaneHole* const hole = intake.hole()) {
        if (hole->position > intake.lane.taken()) return std::min(limit, hole->position);
        // A symbol that is on its way here is another thread's yet.
        const bool is_all = hole->symbol == LaneHole::ALL_SYMBOLS;
        const auto index = static_cast<std::uint32_t>(hole->symbol);
        if (part_ != nullptr && !part_->takes.empty() && (is_all || absent_.contains(index)))
            return intake.lane.taken();
        mark_holes_of(*hole);
        intake.drop_hole();
    }
    return limit;
}

void Worker::mark_holes_of(const LaneHole& hole) {
    if (hole.symbol != LaneHole::ALL_SYMBOLS) {
        mark_hole(core_->slots[static_cast<std::uint32_t>(hole.symbol)], hole);
        return;
    }
    for (std::size_t i = owned_.next(0, owned_limit_); i != SlotSet::NONE;
         i = owned_.next(i + 1, owned_limit_)) {
        mark_hole(core_->slots[static_cast<std::uint32_t>(i)], hole);
    }
}

void Worker::mark_hole(SymbolSlot& slot, const LaneHole& hole) {
    touch(slot);
    slot.aggregator.mark_incomplete(hole.time_min, hole.time_max);
    settle(slot);
}

}  // namespace klineagg::engine
