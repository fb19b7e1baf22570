// Of a worker: the symbols that it gives away and those that come to it.
#include <algorithm>
#include <span>
#include <thread>
#include <utility>

#include "klineagg/engine/worker.hpp"
#include "klineagg/engine/worker_journal.hpp"

namespace klineagg::engine {

namespace {

// Slots in a turn: each costs a few cache misses, and the other symbols' trades wait meanwhile.
constexpr std::size_t TRANSFER_TURN = 16;

}  // namespace

void Worker::begin_transfer(Transfer& transfer) noexcept {
    Transfer::Part* const part = transfer.part_of(*this);
    if (part == nullptr) return;
    if (part->changes_lanes) lanes_.swap(part->lanes);
    for (const SymbolSlot* slot : part->takes) (void)absent_.insert(slot->index);
    transfer_ = &transfer;
    part_ = part;
}

bool Worker::advance_transfer() {
    if (part_ == nullptr) [[likely]] return false;
    Transfer::Part& part = *part_;
    for (std::size_t i = 0; i < TRANSFER_TURN && part.given < part.gives.size(); ++i)
        detach(*part.gives[part.given++]);
    if (part.given < part.gives.size()) return true;
    if (!part.has_given) {
        part.has_given = true;
        show_rows();  // before anything that the symbols' next workers show
        transfer_->giving.fetch_sub(1, std::memory_order_acq_rel);
    }
    if (part.taken < part.takes.size()) {
        if (transfer_->giving.load(std::memory_order_acquire) > 0) {
            // Not to sleep: the others do not wake anybody for this.
            std::this_thread::yield();
            return true;
        }
        for (std::size_t i = 0; i < TRANSFER_TURN && part.taken < part.takes.size(); ++i)
            attach(*part.takes[part.taken++]);
        return true;
    }
    if (announced_.load(std::memory_order_relaxed) != nullptr) {
        announced_.store(nullptr, std::memory_order_relaxed);
        // Dropped of symbols that were on their way: before their parked trades.
        if (journal_) journal_->came.add(aside_);
        else mark_holes_of(aside_);
        aside_.clear();
    }
    if (part.applied < part.parked.size()) {
        const std::size_t rows = std::min(BLOCK_ROWS, part.parked.size() - part.applied);
        apply_present({part.parked.data() + part.applied, rows});
        metrics_.refused_later(std::exchange(refused_, {}));
        part.applied += rows;
        return true;
    }
    for (const SymbolSlot* slot : part.takes) absent_.erase(slot->index);
    stopping_ = stopping_ || part.retires;
    Transfer& transfer = *transfer_;
    transfer_ = nullptr;
    part_ = nullptr;
    show_rows();
    if (stopping_) dirty_.clear();
    transfer.left.fetch_sub(1, std::memory_order_acq_rel);  // from here on it may be gone
    return true;
}

bool Worker::remove(SymbolSlot& slot, SymbolSlot& fresh, bool open_bars_too) {
    if (!open_bars_too && OpenBars::next_close(slot.aggregator) != TIME_MAX) return false;
    detach(slot);
    std::swap(slot, fresh);
    // Here and not where it is destroyed: its blocks are of this thread's pool.
    fresh.aggregator.release();
    fresh.ids.clear(blocks_);
    return true;
}

bool Worker::can_park() const noexcept {
    return part_ == nullptr || part_->takes.empty() ||
           part_->parked.size() + BLOCK_ROWS <= part_->parked.capacity();
}

std::span<const LaneRecord> Worker::park(std::span<const LaneRecord> records) noexcept {
    if (part_ == nullptr || part_->takes.empty()) [[likely]] return records;
    // In place: the records stand in this worker's own block.
    std::size_t kept = 0;
    for (const LaneRecord& record : records) {
        if (absent_.contains(static_cast<std::uint32_t>(record.symbol)))
            part_->parked.push_back(record);  // there is room: see can_park
        else block_[kept++] = record;
    }
    return {block_.data(), kept};
}

void Worker::detach(SymbolSlot& slot) {
    due_.update(slot, TIME_MAX);
    owned_.erase(slot.index);
    if (observer_) observer_->left(slot);
}

void Worker::attach(SymbolSlot& slot) {
    due_.update(slot, OpenBars::next_close(slot.aggregator));
    (void)owned_.insert(slot.index);
    take_in(slot);
    // It stands in the list of the worker that it came from, which leaves it out from now on.
    if (slot.dirty) dirty_.add(slot.index);
    if (observer_) observer_->changed(slot);
}

}  // namespace klineagg::engine
