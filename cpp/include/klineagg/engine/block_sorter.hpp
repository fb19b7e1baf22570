// The records of a block by symbol, each symbol's in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

/// As detail::SymbolSorter, but the counts stand in the slots: their first line is needed next
/// anyway, and no table of counts has to grow with the symbols.
class BlockSorter {
public:
    struct Group {
        SymbolSlot* slot;
        std::uint32_t begin;
        std::uint32_t end;
    };

    explicit BlockSorter(std::size_t records_max)
        : slots_(records_max), trades_(records_max), groups_(records_max) {}

    /// At most `records_max` of them.
    std::span<const Group> sort(std::span<const LaneRecord> records, const SlotTable& slots) {
        std::size_t groups = 0;
        for (std::size_t i = 0; i < records.size(); ++i) {
            SymbolSlot& slot = slots[static_cast<std::uint32_t>(records[i].symbol)];
            slots_[i] = &slot;
            if (slot.block_rows++ == 0) groups_[groups++] = {&slot, 0, 0};
        }
        std::uint32_t next = 0;
        for (std::size_t i = 0; i < groups; ++i) {
            Group& group = groups_[i];
            group.begin = next;
            next += group.slot->block_rows;
            group.end = next;
            group.slot->block_rows = group.begin;  // from here on: where its next trade goes
        }
        for (std::size_t i = 0; i < records.size(); ++i)
            trades_[slots_[i]->block_rows++] = to_trade(records[i]);
        for (std::size_t i = 0; i < groups; ++i) groups_[i].slot->block_rows = 0;
        return {groups_.data(), groups};
    }

    [[nodiscard]] Trade* trades() noexcept { return trades_.data(); }

    [[nodiscard]] std::size_t bytes() const noexcept {
        return slots_.capacity() * sizeof slots_[0] + trades_.capacity() * sizeof trades_[0] +
               groups_.capacity() * sizeof groups_[0];
    }

private:
    std::vector<SymbolSlot*> slots_;
    std::vector<Trade> trades_;
    std::vector<Group> groups_;
};

}  // namespace klineagg::engine
