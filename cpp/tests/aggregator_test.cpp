#include "klineagg/aggregator.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include "catch.hpp"
#include "recorder.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

AggregatorOptions options_of(DurationNs lateness, LatePolicy late = LatePolicy::raise) {
    AggregatorOptions options;
    options.lateness_ns = lateness;
    options.late = late;
    return options;
}

GapMode gap_mode(Rng& rng, const std::vector<Interval>& intervals) {
    constexpr GapMode modes[] = {GapMode::none, GapMode::runs, GapMode::flat};
    return modes[pick(rng, has_seconds(intervals) ? 2 : 3)];
}

/// The same trades, none of them more than `lateness` behind the newest; ties stay in order.
std::vector<Trade> disordered(Rng& rng, std::vector<Trade> trades, DurationNs lateness) {
    std::vector<std::pair<TimeNs, Trade>> arrivals;
    TimeNs arrival = 0;
    for (std::size_t i = 0; i < trades.size(); ++i) {
        const bool tied = i > 0 && trades[i].time == trades[i - 1].time && trades[i].id < 0;
        if (!tied) arrival = trades[i].time + between(rng, 0, lateness);
        arrivals.emplace_back(arrival, trades[i]);
    }
    std::stable_sort(arrivals.begin(), arrivals.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 0; i < trades.size(); ++i) trades[i] = arrivals[i].second;
    return trades;
}

/// What is late by definition: its second ended before the newest time less the lateness.
std::vector<Trade> in_time(const std::vector<Trade>& trades, DurationNs lateness) {
    std::vector<Trade> kept;
    TimeNs newest = TIME_NONE;
    for (const Trade& trade : trades) {
        if (newest != TIME_NONE &&
            floor_to(trade.time, NS_PER_SECOND) + NS_PER_SECOND <= newest - lateness)
            continue;
        newest = std::max(newest, trade.time);
        kept.push_back(trade);
    }
    return kept;
}

}  // namespace

TEST_CASE("bars of all intervals are those of the sorted trades", "[aggregator]") {
    Rng rng(31);
    const auto sets = interval_sets();
    for (int round = 0; round < 150; ++round) {
        const auto& intervals = sets[static_cast<std::size_t>(round) % sets.size()];
        TradeMix mix;
        mix.ids = chance(rng, 60);
        mix.aggregated = chance(rng, 30);
        mix.flags = chance(rng, 40);
        mix.wild_amounts = chance(rng, 20);
        mix.long_gaps = chance(rng, 50) ? 10 : 1;
        const auto trades = random_trades(rng, 1 + pick(rng, 150), mix);
        const DurationNs lateness = between(rng, 0, 3) * between(rng, 0, NS_PER_HOUR);
        const bool strict = chance(rng, 40);
        AggregatorOptions options = options_of(strict ? STRICT_ORDER : lateness);
        options.gaps = gap_mode(rng, intervals);
        options.include_open = chance(rng, 60);
        if (chance(rng, 40))
            options.coverage_start = trades.front().time + between(rng, -3, 2) * 7 * NS_PER_HOUR;
        if (chance(rng, 40))
            options.coverage_end = trades.back().time + between(rng, -2, 9) * 7 * NS_PER_HOUR;
        Run<PartialBar> run(intervals, options);
        std::optional<double> seed;
        if (options.coverage_start != TIME_NONE && chance(rng, 60)) {
            seed = 99.5;
            run.aggregator.seed(*seed, options.coverage_start);
        }
        run.add(strict ? trades : disordered(rng, trades, lateness));
        run.finish();
        for (std::size_t i = 0; i < intervals.size(); ++i) {
            const ExpectedBars expected(trades, intervals[i], options, seed);
            INFO("round " << round << ", " << intervals[i].name());
            REQUIRE(run.rows[i] == expected.rows);
            REQUIRE(run.outside[i] == expected.outside);
        }
    }
}

