// Batches of trades for the tests: columns that own their memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "klineagg/trade_columns.hpp"
#include "support.hpp"

namespace klineagg::test {

template <class T>
StridedColumn column_of(const std::vector<T>& values, std::size_t from = 0) {
    return {reinterpret_cast<const char*>(values.data() + from),
            static_cast<std::ptrdiff_t>(sizeof(T))};
}

struct Table {
    std::vector<std::int32_t> symbol;
    std::vector<std::int64_t> time;
    std::vector<double> price;
    std::vector<double> quantity;
    std::vector<std::int8_t> side;
    std::vector<std::int64_t> id;
    std::vector<std::int64_t> last_id;
    std::vector<std::uint8_t> flags;
    // Which optional columns a view has.
    bool has_side = true;
    bool has_ids = false;
    bool has_last_ids = false;
    bool has_flags = false;

    [[nodiscard]] std::size_t size() const { return symbol.size(); }

    void add(std::int32_t of_symbol, const Trade& trade) {
        symbol.push_back(of_symbol);
        time.push_back(trade.time);
        price.push_back(trade.price);
        quantity.push_back(trade.quantity);
        side.push_back(trade.taker_buy ? 1 : -1);
        id.push_back(trade.id);
        last_id.push_back(trade.last_id);
        flags.push_back(trade.flags);
    }

    /// The rows [from, to), contiguous.
    [[nodiscard]] TradeColumns view(std::size_t from, std::size_t to) const {
        TradeColumns columns;
        columns.size = to - from;
        columns.symbol = column_of(symbol, from);
        columns.time = column_of(time, from);
        columns.price = column_of(price, from);
        columns.quantity = column_of(quantity, from);
        if (has_side) columns.side = column_of(side, from);
        if (has_ids) columns.trade_id = column_of(id, from);
        if (has_last_ids) columns.last_trade_id = column_of(last_id, from);
        if (has_flags) columns.flags = column_of(flags, from);
        return columns;
    }
    [[nodiscard]] TradeColumns view() const { return view(0, size()); }

    /// A row as the columns that are in view tell it.
    [[nodiscard]] Trade trade(std::size_t row) const {
        Trade trade;
        trade.time = time[row];
        trade.price = price[row];
        trade.quantity = quantity[row];
        if (has_side) trade.taker_buy = side[row] > 0;
        if (has_ids) trade.id = trade.last_id = id[row];
        if (has_last_ids) trade.last_id = last_id[row];
        if (has_flags) trade.flags = flags[row];
        return trade;
    }

    [[nodiscard]] std::map<std::int32_t, std::vector<Trade>> by_symbol() const {
        std::map<std::int32_t, std::vector<Trade>> trades;
        for (std::size_t row = 0; row < size(); ++row) trades[symbol[row]].push_back(trade(row));
        return trades;
    }
    /// The rows that `keep(row)` names.
    template <class Keep>
    [[nodiscard]] Table filtered(Keep&& keep) const {
        Table kept;
        kept.has_side = has_side;
        kept.has_ids = has_ids;
        kept.has_last_ids = has_last_ids;
        kept.has_flags = has_flags;
        for (std::size_t row = 0; row < size(); ++row)
            if (keep(row)) kept.add(symbol[row], trade(row));
        return kept;
    }
};

/// Several streams in one: in order of time, symbols mixed.
inline Table random_table(Rng& rng, std::size_t symbols, std::size_t rows, const TradeMix& mix) {
    std::vector<std::pair<std::int32_t, Trade>> all;
    for (std::size_t symbol = 0; symbol < symbols; ++symbol) {
        // A few symbols trade much, most do little.
        const std::size_t count = 1 + rows / (2 * symbol + 2);
        for (const Trade& trade : random_trades(rng, count, mix))
            all.emplace_back(static_cast<std::int32_t>(symbol * 3 + 1), trade);
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.second.time < b.second.time; });
    Table table;
    table.has_ids = mix.ids;
    table.has_last_ids = mix.ids && mix.aggregated;
    table.has_flags = mix.flags;
    for (const auto& [symbol, trade] : all) table.add(symbol, trade);
    return table;
}

}  // namespace klineagg::test
