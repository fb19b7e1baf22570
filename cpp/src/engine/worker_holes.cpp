// Of a worker: trades that a lane has dropped make the bars over them INCOMPLETE.
#include <cassert>

#include "klineagg/engine/worker.hpp"

namespace klineagg::engine {

bool Worker::mark_holes(Intake& intake) {
    if (intake.lane.hole_position() > intake.lane.taken()) [[likely]] return true;
    HoleTable* const holes = intake.lane.take_holes();
    if (holes == nullptr) return false;
    set_aside(*holes);
    // Also those that the lane has not come to: bars know what is missing before they open.
    mark_holes_of(*holes);
    intake.lane.give_holes();
    return true;
}

void Worker::set_aside(HoleTable& holes) noexcept {
    // Who sees such a hole sees the announcement that came before it.
    const Transfer* const transfer = announced_.load(std::memory_order_acquire);
    if (transfer == nullptr) [[likely]] return;
    const Transfer::Part* const part = transfer->part_of(*this);
    if (part == nullptr || part->taking.empty()) return;
    holes.move_to(aside_, [part](std::int32_t slot) { return part->is_taking(slot); });
}

void Worker::mark_holes_of(const HoleTable& holes) {
    holes.each([this](const LaneHole& hole) {
        mark_hole(core_->slots[static_cast<std::uint32_t>(hole.symbol)], hole);
    });
}

void Worker::mark_hole(SymbolSlot& slot, const LaneHole& hole) {
    // Of one that has gone to another worker: see Command::waits_for_holes.
    assert(owned_.contains(slot.index) || slot.trades == 0);
    touch(slot);
    slot.aggregator.mark_incomplete(hole.time_min, hole.time_max);
    settle(slot);
}

}  // namespace klineagg::engine