TEST_CASE("late trades are the same ones for any intervals", "[aggregator]") {
    Rng rng(32);
    std::int64_t dropped = 0;
    for (int round = 0; round < 60; ++round) {
        const DurationNs lateness = chance(rng, 30) ? 0 : between(rng, 1, 90 * NS_PER_SECOND);
        TradeMix mix;
        mix.ids = chance(rng, 50);
        auto trades = random_trades(rng, 120, mix);
        trades = disordered(rng, trades, 2 * lateness + 20 * NS_PER_SECOND);
        const auto kept = in_time(trades, lateness);
        const auto options = options_of(lateness, LatePolicy::drop);
        dropped += static_cast<std::int64_t>(trades.size() - kept.size());
        for (const auto& intervals : interval_sets()) {
            Run<PartialBar> run(intervals, options);
            run.add(trades);
            run.finish();
            INFO("round " << round << ", " << intervals[0].name() << " ..., lateness " << lateness);
            REQUIRE(run.late == static_cast<std::int64_t>(trades.size() - kept.size()));
            for (std::size_t i = 0; i < intervals.size(); ++i)
                REQUIRE(run.rows[i] == ExpectedBars(kept, intervals[i], options).rows);
        }
    }
    CHECK(dropped > 100);
}

TEST_CASE("lateness is judged on whole seconds", "[aggregator]") {
    const TimeNs t = WEDNESDAY;
    for (const char* name : {"1s", "1m", "1d"}) {
        Run<PartialBar> run({Interval::parse(name)},
                            options_of(2 * NS_PER_SECOND, LatePolicy::drop));
        const auto add = [&run](TimeNs time) {
            Trade trade;
            trade.time = time;
            trade.price = trade.quantity = 1.0;
            return run.aggregator.add(trade, run.sink());
        };
        INFO(name);
        CHECK(add(t + 10 * NS_PER_SECOND) == Admission::applied);
        CHECK(add(t + 8 * NS_PER_SECOND) == Admission::applied);
        CHECK(add(t + 7 * NS_PER_SECOND + NS_PER_SECOND - 1) == Admission::late);
        CHECK(add(t + 10 * NS_PER_SECOND + 999'999'999) == Admission::applied);
        CHECK(add(t + 8 * NS_PER_SECOND) == Admission::applied);  // 8.0 s is in a second that is open
        CHECK(add(t + 11 * NS_PER_SECOND) == Admission::applied);
        CHECK(add(t + 8 * NS_PER_SECOND + 999'999'999) == Admission::late);
        CHECK(add(t + 9 * NS_PER_SECOND) == Admission::applied);
    }
}

TEST_CASE("a bar is handed out as soon as the watermark is at its end", "[aggregator]") {
    const auto at = [](int minutes, int seconds) {
        Trade trade;
        trade.time = WEDNESDAY + minutes * NS_PER_MINUTE + seconds * NS_PER_SECOND;
        trade.price = trade.quantity = 1.0;
        return trade;
    };
    // The hour is the base, or one that waits for no base bar of its own to close.
    for (const auto& names :
         {std::vector{"1h"}, std::vector{"1h", "1m"}, std::vector{"1h", "7s"}}) {
        std::vector<Interval> intervals;
        for (const char* name : names) intervals.push_back(Interval::parse(name));
        Run<PartialBar> run(intervals, options_of(5 * NS_PER_SECOND));
        INFO("intervals " << names.size() << ", the last " << names.back());
        run.add({at(30, 0), at(59, 0), at(60, 1)});
        CHECK(run.counts[0] == 0);
        run.add({at(60, 4), at(59, 59)});
        CHECK(run.counts[0] == 0);
        run.add({at(60, 5)});
        REQUIRE(run.counts[0] == 1);
        CHECK(run.rows[0][0].trade_count == 3);
    }
    // The week is in its second bar when the watermark passes the end of the two weeks before.
    const std::vector<Interval> weeks{Interval::parse("2w"), Interval::parse("4h"),
                                      Interval::parse("1w")};
    Run<PartialBar> run(weeks, options_of(2 * NS_PER_DAY));
    Span two;
    REQUIRE(weeks[0].locate(WEDNESDAY, two));
    const auto day = [&](int number) {
        Trade trade = at(0, 0);
        trade.time = two.open + number * NS_PER_DAY;
        return trade;
    };
    run.add({day(2), day(15)});  // the watermark is on day 13
    CHECK(run.counts[0] == 0);
    run.add({day(18)});
    CHECK(run.counts[0] == 1);
}

