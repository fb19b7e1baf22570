// The records of a block by symbol, each symbol's in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
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

    /// At most `records_max` of them. Where all are plain, and plain ones are wanted, they are
    /// `plain_trades()` by group, else `trades()`.
    std::span<const Group> sort(std::span<const LaneRecord> records, const SlotTable& slots,
                                bool wants_plain) {
        std::size_t groups = 0;
        std::uint32_t special = wants_plain ? 0 : 1;
        for (std::size_t i = 0; i < records.size(); ++i) {
            SymbolSlot& slot = slots[static_cast<std::uint32_t>(records[i].symbol)];
            slots_[i] = &slot;
            special |= records[i].more_ids | records[i].flags;
            if (slot.block_rows++ == 0) groups_[groups++] = {&slot, 0, 0};
        }
        is_plain_ = special == 0;
        std::uint32_t next = 0;
        for (std::size_t i = 0; i < groups; ++i) {
            Group& group = groups_[i];
            group.begin = next;
            next += group.slot->block_rows;
            group.end = next;
            group.slot->block_rows = group.begin;  // from here on: where its next trade goes
        }
        if (is_plain_) place(records, plain_trades(), to_plain_trade);
        else place(records, trades(), to_trade);
        for (std::size_t i = 0; i < groups; ++i) groups_[i].slot->block_rows = 0;
        return {groups_.data(), groups};
    }

    [[nodiscard]] bool is_plain() const noexcept { return is_plain_; }
    [[nodiscard]] Trade* trades() noexcept { return trades_.data(); }
    [[nodiscard]] PlainTrade* plain_trades() noexcept {
        return reinterpret_cast<PlainTrade*>(trades_.data());
    }

    [[nodiscard]] std::size_t bytes() const noexcept {
        return slots_.capacity() * sizeof(void*) + trades_.capacity() * sizeof trades_[0] +
               groups_.capacity() * sizeof groups_[0];
    }

private:
    static constexpr std::size_t PREFETCH_TRADES = 4;

    template <class TradeType, class Make>
    void place(std::span<const LaneRecord> records, TradeType* trades, Make make) noexcept {
        for (std::size_t i = 0; i < records.size(); ++i) {
            TradeType* const to = trades + slots_[i]->block_rows++;
            // Every symbol writes to a place of its own: too many for the processor to foresee.
            __builtin_prefetch(to + PREFETCH_TRADES, 1);
            new (to) TradeType(make(records[i]));
        }
    }

    std::vector<SymbolSlot*> slots_;
    std::vector<Trade> trades_;  // or room for plain ones
    std::vector<Group> groups_;
    bool is_plain_ = false;
};

}  // namespace klineagg::engine
