// Shared by the tests of lanes: records that can be told apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/engine/lane_record.hpp"

namespace klineagg::test {

inline constexpr std::int32_t LANE_SYMBOLS = 7;

/// Everything in it follows from its number: a torn record is seen.
inline engine::LaneRecord numbered_record(std::int64_t number) {
    engine::LaneRecord record;
    record.id = number;
    record.time = 1'000 + number;
    record.price = static_cast<double>(number) + 0.5;
    record.quantity = static_cast<double>(number) * 2.0;
    record.more_ids = static_cast<std::uint32_t>(number * 3);
    record.symbol = static_cast<std::int32_t>(number % LANE_SYMBOLS);
    record.pushed_tick = static_cast<std::uint32_t>(number);
    record.source = static_cast<std::uint16_t>(number);
    record.flags = static_cast<std::uint8_t>(number % 8);
    record.taker_buy = static_cast<std::uint8_t>(number % 2);
    return record;
}

inline bool is_whole(const engine::LaneRecord& record) {
    const engine::LaneRecord made = numbered_record(record.id);
    return record.time == made.time && record.price == made.price &&
           record.quantity == made.quantity && record.more_ids == made.more_ids &&
           record.symbol == made.symbol && record.pushed_tick == made.pushed_tick &&
           record.source == made.source && record.flags == made.flags &&
           record.taker_buy == made.taker_buy;
}

inline std::vector<engine::LaneRecord> numbered(std::int64_t first, std::size_t count) {
    std::vector<engine::LaneRecord> records;
    for (std::size_t i = 0; i < count; ++i)
        records.push_back(numbered_record(first + static_cast<std::int64_t>(i)));
    return records;
}

}  // namespace klineagg::test