TEST_CASE("what is closed does not wait, and the count knows it", "[aggregator]") {
    Rng rng(37);
    for (const auto& intervals : interval_sets()) {
        for (int round = 0; round < 6; ++round) {
            const DurationNs unit = chance(rng, 50) ? NS_PER_HOUR : 2 * NS_PER_DAY;
            const DurationNs lateness = between(rng, 0, 3) * between(rng, 1, unit);
            auto trades = random_trades(rng, 120, {});
            trades = disordered(rng, trades, lateness + NS_PER_MINUTE);
            const auto options = options_of(lateness, LatePolicy::drop);
            Run<PartialBar> run(intervals, options);
            Run<TimeBar> times(intervals, options);
            std::vector<std::map<TimeNs, TimeNs>> spans(intervals.size());  // with trades
            TimeNs newest = TIME_MIN;
            INFO(intervals[0].name() << " ..., lateness " << lateness);
            for (const Trade& trade : trades) {
                const std::int64_t late = run.late;
                run.add({trade});
                times.add_time(trade.time);
                newest = std::max(newest, trade.time);
                for (std::size_t i = 0; i < intervals.size(); ++i) {
                    Span span;
                    if (run.late == late && intervals[i].locate(trade.time, span))
                        spans[i][span.open] = span.close;
                    const auto closed = std::count_if(
                        spans[i].begin(), spans[i].end(),
                        [&](const auto& known) { return known.second <= newest - lateness; });
                    REQUIRE(run.counts[i] == closed);
                    REQUIRE(times.counts[i] == closed);
                }
            }
        }
    }
}

TEST_CASE("trades that break the promised order throw and change nothing", "[aggregator]") {
    Rng rng(33);
    const auto sets = interval_sets();
    for (int round = 0; round < 60; ++round) {
        const auto& intervals = sets[pick(rng, sets.size())];
        const DurationNs lateness = chance(rng, 50) ? STRICT_ORDER : 5 * NS_PER_SECOND;
        const auto options = options_of(lateness);
        const auto trades = random_trades(rng, 80, {});
        Run<PartialBar> plain(intervals, options);
        Run<PartialBar> tried(intervals, options);
        int thrown = 0;
        for (const Trade& trade : trades) {
            plain.add({trade});
            tried.add({trade});
            Trade early = trade;
            early.time -= lateness == STRICT_ORDER ? between(rng, 1, NS_PER_DAY)
                                                   : between(rng, 6, 900) * NS_PER_SECOND;
            try {
                tried.add({early});
            } catch (const OutOfOrder& error) {
                ++thrown;
                REQUIRE(error.time == early.time);
                REQUIRE(error.watermark == trade.time - std::max<DurationNs>(lateness, 0));
            }
        }
        plain.finish();
        tried.finish();
        INFO("round " << round << ", " << intervals[0].name() << " ..., lateness " << lateness);
        REQUIRE(thrown == static_cast<int>(trades.size()));
        REQUIRE(plain.rows == tried.rows);
    }
}

