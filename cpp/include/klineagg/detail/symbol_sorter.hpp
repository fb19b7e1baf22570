// Trades of a block by symbol, each symbol's in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/trade.hpp"

namespace klineagg::detail {

/// A counting sort that costs in proportion to the trades, however many symbols there are.
///
/// Interleaved symbols would touch another bar, and with each row of the result some seventeen
/// other cache lines of columns, at every trade. Sorted, a symbol's state and the ends of its
/// columns stay in the first-level cache for a whole run.
class SymbolSorter {
public:
    struct Group {
        std::uint32_t place;
        std::uint32_t begin;  // in trades()
        std::uint32_t end;
    };

    SymbolSorter(std::size_t places, std::size_t trades_max)
        : counts_(places, 0), place_(trades_max), trades_(trades_max) {}

    /// Sorts the block of `size` trades of which `place_of(i)` tells the symbol (negative: leave
    /// it out) and `trade_of(i)` the rest.
    template <class PlaceOf, class TradeOf>
    void sort(std::size_t size, PlaceOf&& place_of, TradeOf&& trade_of) {
        groups_.clear();
        for (std::size_t i = 0; i < size; ++i) {
            const std::int32_t place = place_of(i);
            place_[i] = place;
            if (place < 0) [[unlikely]] continue;
            const auto index = static_cast<std::uint32_t>(place);
            if (counts_[index]++ == 0) groups_.push_back({index, 0, 0});
        }
        std::uint32_t next = 0;
        for (Group& group : groups_) {
            group.begin = next;
            next += counts_[group.place];
            group.end = next;
            counts_[group.place] = group.begin;  // from here on: where its next trade goes
        }
        for (std::size_t i = 0; i < size; ++i) {
            if (place_[i] < 0) [[unlikely]] continue;
            trades_[counts_[static_cast<std::uint32_t>(place_[i])]++] = trade_of(i);
        }
        for (const Group& group : groups_) counts_[group.place] = 0;
    }

    [[nodiscard]] const std::vector<Group>& groups() const noexcept { return groups_; }
    [[nodiscard]] const Trade* trades() const noexcept { return trades_.data(); }

private:
    std::vector<std::uint32_t> counts_;
    std::vector<std::int32_t> place_;
    std::vector<Trade> trades_;
    std::vector<Group> groups_;
};

}  // namespace klineagg::detail
