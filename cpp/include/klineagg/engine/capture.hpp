// The open bars of one worker as they stood at a cut, taken down while trades go on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "klineagg/engine/capture_rows.hpp"
#include "klineagg/engine/dirty_table.hpp"
#include "klineagg/engine/open_view.hpp"
#include "klineagg/engine/plan_generation.hpp"
#include "klineagg/engine/row_sink.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

/// The slots that are still to be captured, and the rows of those that were. The worker captures
/// a few slots at a time, and any slot before its next trade, so the result is the state at the
/// cut and nobody waits for all of it.
class Capture {
public:
    /// The rows of one symbol, contiguous.
    struct Group {
        std::int32_t symbol;
        std::uint32_t rows;
        std::size_t first;
    };

    explicit Capture(const PlanGeneration& plan) { follow(plan); }

    // --- The worker ---

    void want(std::size_t slot) noexcept {
        if (slots_.insert(slot)) ++left_;
        limit_ = slot >= limit_ ? slot + 1 : limit_;
    }
    /// What is wanted is to be as it stands now, by a clock that all symbols have reached.
    void begin(TimeNs clock) noexcept {
        scratch_.clock = clock;
        cursor_ = 0;
        ask_for_room();
        done_.store(left_ == 0, std::memory_order_release);
    }
    [[nodiscard]] bool is_open() const noexcept { return left_ != 0; }
    /// Must be called before anything in the slot changes.
    template <class WaitForRoom>
    void before_change(const SymbolSlot& slot, WaitForRoom&& wait) {
        if (left_ == 0 || !slots_.contains(slot.index)) [[likely]] return;
        take(slot, wait);
        finish_if_last();
    }
    /// Captures up to `count` of the wanted slots; false when there is nothing to do now.
    bool advance(const SlotTable& table, std::size_t count);
    /// While none runs: slots are of this plan from now on, or of one before it.
    void follow(const PlanGeneration& plan) {
        plan_ = &plan;
        scratch_.fit(plan.plan.levels().size());
        rows_.fit(plan.outputs.size());
    }
    void grow(std::size_t slots) {
        slots_.grow(slots);
        groups_.grow(slots);
    }

    // --- The taker ---

    /// Before the freeze: drops the last capture and makes room for this many symbols.
    /// Throws std::bad_alloc.
    void prepare(std::size_t symbols);
    /// Room for all that is wanted, while a capture runs. Throws std::bad_alloc.
    void give_room();
    [[nodiscard]] bool is_done() const noexcept { return done_.load(std::memory_order_acquire); }
    // Of a capture that is done:
    [[nodiscard]] std::size_t groups() const noexcept { return group_count_; }
    [[nodiscard]] const Group& group(std::size_t index) const noexcept { return groups_[index]; }
    [[nodiscard]] const CaptureRows& rows() const noexcept { return rows_; }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return slots_.bytes() + groups_.bytes() + rows_.bytes();
    }

private:
    /// That a symbol has at most, but for a lateness.
    [[nodiscard]] std::size_t rows_each() const noexcept { return plan_->outputs.size(); }
    template <class WaitForRoom>
    void take(const SymbolSlot& slot, WaitForRoom&& wait);
    void prefetch_behind(const SlotTable& table, std::size_t slot) const noexcept;
    /// For what is left, and the symbol at hand.
    void ask_for_room() noexcept {
        wanted_.store(rows_.size() + (left_ + 1) * rows_each(), std::memory_order_relaxed);
    }
    void finish_if_last() noexcept {
        if (left_ != 0) return;
        limit_ = 0;
        done_.store(true, std::memory_order_release);
    }

    const PlanGeneration* plan_ = nullptr;
    SlotSet slots_;
    std::size_t left_ = 0;
    std::size_t cursor_ = 0;
    std::size_t limit_ = 0;
    OpenBars::Scratch scratch_;
    CaptureRows rows_;
    GrowingArray<Group> groups_;
    std::size_t group_count_ = 0;
    // The taker writes, the worker reads, or the other way round: rows that more room is asked for.
    std::atomic<std::size_t> wanted_{0};
    std::atomic<bool> done_{true};
};

template <class WaitForRoom>
void Capture::take(const SymbolSlot& slot, WaitForRoom&& wait) {
    struct Rows {
        Capture* capture;
        std::remove_reference_t<WaitForRoom>* wait;

        [[nodiscard]] BarRow& next(std::int16_t interval) const {
            while (!capture->rows_.has_room()) [[unlikely]] {
                capture->ask_for_room();
                (*wait)();
            }
            return capture->rows_.append(interval);
        }
        void tell(const BarRow&) const noexcept {}
    };
    slots_.erase(slot.index);
    --left_;
    const std::size_t first = rows_.size();
    OpenBars::open_rows(slot.aggregator, scratch_,
                        RowSink<Rows>(slot, plan_->outputs, {this, &wait}));
    const auto rows = static_cast<std::uint32_t>(rows_.size() - first);
    if (rows != 0) groups_[group_count_++] = {slot.symbol, rows, first};
}

}  // namespace klineagg::engine
