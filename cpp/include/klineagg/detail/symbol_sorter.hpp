// Trades of a block by symbol, each symbol's in their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
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
        std::uint32_t begin;  // in what sort returned
        std::uint32_t end;
    };

    SymbolSorter(std::size_t places, std::size_t trades_max)
        : counts_(places, 0), place_(trades_max), bytes_(trades_max * sizeof(Trade)) {}

    /// Sorts the block of `size` trades of which `place_of(i)` tells the symbol (negative: leave
    /// it out) and `trade_of(i)` the rest, in whichever form. Returns them, valid until the next.
    template <class PlaceOf, class TradeOf>
    auto sort(std::size_t size, PlaceOf&& place_of, TradeOf&& trade_of) {
        using Record = decltype(trade_of(std::size_t{0}));
        static_assert(sizeof(Record) <= sizeof(Trade) && std::is_trivially_copyable_v<Record>);
        auto* const trades = reinterpret_cast<Record*>(bytes_.data());
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
            const std::uint32_t at = counts_[static_cast<std::uint32_t>(place_[i])]++;
            // Every symbol writes to a place of its own: too many for the processor to foresee.
            __builtin_prefetch(trades + at + PREFETCH_TRADES, 1);
            trades[at] = trade_of(i);
        }
        for (const Group& group : groups_) counts_[group.place] = 0;
        return static_cast<const Record*>(trades);
    }

    [[nodiscard]] const std::vector<Group>& groups() const noexcept { return groups_; }

private:
    static constexpr std::size_t PREFETCH_TRADES = 4;

    std::vector<std::uint32_t> counts_;
    std::vector<std::int32_t> place_;
    std::vector<std::byte> bytes_;  // of the trades
    std::vector<Group> groups_;
};

}  // namespace klineagg::detail
