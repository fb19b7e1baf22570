// What columns may look like, and how many symbols there may be.
#include <algorithm>
#include <limits>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// One record of a structured array without padding: nothing in it is aligned.
class Packed {
public:
    explicit Packed(const Table& table) : rows_(table.size()), bytes_(1 + rows_ * RECORD) {
        for (std::size_t row = 0; row < rows_; ++row) {
            char* at = bytes_.data() + 1 + row * RECORD;
            const auto put = [&at](auto value) {
                std::memcpy(at, &value, sizeof value);
                at += sizeof value;
            };
            put(table.flags[row]);
            put(table.time[row]);
            put(table.side[row]);
            put(table.price[row]);
            put(table.symbol[row]);
            put(table.quantity[row]);
            put(table.id[row]);
            put(table.last_id[row]);
        }
    }

    /// As `table` shows its columns, forwards or backwards in memory.
    [[nodiscard]] TradeColumns view(const Table& table, bool backwards) const {
        const std::size_t first = backwards && rows_ > 0 ? rows_ - 1 : 0;
        const auto column = [&](std::size_t offset) {
            const auto stride = static_cast<std::ptrdiff_t>(RECORD);
            return StridedColumn{bytes_.data() + 1 + first * RECORD + offset,
                                 backwards ? -stride : stride};
        };
        TradeColumns columns;
        columns.size = rows_;
        columns.time = column(1);
        columns.price = column(10);
        columns.symbol = column(18);
        columns.quantity = column(22);
        if (table.has_side) columns.side = column(9);
        if (table.has_ids) columns.trade_id = column(30);
        if (table.has_last_ids) columns.last_trade_id = column(38);
        if (table.has_flags) columns.flags = column(0);
        return columns;
    }

private:
    static constexpr std::size_t RECORD = 46;
    std::size_t rows_;
    std::vector<char> bytes_;
};

std::vector<Interval> parsed(std::initializer_list<const char*> names) {
    std::vector<Interval> intervals;
    for (const char* name : names) intervals.push_back(Interval::parse(name));
    return intervals;
}

Series run_of(const std::vector<TradeColumns>& batches, const std::vector<Interval>& intervals,
              const BatchOptions& options = {}) {
    BatchRun run(intervals, options);
    run.add(batches, true);
    return run.series;
}

Trade one_trade(TimeNs time, double price, double quantity) {
    Trade trade;
    trade.time = time;
    trade.price = price;
    trade.quantity = quantity;
    return trade;
}

}  // namespace

TEST_CASE("every combination of columns and layouts is read alike", "[batch]") {
    Rng rng(71);
    const auto intervals = parsed({"1s", "1m", "1d"});
    for (int round = 0; round < 64; ++round) {
        TradeMix mix;
        mix.aggregated = true;
        mix.flags = true;
        Table table = random_table(rng, 5, 200, mix);
        table.has_side = (round & 1) != 0;
        table.has_ids = (round & 2) != 0;
        table.has_last_ids = table.has_ids && (round & 4) != 0;
        table.has_flags = (round & 8) != 0;
        const Series expected = expected_series(table, intervals, {});
        INFO("round " << round);
        REQUIRE(difference(run_of({table.view()}, intervals), expected) == "");
        const Packed packed(table);
        REQUIRE(difference(run_of({packed.view(table, false)}, intervals), expected) == "");

        Table reversed = table.filtered([](std::size_t) { return false; });
        for (std::size_t row = table.size(); row-- > 0;)
            reversed.add(table.symbol[row], table.trade(row));
        const Packed backwards(reversed);
        REQUIRE(difference(run_of({backwards.view(table, true)}, intervals), expected) == "");

        // A batch of each kind in one update.
        const std::size_t half = table.size() / 2;
        TradeColumns second = packed.view(table, false);
        for (StridedColumn* column : {&second.symbol, &second.time, &second.price, &second.quantity,
                                      &second.side, &second.trade_id, &second.last_trade_id,
                                      &second.flags}) {
            if (column->present()) column->data += static_cast<std::ptrdiff_t>(half) * column->stride;
        }
        second.size -= half;
        REQUIRE(difference(run_of({table.view(0, half), second}, intervals), expected) == "");
    }
}

