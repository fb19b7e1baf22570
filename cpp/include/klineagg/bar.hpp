// A bar: as the partial record that can still be merged, and as the row that people read.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "klineagg/exact_sum.hpp"
#include "klineagg/time.hpp"
#include "klineagg/trade.hpp"

namespace klineagg {

enum BarFlag : std::uint16_t {
    BAR_CLOSED = 1,       // the watermark passed its end
    BAR_GAP = 2,          // nobody traded: flat at the previous close
    BAR_GENESIS = 4,      // first bar of a symbol seeded with a last price, nobody traded yet
    BAR_PARTIAL = 8,      // coverage began inside the bar
    BAR_INCOMPLETE = 16,  // the feed is known to have missed trades in it
    BAR_REVISED = 32,     // emitted again after it was closed
};

/// The place of a trade among others: by event time, then id; arrival decides between equals.
/// A trade without id stands before those with one at the same stamp.
struct TradeKey {
    TimeNs time = TIME_NONE;
    std::int64_t id = NO_TRADE_ID;
    friend constexpr auto operator<=>(const TradeKey&, const TradeKey&) = default;
};

inline constexpr double NO_PRICE = std::numeric_limits<double>::quiet_NaN();
inline constexpr double NO_HIGH = -std::numeric_limits<double>::infinity();
inline constexpr double NO_LOW = std::numeric_limits<double>::infinity();

inline constexpr std::uint16_t PARTIAL_BAR_VERSION = 2;

/// Everything needed to merge a bar with another one exactly; `Bars` is its rounding.
/// The layout is part of the format: versioned, asserted below, the same bytes in Python.
/// A trade touches the first two cache lines only, and what most bars are lies in three: only
/// those with wide sums or split keys mean anything behind.
struct alignas(64) PartialBar {
    TimeNs close_time = TIME_NONE;
    double high = NO_HIGH;  // of the trades that count for high and low
    double low = NO_LOW;
    double close = NO_PRICE;  // of the trades that count for open and close
    TimeNs last_time = TIME_NONE;
    std::int64_t last_key_id = NO_TRADE_ID;  // the id by which the last trade was ordered
    std::int64_t last_id = NO_TRADE_ID;      // of an aggregated trade: its last id
    std::int64_t trade_count = 0;

    SumPairs sums{};

    TimeNs open_time = TIME_NONE;
    double open = NO_PRICE;
    TradeKey first{};  // of all trades
    std::int32_t run_length = 1;
    std::int32_t revision = 0;
    std::uint16_t flags = 0;
    std::uint16_t version = PARTIAL_BAR_VERSION;
    SumForm sum_form = SumForm::pair;
    // 0 while every trade counted for open and close, so that the keys of these are those of
    // the first and last trade, and the hot path need not store them twice.
    std::uint8_t keys_split = 0;
    std::uint16_t reserved = 0;
    TradeKey open_key{};   // of the trade that set `open`; meant only when keys_split
    TradeKey close_key{};  // of the trade that set `close`; likewise
    SumRest sums_rest{};
    std::uint64_t padding[2] = {0, 0};

    [[nodiscard]] TradeKey last() const noexcept { return {last_time, last_key_id}; }
    [[nodiscard]] TradeKey opened_by() const noexcept { return keys_split ? open_key : first; }
    [[nodiscard]] TradeKey closed_by() const noexcept { return keys_split ? close_key : last(); }
    [[nodiscard]] bool has_trades() const noexcept { return last_time != TIME_NONE; }
    [[nodiscard]] bool has_close() const noexcept { return close == close; }
};

/// to = from, as far as it means anything, and in lines: compilers copy this much by a string
/// instruction, which takes longer to start than all of it should take.
inline void copy_bar(PartialBar& to, const PartialBar& from) noexcept {
    struct alignas(64) Line {
        std::uint64_t words[8];
    };
    constexpr int LINES = sizeof(PartialBar) / sizeof(Line);
    constexpr int USUAL_LINES = 3;
    static_assert(offsetof(PartialBar, close_key) == USUAL_LINES * sizeof(Line));
    Line lines[LINES];
    const auto copy = [&](int begin, int end) {
        for (int i = begin; i < end; ++i) {
            std::memcpy(&lines[i], reinterpret_cast<const std::byte*>(&from) + 64 * i, 64);
            std::memcpy(reinterpret_cast<std::byte*>(&to) + 64 * i, &lines[i], 64);
        }
    };
    copy(0, USUAL_LINES);
    if (from.sum_form != SumForm::pair || from.keys_split != 0) [[unlikely]]
        copy(USUAL_LINES, LINES);
}

static_assert(std::is_trivially_copyable_v<PartialBar>);
static_assert(sizeof(PartialBar) == 320 && alignof(PartialBar) == 64);
static_assert(offsetof(PartialBar, sums) == 64 && offsetof(PartialBar, open_time) == 128);
static_assert(offsetof(PartialBar, flags) == 168 && offsetof(PartialBar, sums_rest) == 208);

}  // namespace klineagg
