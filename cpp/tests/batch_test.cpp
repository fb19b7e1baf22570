#include "klineagg/batch.hpp"

#include <algorithm>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

std::vector<Interval> parsed(std::initializer_list<const char*> names) {
    std::vector<Interval> intervals;
    for (const char* name : names) intervals.push_back(Interval::parse(name));
    return intervals;
}

BatchOptions threads_of(int threads) {
    BatchOptions options;
    options.threads = threads;
    return options;
}

/// Of the busiest of a few symbols. Four slices take 65,536 rows in all.
constexpr std::size_t MANY = 72'000;

std::int64_t sum_of(const RejectCounts& counts) {
    std::int64_t sum = 0;
    for (const std::int64_t count : counts) sum += count;
    return sum;
}

}  // namespace

TEST_CASE("chunks of any size and any options give the reference's bars", "[batch]") {
    Rng rng(61);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 66; ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.ids = chance(rng, 60);
        mix.aggregated = chance(rng, 40);
        mix.flags = chance(rng, 40);
        mix.wild_amounts = chance(rng, 20);
        const Table table = random_table(rng, 1 + pick(rng, 12), 300, mix);
        BatchOptions options = threads_of(static_cast<int>(1 + pick(rng, 4)));
        constexpr GapMode modes[] = {GapMode::none, GapMode::runs, GapMode::flat};
        options.aggregator.gaps = modes[pick(rng, has_seconds(intervals) ? 2 : 3)];
        options.aggregator.include_open = chance(rng, 60);
        options.with_partials = chance(rng, 50);
        if (chance(rng, 50)) options.aggregator.lateness_ns = between(rng, 0, NS_PER_MINUTE);
        if (chance(rng, 40)) options.aggregator.coverage_end = WEDNESDAY + 4 * NS_PER_DAY;
        if (chance(rng, 40)) {
            options.aggregator.coverage_start = WEDNESDAY + between(rng, -1, 30) * NS_PER_HOUR;
            for (const int symbol : {1, 4, 13, 1'000'000'007})  // the last one never trades
                if (chance(rng, 50)) options.last_prices[symbol] = 77.5;
        }
        BatchRun run(intervals, options);
        run.add_chunks(rng, table, chance(rng, 50) ? 40 : 1'000);
        run.finish();
        std::vector<std::int64_t> outside(intervals.size(), 0);
        const Series expected = expected_series(table, intervals, options, &outside);
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(difference(run.series, expected) == "");
        REQUIRE(run.outside == outside);
        const BatchReport& report = run.aggregator.report();
        REQUIRE(report.offered == static_cast<std::int64_t>(table.size()));
        REQUIRE(report.accepted == report.offered);
    }
}

TEST_CASE("one to four threads give the same bars", "[batch]") {
    Rng rng(62);
    const auto sets = interval_sets();
    for (const std::size_t set : {1U, 3U, 8U}) {
        TradeMix mix;
        mix.ids = set == 1;
        mix.aggregated = set == 1;
        const Table table = random_table(rng, 30, MANY / 2, mix);
        REQUIRE(table.size() > 65'536);
        BatchOptions options;
        options.aggregator.gaps = set == 3 ? GapMode::flat : GapMode::runs;
        options.aggregator.coverage_start = WEDNESDAY + 5 * NS_PER_HOUR;
        options.with_partials = true;
        options.last_prices = {{1, 99.0}, {7, 98.0}, {88, 55.5}};
        const Series expected = expected_series(table, sets[set], options);
        for (int threads = 1; threads <= 4; ++threads) {
            options.threads = threads;
            BatchRun run(sets[set], options);
            // In one go, in two with what is open between them, and in chunks.
            const std::size_t middle = table.size() / 2 + 17;
            if (threads != 2) {
                run.add({table.view()}, true);
            } else {
                run.add({table.view(0, 1'000), table.view(1'000, middle)});
                run.add({table.view(middle, table.size())}, true);
            }
            INFO("set " << set << ", threads " << threads);
            REQUIRE(difference(run.series, expected) == "");
        }
    }
}

TEST_CASE("an update that throws leaves no trace", "[batch]") {
    Rng rng(63);
    const auto intervals = parsed({"1s", "1m", "1h"});
    TradeMix mix;
    mix.long_gaps = 0;
    const Table table = random_table(rng, 8, MANY / 4, mix);
    for (int threads = 1; threads <= 4; threads += 3) {
        BatchOptions options = threads_of(threads);
        options.aggregator.gaps = GapMode::runs;
        BatchRun plain(intervals, options);
        BatchRun tried(intervals, options);
        for (std::size_t from = 0; from < table.size();) {
            const std::size_t to =
                std::min(table.size(), from + (chance(rng, 30) ? 34'000 : 1 + pick(rng, 2'000)));
            Table spoiled = table;
            const std::size_t bad = from + pick(rng, to - from);
            const bool unsorted = chance(rng, 50);
            if (unsorted) spoiled.time[bad] = TIME_MIN;
            else spoiled.price[bad] = -1.0;
            // The very first trade of a symbol may have any time.
            const auto known = std::find(table.symbol.begin(), table.symbol.end(), table.symbol[bad]);
            const bool first = known == table.symbol.begin() + static_cast<std::ptrdiff_t>(bad);
            if (!unsorted || !first) {
                const Error error =
                    error_of([&] { tried.add({spoiled.view(from, to)}, chance(rng, 30)); });
                INFO(error.what());
                REQUIRE(error.code() == (unsorted ? ErrorCode::unsorted : ErrorCode::bad_trade));
                REQUIRE(field_of(error, "row") == std::to_string(bad - from));
            }
            plain.add({table.view(from, to)});
            tried.add({table.view(from, to)});
            REQUIRE(tried.aggregator.report().offered == plain.aggregator.report().offered);
            from = to;
        }
        plain.finish();
        tried.finish();
        REQUIRE(difference(tried.series, plain.series) == "");
        REQUIRE(difference(tried.series, expected_series(table, intervals, options)) == "");
    }
}

TEST_CASE("the first bad row is named, whatever the number of threads", "[batch]") {
    Rng rng(64);
    TradeMix mix;
    mix.long_gaps = 0;
    const auto intervals = parsed({"1m", "1h"});
    const Table table = random_table(rng, 6, MANY, mix);
    for (int round = 0; round < 20; ++round) {
        Table spoiled = table;
        std::size_t first = table.size();
        const std::size_t count = 1 + pick(rng, 4);
        for (std::size_t i = 0; i < count; ++i) {
            // Not before the first trades of the symbols, where any time would do.
            // Often at the edge of a slice, where a step back is seen later than others.
            const std::size_t edge = table.size() * (2 + pick(rng, 2)) / 4;
            const std::size_t bad = chance(rng, 50) ? edge + pick(rng, 4)
                                                    : 20'000 + pick(rng, table.size() - 20'000);
            if (chance(rng, 50)) spoiled.quantity[bad] = 0.0;
            else spoiled.time[bad] = WEDNESDAY - NS_PER_DAY;
            first = std::min(first, bad);
        }
        for (int threads = 1; threads <= 4; ++threads) {
            BatchRun run(intervals, threads_of(threads));
            const Error error = error_of([&] {
                run.add({spoiled.view(0, 30'000), spoiled.view(30'000, spoiled.size())}, true);
            });
            INFO("round " << round << ", threads " << threads << ": " << error.what());
            CHECK(field_of(error, "row") == std::to_string(first));
        }
    }
}

TEST_CASE("a step back at the edge of a slice is an error for the row behind it", "[batch]") {
    Table table;
    Trade trade;
    trade.price = trade.quantity = 1.0;
    const std::size_t rows = 4 * 16'384;
    for (std::size_t row = 0; row < rows; ++row) {
        trade.time = WEDNESDAY + static_cast<std::int64_t>(row) * NS_PER_SECOND;
        // From the edge of the third slice on, everything lies a day earlier.
        if (row >= rows / 2) trade.time -= NS_PER_DAY;
        table.add(5, trade);
    }
    for (int threads = 1; threads <= 4; ++threads) {
        BatchRun run(parsed({"1s", "1h"}), threads_of(threads));
        const Error error = error_of([&] { run.add({table.view()}); });
        CHECK(error.code() == ErrorCode::unsorted);
        CHECK(field_of(error, "row") == std::to_string(rows / 2));
        CHECK(field_of(error, "symbol") == "5");
        CHECK(field_of(error, "time_ns") == std::to_string(table.time[rows / 2]));
        CHECK(field_of(error, "newest_ns") == std::to_string(table.time[rows / 2 - 1]));
    }
}

TEST_CASE("bad rows are rejected one by one and counted by reason", "[batch]") {
    Rng rng(65);
    TradeMix mix;
    mix.flags = true;
    for (const std::size_t rows : {std::size_t{500}, MANY / 2}) {
        mix.flags = rows < 1'000;  // plain columns go other ways
        Table table = random_table(rng, 9, rows, mix);
        std::int64_t spoiled = 0;
        RejectCounts expected{};
        for (std::size_t row = 0; row < table.size(); ++row) {
            if (!chance(rng, rows < 1'000 ? 20 : 1)) continue;
            ++spoiled;
            switch (pick(rng, 6)) {
                case 0: table.symbol[row] = NO_SYMBOL; break;
                case 1: table.time[row] = TIME_NONE; break;
                case 2: table.time[row] = TIME_MAX + 1; break;
                case 3: table.price[row] = NO_PRICE; break;
                case 4: table.quantity[row] = -0.5; break;
                default: table.price[row] = 0x1p70, table.quantity[row] = 0x1p31; break;
            }
            ++expected[static_cast<std::size_t>(judge_row(table.view(), row, false))];
        }
        const Table good = table.filtered([&](std::size_t row) {
            return judge_row(table.view(), row, false) == RejectReason::none;
        });
        const auto intervals = parsed({"1m", "1h", "1d"});
        for (int threads = 1; threads <= 4; threads += 3) {
            BatchOptions options = threads_of(threads);
            options.on_bad = BadRows::count;
            BatchRun run(intervals, options);
            if (rows < 1'000) run.add_chunks(rng, table, 100);
            else run.add({table.view()});
            run.finish();
            const BatchReport& report = run.aggregator.report();
            CHECK(report.rejected == expected);
            CHECK(sum_of(report.rejected) == spoiled);
            CHECK(report.offered == static_cast<std::int64_t>(table.size()));
            CHECK(report.accepted == static_cast<std::int64_t>(good.size()));
            REQUIRE(difference(run.series, expected_series(good, intervals, options)) == "");
        }
    }
}
