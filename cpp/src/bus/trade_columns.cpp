#include "klineagg/bus/trade_columns.hpp"

#include <charconv>
#include <cstring>
#include <system_error>

#include "klineagg/symbol_table.hpp"
#include "klineagg/trade.hpp"

namespace klineagg::bus {

std::optional<std::pair<std::int64_t, std::int64_t>> trade_ids(std::string_view text) noexcept {
    std::pair<std::int64_t, std::int64_t> ids{0, 0};
    const char* const end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, ids.first);
    if (first.ec != std::errc{} || ids.first < 0) return std::nullopt;
    ids.second = ids.first;
    if (first.ptr == end) return ids;
    const auto last = std::from_chars(first.ptr + 1, end, ids.second);
    if (*first.ptr != '-' || last.ec != std::errc{} || last.ptr != end || ids.second < ids.first)
        return std::nullopt;
    return ids;
}

EventColumns event_columns(const std::byte* events, std::size_t count) {
    EventColumns columns;
    const auto each = [&](auto apply) {
        apply(columns.symbol);
        apply(columns.time);
        apply(columns.price);
        apply(columns.quantity);
        apply(columns.side);
        apply(columns.trade_id);
        apply(columns.last_trade_id);
        apply(columns.flags);
    };
    each([count](auto& column) { column.resize(count); });
    char instrument[NAME_BYTES] = {};
    std::int32_t symbol = -1;
    for (std::size_t i = 0; i < count; ++i) {
        TradeEvent event;
        std::memcpy(&event, events + i * sizeof event, sizeof event);
        // Trades of one symbol often follow each other, and asking the table takes a lock.
        if (symbol < 0 || std::memcmp(instrument, event.instrument, NAME_BYTES) != 0) {
            std::memcpy(instrument, event.instrument, NAME_BYTES);
            const std::string_view name = name_of(instrument);
            symbol = name.empty() ? -1 : symbol_table().intern(name);
        }
        const auto ids = trade_ids(name_of(event.trade_id));
        columns.symbol[i] = symbol;
        columns.time[i] = event.time;
        columns.price[i] = event.price;
        columns.quantity[i] = event.volume;
        columns.side[i] = event.direction;
        columns.trade_id[i] = ids ? ids->first : NO_TRADE_ID;
        columns.last_trade_id[i] = ids ? ids->second : NO_TRADE_ID;
        columns.flags[i] = event.flags;
    }
    return columns;
}

}  // namespace klineagg::bus