TEST_CASE("the side is the taker's, by sign or by who made the trade", "[batch]") {
    Table table;
    for (int i = 0; i < 4; ++i) table.add(0, one_trade(WEDNESDAY + i, 1.0, 1 << i));
    const std::vector<std::int8_t> sides{-1, 0, 1, 2};
    TradeColumns columns = table.view();
    columns.side = column_of(sides);
    const auto bought = [&] {
        return run_of({columns}, parsed({"1m"})).begin()->second.at(0).sums[TAKER_BUY_VOLUME];
    };
    CHECK(bought() == 4.0 + 8.0);
    columns.side_is_maker = true;  // the buyer is the maker: the taker sold
    CHECK(bought() == 2.0);
}

TEST_CASE("times in seconds, milliseconds and microseconds", "[batch]") {
    for (const std::int64_t scale : {1'000LL, 1'000'000LL, 1'000'000'000LL}) {
        Table table;
        std::vector<std::int64_t> raw;
        for (int i = -3; i < 50; ++i) {  // from before 1970 on
            const TimeNs time = i * 7 * NS_PER_SECOND;
            raw.push_back(time / scale);
            table.add(2, one_trade(time, 1.0 + i * 0.25, 0.5));
            table.price.back() = 20.0 + i * 0.25;
        }
        const auto intervals = parsed({"1s", "1m"});
        TradeColumns columns = table.view();
        columns.time = column_of(raw);
        columns.time_scale_ns = scale;
        INFO("scale " << scale);
        REQUIRE(difference(run_of({columns}, intervals), expected_series(table, intervals, {})) == "");
        // Out of range once it is scaled, though not as a number.
        raw[10] = TIME_MAX / scale + 1;
        const Error error = error_of([&] { (void)run_of({columns}, intervals); });
        CHECK(field_of(error, "reason") == "time_out_of_range");
        CHECK(field_of(error, "row") == "10");
    }
}

