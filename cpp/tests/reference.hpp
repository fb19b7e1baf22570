// What bars should be, the obvious way: all trades of a span, sorted and added up.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "klineagg/aggregator.hpp"
#include "support.hpp"

namespace klineagg::test {

/// The bar of `members`, given in order of arrival.
inline Row fold(std::vector<Trade> members, Span span, double previous_close) {
    std::stable_sort(members.begin(), members.end(), [](const Trade& a, const Trade& b) {
        return std::tuple(a.time, a.id) < std::tuple(b.time, b.id);
    });
    Row row;
    row.open_time = span.open;
    row.close_time = span.close;
    row.open = row.close = previous_close;
    row.first = {members.front().time, members.front().id};
    row.last = {members.back().time, members.back().last_id};
    bool has_open = false;
    std::vector<double> prices;  // what the high and the low must hold
    BitSum sums[SUM_LANES];
    for (const Trade& trade : members) {
        row.trade_count += trade.last_id - trade.id + 1;
        if ((trade.flags & TRADE_NO_OPEN_CLOSE) == 0) {
            if (!has_open) row.open = trade.price;
            has_open = true;
            row.close = trade.price;
        }
        if ((trade.flags & TRADE_NO_HIGH_LOW) == 0) prices.push_back(trade.price);
        if ((trade.flags & TRADE_NO_VOLUME) != 0) continue;
        const double value = trade.price * trade.quantity;
        sums[VOLUME].add(trade.quantity);
        sums[QUOTE_VOLUME].add(value);
        if (trade.taker_buy) sums[TAKER_BUY_VOLUME].add(trade.quantity);
        if (trade.taker_buy) sums[TAKER_BUY_QUOTE].add(value);
    }
    if (!std::isnan(row.open)) prices.insert(prices.end(), {row.open, row.close});
    if (!prices.empty()) {
        row.high = *std::max_element(prices.begin(), prices.end());
        row.low = *std::min_element(prices.begin(), prices.end());
    }
    for (int lane = 0; lane < SUM_LANES; ++lane) row.sums[lane] = sums[lane].rounded();
    return row;
}

/// The rows of one symbol and interval when the input is over.
class ExpectedBars {
public:
    ExpectedBars(const std::vector<Trade>& accepted, const Interval& interval,
                 const AggregatorOptions& options, std::optional<double> seed = {})
        : interval_(interval), options_(options), seed_(seed), watermark_(options.coverage_end) {
        if (seed) last_close_ = *seed;
        std::map<TimeNs, std::vector<Trade>> by_open;
        for (const Trade& trade : accepted) {
            watermark_ = std::max(watermark_, trade.time);
            Span span;
            if (interval.locate(trade.time, span)) by_open[span.open].push_back(trade);
            else outside += trade.last_id - trade.id + 1;
        }
        bool open = false;
        for (const auto& [open_time, members] : by_open) {
            Span span;
            (void)interval.locate(open_time, span);
            add_flat(span.open, false);
            Row row = fold(members, span, last_close_);
            open = span.close > watermark_;
            row.flags = (open ? 0U : unsigned{BAR_CLOSED}) | partial(span);
            if (!open || options.include_open) rows.push_back(row);
            covered_to_ = span.close;
            last_close_ = row.close;
        }
        if (!open) add_flat(TIME_MAX, true);
    }

    Rows rows;
    std::int64_t outside = 0;

private:
    [[nodiscard]] unsigned partial(Span span) const {
        const TimeNs start = options_.coverage_start;
        return span.open < start && start < span.close ? unsigned{BAR_PARTIAL} : 0U;
    }

