// A bar that knows only its times: what it takes to count rows before they are made.
#pragma once

#include "klineagg/builder.hpp"

namespace klineagg {

struct TimeBar {
    TimeNs close_time = TIME_NONE;
    TimeNs last_time = TIME_NONE;
    TimeNs open_time = TIME_NONE;
    std::uint16_t flags = 0;

    [[nodiscard]] bool has_trades() const noexcept { return last_time != TIME_NONE; }
};

/// What the aggregator needs to know of a kind of bar.
template <class Bar>
struct BarTraits;

template <>
struct BarTraits<PartialBar> {
    static constexpr bool KEEPS_HISTORY = true;
    using TradeType = Trade;
    static bool is_plain(const Trade& trade) noexcept { return trade.flags == 0; }
    static bool follows(const PartialBar& bar, const Trade& trade) noexcept {
        return is_plain(trade) && trade.time >= bar.last_time &&
               (trade.id >= bar.last_key_id || trade.time != bar.last_time);
    }
    static bool needs_slow_path(const PartialBar& bar) noexcept {
        return bar.sum_form != SumForm::pair || bar.keys_split != 0;
    }
    static double close_of(const PartialBar& bar) noexcept { return bar.close; }
    static bool has_close(const PartialBar& bar) noexcept { return bar.has_close(); }
};

template <>
struct BarTraits<TimeBar> {
    static constexpr bool KEEPS_HISTORY = false;
    using TradeType = TimeNs;
    static bool is_plain(TimeNs) noexcept { return true; }
    static bool follows(const TimeBar& bar, TimeNs time) noexcept { return time >= bar.last_time; }
    static bool needs_slow_path(const TimeBar&) noexcept { return false; }
    static double close_of(const TimeBar&) noexcept { return NO_PRICE; }
    static bool has_close(const TimeBar&) noexcept { return false; }
};

inline void copy_bar(TimeBar& to, const TimeBar& from) noexcept { to = from; }

inline TimeNs time_of(const Trade& trade) noexcept { return trade.time; }
inline TimeNs time_of(TimeNs time) noexcept { return time; }

inline void start_bar(TimeBar& bar, TimeNs open_time, TimeNs close_time) noexcept {
    bar = TimeBar{close_time, TIME_NONE, open_time, 0};
}
inline bool add_next_trade(TimeBar& bar, TimeNs time) noexcept {
    bar.last_time = time;
    return true;
}
inline void add_first_trade(TimeBar& bar, TimeNs time) noexcept { bar.last_time = time; }
inline void add_trade(TimeBar& bar, TimeNs time) noexcept {
    if (time > bar.last_time) bar.last_time = time;
}
inline void merge_into(TimeBar& bar, const TimeBar& other) noexcept {
    if (other.last_time > bar.last_time) bar.last_time = other.last_time;
}
inline const TimeBar* merge_next_bars(TimeBar&, const TimeBar* child, const TimeBar*) noexcept {
    return child;
}
inline const TimeBar* begin_with_bars(TimeBar& bar, Span span, const TimeBar* child,
                                      const TimeBar*) noexcept {
    bar = TimeBar{span.close, child->last_time, span.open, 0};
    return child + 1;
}

}  // namespace klineagg