TEST_CASE("any symbol ids, and many of them", "[batch]") {
    Rng rng(72);
    const auto intervals = parsed({"1m", "1h", "1d"});
    SECTION("ids up to the largest") {
        Table table;
        const std::vector<std::int32_t> ids{0, 1, (1 << 20) - 1, 1 << 20, 1'000'000'007,
                                            std::numeric_limits<std::int32_t>::max()};
        for (std::size_t i = 0; i < 70'000; ++i) {
            table.add(ids[pick(rng, ids.size())],
                      one_trade(WEDNESDAY + static_cast<std::int64_t>(i) * 200'000'000, 5.0, 0.1));
        }
        for (int threads = 1; threads <= 4; threads += 3) {
            BatchOptions options;
            options.threads = threads;
            const Series series = run_of({table.view()}, intervals, options);
            REQUIRE(difference(series, expected_series(table, intervals, options)) == "");
        }
    }
    SECTION("twenty thousand symbols") {
        Table table;
        for (std::size_t i = 0; i < 80'000; ++i) {
            table.add(static_cast<std::int32_t>(pick(rng, 20'000)) * 7,
                      one_trade(WEDNESDAY + static_cast<std::int64_t>(i) * NS_PER_SECOND, 5.0, 0.1));
        }
        const Series expected = expected_series(table, intervals, {});
        REQUIRE(expected.size() > 3 * 19'000);
        for (int threads = 1; threads <= 4; threads += 3) {
            BatchOptions options;
            options.threads = threads;
            BatchRun run(intervals, options);
            run.add({table.view(0, 70'000)});
            run.add({table.view(70'000, table.size())}, true);
            REQUIRE(difference(run.series, expected) == "");
        }
    }
}

TEST_CASE("one value for all rows, in a run that is cancelled", "[batch]") {
    // Two hundred million trades in a few bytes: nobody waits for the end of it.
    const Trade trade = one_trade(WEDNESDAY, 3.0, 0.25);
    Table table;
    table.add(4, trade);
    TradeColumns columns = table.view();
    for (StridedColumn* column :
         {&columns.symbol, &columns.time, &columns.price, &columns.quantity, &columns.side})
        column->stride = 0;
    BatchRun run(parsed({"1m"}), {});
    columns.size = 1'000;
    run.add({columns});
    columns.size = 200'000'000;
    bool cancelled = false;
    std::thread other([&run] {
        while (run.aggregator.rows_passed() < 10'000) std::this_thread::yield();
        run.aggregator.cancel();
    });
    try {
        run.add({columns}, true);
    } catch (const BatchAggregator::Cancelled&) {
        cancelled = true;
    }
    other.join();
    REQUIRE(cancelled);
    REQUIRE(run.aggregator.report().offered == 1'000);
    columns.size = 500;
    run.add({columns}, true);
    const Row row = run.series.at({0, 4}).at(0);
    CHECK(row.trade_count == 1'500);
    CHECK(row.sums[VOLUME] == 375.0);
}

TEST_CASE("nothing in, nothing out, and no more after the end", "[batch]") {
    BatchRun run(parsed({"1m", "3d"}), {});
    run.add({});
    run.add({TradeColumns{}});
    run.add({Table{}.view()}, true);
    CHECK(run.series.empty());
    CHECK(run.aggregator.report().offered == 0);
    CHECK(error_of([&] { run.add({}); }).code() == ErrorCode::invalid_option);

    BatchOptions options;
    options.aggregator.coverage_start = WEDNESDAY;
    options.aggregator.coverage_end = WEDNESDAY + 150 * NS_PER_SECOND;
    options.aggregator.gaps = GapMode::runs;
    options.last_prices = {{3, 42.0}};
    BatchRun seeded(parsed({"1m"}), options);
    seeded.finish();
    CHECK(difference(seeded.series, expected_series({}, parsed({"1m"}), options)) == "");
    CHECK(seeded.series.at({0, 3}).size() == 2);
}

TEST_CASE("options out of range are refused", "[batch]") {
    const auto refusal = [](const BatchOptions& options) {
        return error_of([&] { BatchAggregator(RollupPlan({Interval::parse("1m")}), options); });
    };
    BatchOptions options;
    for (const int threads : {0, -1, THREADS_MAX + 1}) {
        options.threads = threads;
        CHECK(refusal(options).code() == ErrorCode::invalid_option);
        CHECK(field_of(refusal(options), "option") == "threads");
    }
    options.threads = THREADS_MAX;
    options.last_prices = {{1, 1.0}};
    CHECK(field_of(refusal(options), "option") == "last_prices");
}

TEST_CASE("late trades of a batch are dropped and counted, or an error", "[batch]") {
    Table table;
    for (const int second : {100, 101, 90, 103, 97, 98, 200, 150})
        table.add(6, one_trade(WEDNESDAY + second * NS_PER_SECOND, second, 1.0));
    BatchOptions options;
    options.aggregator.lateness_ns = 5 * NS_PER_SECOND;
    const auto intervals = parsed({"1s", "1h"});
    const Error error = error_of([&] { (void)run_of({table.view()}, intervals, options); });
    CHECK(error.code() == ErrorCode::late_trade);
    CHECK(field_of(error, "row") == "2");
    CHECK(field_of(error, "newest_ns") == std::to_string(WEDNESDAY + 96 * NS_PER_SECOND));

    options.aggregator.late = LatePolicy::drop;
    for (const std::size_t chunk : {1U, 3U, 8U}) {
        BatchRun run(intervals, options);
        for (std::size_t from = 0; from < table.size(); from += chunk)
            run.add({table.view(from, std::min(table.size(), from + chunk))});
        run.finish();
        const Table kept =
            table.filtered([&](std::size_t row) { return row != 2 && row != 4 && row != 7; });
        CHECK(run.aggregator.report().late == 3);
        CHECK(run.aggregator.report().accepted == 5);
        CHECK(difference(run.series, expected_series(kept, intervals, options)) == "");
    }
}