    /// The flat rows that open before `limit`; at the end those that the watermark closed.
    void add_flat(TimeNs limit, bool at_end) {
        if (seed_ && covered_to_ == TIME_NONE) {
            Span span;
            if (!interval_.locate(options_.coverage_start, span))
                span = interval_.next(options_.coverage_start);
            const bool closed = span.close <= watermark_;
            if (span.open >= limit || (at_end && !closed && !options_.include_open)) return;
            push(span, 1, BAR_GENESIS | (closed ? unsigned{BAR_CLOSED} : 0U) | partial(span));
        }
        if (options_.gaps == GapMode::none || covered_to_ == TIME_NONE) return;
        while (true) {
            const Span span = interval_.next(covered_to_);
            if (span.open >= limit || (at_end && span.close > watermark_)) return;
            const unsigned flags = BAR_GAP | BAR_CLOSED | partial(span);
            const bool grows = options_.gaps == GapMode::runs && !rows.empty() &&
                               flags == (BAR_GAP | BAR_CLOSED) && rows.back().flags == flags &&
                               floor_to(rows.back().open_time, NS_PER_DAY) ==
                                   floor_to(span.open, NS_PER_DAY);
            if (grows) {
                rows.back().close_time = covered_to_ = span.close;
                ++rows.back().run_length;
            } else {
                push(span, 1, flags);
            }
        }
    }

    void push(Span span, std::int64_t run, unsigned flags) {
        Row row{span.open, span.close, last_close_, last_close_, last_close_, last_close_};
        row.run_length = run;
        row.flags = flags;
        rows.push_back(row);
        covered_to_ = span.close;
    }

    const Interval& interval_;
    const AggregatorOptions& options_;
    std::optional<double> seed_;
    TimeNs watermark_;
    TimeNs covered_to_ = TIME_NONE;
    double last_close_ = NO_PRICE;
};

/// Sets of intervals with one root, with several, and with tables that have holes.
inline std::vector<std::vector<Interval>> interval_sets() {
    const auto parsed = [](std::initializer_list<const char*> names) {
        std::vector<Interval> intervals;
        for (const char* name : names) intervals.push_back(Interval::parse(name));
        return intervals;
    };
    std::vector<Span> sessions;   // weekdays, with a break at noon
    std::vector<Span> zone_days;  // the clock is put back by one hour on the fourth day
    std::vector<Span> half_hours;
    for (std::int64_t day = -1; day < 120; ++day) {
        const TimeNs midnight = WEDNESDAY + day * NS_PER_DAY;
        const TimeNs zone_open = midnight + (day < 4 ? 4 : 5) * NS_PER_HOUR;
        const TimeNs zone_close = midnight + NS_PER_DAY + (day + 1 < 4 ? 4 : 5) * NS_PER_HOUR;
        zone_days.push_back({zone_open, zone_close});
        if ((day + 2 + 7) % 7 >= 5) continue;  // day 0 is a Wednesday
        sessions.push_back({midnight + 14 * NS_PER_HOUR + 30 * NS_PER_MINUTE,
                            midnight + 17 * NS_PER_HOUR});
        sessions.push_back({midnight + 18 * NS_PER_HOUR, midnight + 21 * NS_PER_HOUR});
        half_hours.push_back({midnight + 9 * NS_PER_HOUR + 30 * NS_PER_MINUTE,
                              midnight + 10 * NS_PER_HOUR});
    }
    auto sets = std::vector{parsed({"1m"}),
                            parsed({"1s", "5s", "1m", "5m", "1h", "1d"}),
                            parsed({"1d", "1h", "15m"}),
                            parsed({"3d", "1w"}),
                            parsed({"1M", "1w", "4h"}),
                            parsed({"1d", "1d+8h", "1h"}),
                            parsed({"7m", "11m"}),
                            parsed({"12M+3M", "1M", "10s"}),
                            parsed({"1h", "1m"}),
                            parsed({"4h", "1d"})};
    sets[8].push_back(Interval::table("sessions", sessions));
    sets[8].push_back(Interval::table("zone", zone_days));
    sets[9].push_back(Interval::table("half", half_hours));
    sets.push_back({Interval::table("sessions", sessions)});
    return sets;
}

/// Flat bars of seconds over days would be millions of rows.
inline bool has_seconds(const std::vector<Interval>& intervals) {
    return std::any_of(intervals.begin(), intervals.end(), [](const Interval& interval) {
        return interval.kind() == IntervalKind::fixed && interval.period() < NS_PER_MINUTE;
    });
}

}  // namespace klineagg::test
