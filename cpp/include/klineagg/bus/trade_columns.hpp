// Trades of the bus as columns, which is how an engine takes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "klineagg/bus/records.hpp"

namespace klineagg::bus {

struct EventColumns {
    std::vector<std::int32_t> symbol;
    std::vector<std::int64_t> time;
    std::vector<double> price;
    std::vector<double> quantity;
    std::vector<std::int8_t> side;
    std::vector<std::int64_t> trade_id;  // -1: none, or one that is no number
    std::vector<std::int64_t> last_trade_id;
    std::vector<std::uint8_t> flags;
};

/// The first and last id of "17" or "17-21"; nothing for any other text.
[[nodiscard]] std::optional<std::pair<std::int64_t, std::int64_t>> trade_ids(
    std::string_view text) noexcept;

/// `events`: `count` records behind each other, at any address. Symbols are interned; one without
/// a name gets -1, which an engine rejects and counts. Throws unknown_symbol when the table is full.
[[nodiscard]] EventColumns event_columns(const std::byte* events, std::size_t count);

}  // namespace klineagg::bus
