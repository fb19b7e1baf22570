// Of a worker: its symbols go over to the next generation of the plan.
#include "klineagg/engine/replan.hpp"
#include "klineagg/engine/worker.hpp"

#include <utility>

namespace klineagg::engine {

namespace {

// Slots in a turn: each is made anew, which takes a few microseconds.
constexpr std::size_t FOLLOW_TURN = 8;

}  // namespace

void Worker::follow(const PlanGeneration& generation, std::atomic<int>& left) {
    capture_.follow(generation);
    generation_ = &generation;
    following_ = &left;
    followed_to_ = 0;
    followed_at_ = clock_watermark_;
}

bool Worker::advance_follow() {
    if (following_ == nullptr) [[likely]] return false;
    for (std::size_t i = 0; i < FOLLOW_TURN; ++i) {
        const std::size_t at = owned_.next(followed_to_, owned_limit_);
        if (at == SlotSet::NONE) {
            show_rows();
            std::exchange(following_, nullptr)->fetch_sub(1, std::memory_order_acq_rel);
            return true;
        }
        followed_to_ = at + 1;
        SymbolSlot& slot = core_->slots[static_cast<std::uint32_t>(at)];
        if (slot.generation != generation_->number) touch(slot);  // new bars are changed ones
    }
    return true;
}

void Worker::follow(SymbolSlot& slot) {
    const bool is_next = slot.generation + 1 == generation_->number;
    slot.generation = generation_->number;
    if (!is_next) {
        // Nobody has used it yet: whoever was in use has followed every generation.
        slot.aggregator = SymbolAggregator<PartialBar>(generation_->plan, generation_->options);
        take_in(slot);  // its pool and its beginning were those of the other one
        if (!slot.kept.empty()) slot.kept = slot.kept.grown(generation_->outputs.size());
        take_in(slot);  // as it was done to the one that is replaced
        return;
    }
    // First what closes up to the change: a symbol without anything open may not have heard of the
    // clock yet, and one that was restored has.
    hear_clock(slot, followed_at_);
    settle_plan(slot);
    slot.begins.resize(generation_->outputs.size(), TIME_NONE);
    if (slot.kept.outputs() < generation_->outputs.size() && !slot.kept.empty())
        slot.kept = slot.kept.grown(generation_->outputs.size());
    const std::vector<RollupLevel>& levels = generation_->plan.levels();
    for (std::size_t i = 0; i < levels.size(); ++i) {
        // Of one that was here before there would be a hole behind its rows.
        if (Replanned::comes(slot.aggregator, *generation_, static_cast<int>(i)))
            slot.kept.clear(static_cast<std::size_t>(levels[i].output));
    }
    slot.aggregator =
        Replanned::follow(slot.aggregator, *generation_, blocks_, slot.begins,
                          followed_at_);
    settle_plan(slot);
}

}  // namespace klineagg::engine