TEST_CASE("the clock closes bars early, never differently, and once", "[aggregator]") {
    Rng rng(34);
    const auto sets = interval_sets();
    for (int round = 0; round < 80; ++round) {
        const auto& intervals = sets[pick(rng, sets.size())];
        auto options = options_of(chance(rng, 50) ? STRICT_ORDER : 0);
        options.gaps = gap_mode(rng, intervals);
        const auto trades = random_trades(rng, 100, {});
        Run<PartialBar> plain(intervals, options);
        Run<PartialBar> ticked(intervals, options);
        plain.add(trades);
        for (const Trade& trade : trades) {
            // Up to the end of the second, less one, in which the next trade lies.
            const TimeNs limit = floor_to(trade.time, NS_PER_SECOND) + NS_PER_SECOND - 1;
            for (int tick = 0; tick < 3; ++tick) {
                const TimeNs clock = limit - between(rng, 0, 2 * NS_PER_HOUR);
                ticked.aggregator.advance(clock, ticked.sink());
                const auto before = ticked.counts;
                ticked.aggregator.advance(clock, ticked.sink());
                ticked.aggregator.advance(clock - NS_PER_DAY, ticked.sink());
                REQUIRE((ticked.counts == before && ticked.aggregator.watermark() >= clock));
            }
            for (const Rows& rows : ticked.rows)  // closed means closed
                REQUIRE((rows.empty() || rows.back().close_time <= ticked.aggregator.watermark()));
            ticked.add({trade});
        }
        plain.finish();
        ticked.finish();
        INFO("round " << round);
        REQUIRE(plain.rows == ticked.rows);
    }
}

TEST_CASE("bars close in order of time, finer ones no later than coarser ones", "[aggregator]") {
    Rng rng(35);
    Run<PartialBar> run(interval_sets()[1], options_of(STRICT_ORDER));
    for (const Trade& trade : random_trades(rng, 600, {})) {
        run.add({trade});
        // Everything that ended before this trade has been handed out by now.
        for (const Rows& rows : run.rows) {
            if (rows.empty()) continue;
            const Row& last = rows.back();
            REQUIRE(last.close_time <= trade.time);
            REQUIRE(run.rows[0].back().close_time >= last.open_time);
            if (rows.size() > 1) REQUIRE(rows[rows.size() - 2].close_time <= last.open_time);
        }
    }
}

TEST_CASE("counting over times finds as many rows as the bars make", "[aggregator]") {
    Rng rng(36);
    const auto sets = interval_sets();
    for (int round = 0; round < 120; ++round) {
        const auto& intervals = sets[static_cast<std::size_t>(round) % sets.size()];
        const DurationNs lateness = chance(rng, 50) ? STRICT_ORDER : between(rng, 0, NS_PER_MINUTE);
        auto options = options_of(lateness, LatePolicy::drop);
        options.gaps = gap_mode(rng, intervals);
        options.include_open = chance(rng, 50);
        TradeMix mix;
        mix.flags = chance(rng, 50);
        mix.wild_amounts = chance(rng, 30);
        auto trades = random_trades(rng, 120, mix);
        if (chance(rng, 50)) options.coverage_start = trades[0].time - between(rng, 0, NS_PER_DAY);
        if (chance(rng, 50)) options.coverage_end = trades.back().time + between(rng, 0, NS_PER_DAY);
        if (lateness != STRICT_ORDER) trades = disordered(rng, trades, lateness + NS_PER_SECOND);
        Run<PartialBar> run(intervals, options);
        if (options.coverage_start != TIME_NONE)
            run.aggregator.seed(1.0, options.coverage_start);
        const auto cut = trades.begin() + static_cast<std::ptrdiff_t>(pick(rng, trades.size()));
        run.add({trades.begin(), cut});
        Run<TimeBar> times(intervals, run.aggregator.times_only());
        REQUIRE(times.aggregator.newest() == run.aggregator.newest());
        REQUIRE(times.aggregator.watermark() == run.aggregator.watermark());
        for (Rows& rows : run.rows) rows.clear();
        const std::int64_t late_before = run.late;
        run.add({cut, trades.end()});
        for (auto trade = cut; trade != trades.end(); ++trade) times.add_time(trade->time);
        REQUIRE(times.late == run.late - late_before);
        run.finish();
        times.finish();
        INFO("round " << round);
        for (std::size_t i = 0; i < intervals.size(); ++i)
            REQUIRE(times.counts[i] == static_cast<std::int64_t>(run.rows[i].size()));
    }
}
