// The state of one worker's symbols as it stood at a cut, written down while trades go on.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "klineagg/engine/checkpoint_slot.hpp"
#include "klineagg/engine/dirty_table.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

/// As Capture, for checkpoints: the worker writes a few symbols at a time, and any symbol before
/// something in it changes. Its memory is taken on the way, by the worker, in large pieces.
class StateCapture {
public:
    /// What the worker has counted.
    struct Counts {
        std::int64_t applied = 0;
        std::int64_t late = 0;
        std::int64_t beyond_horizon = 0;
        std::int64_t outside = 0;
        std::int64_t duplicates = 0;
    };

    // --- Before the cut ---

    /// Room for `symbols`, and nothing left of the last one. Throws std::bad_alloc.
    void prepare(std::size_t symbols, std::vector<int> outputs);

    // --- The worker ---

    /// At the cut: every slot in `owned` is wanted.
    void begin(const SlotSet& owned, std::size_t limit, TimeNs clock, const Counts& counts);
    [[nodiscard]] bool is_open() const noexcept { return left_ != 0; }
    /// Must be called before anything in the slot changes.
    void before_change(const SymbolSlot& slot) {
        if (left_ == 0 || !slots_.contains(slot.index)) [[likely]] return;
        take(slot);
        if (left_ == 0) done_.store(true, std::memory_order_release);
    }
    /// Writes down up to `count` of the wanted slots; false when there is nothing to do.
    bool advance(const SlotTable& table, std::size_t count);
    void grow(std::size_t slots) { slots_.grow(slots); }

    // --- Who asked for it ---

    [[nodiscard]] bool is_done() const noexcept { return done_.load(std::memory_order_acquire); }
    struct Record {
        std::int32_t symbol;
        std::size_t piece;
        std::size_t begin;
        std::size_t size;
    };
    // Of one that is done:
    [[nodiscard]] const Counts& counts() const noexcept { return counts_; }
    [[nodiscard]] const std::vector<Record>& records() const noexcept { return records_; }
    [[nodiscard]] std::span<const std::byte> bytes(const Record& record) const noexcept {
        return std::span(pieces_[record.piece]).subspan(record.begin, record.size);
    }
    void clear() noexcept;

private:
    static constexpr std::size_t PIECE_BYTES = std::size_t{1} << 20U;

    void take(const SymbolSlot& slot);

    SlotSet slots_;
    std::size_t left_ = 0;
    std::size_t cursor_ = 0;
    std::size_t limit_ = 0;
    TimeNs clock_ = TIME_NONE;
    Counts counts_;
    std::vector<int> outputs_;
    std::vector<Record> records_;
    std::vector<std::vector<std::byte>> pieces_;
    std::atomic<bool> done_{true};
};

}  // namespace klineagg::engine
