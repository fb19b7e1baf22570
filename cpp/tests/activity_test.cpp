#include "klineagg/activity.hpp"

#include <limits>
#include <map>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

ActivityOptions options_of(ActivityKind kind, double threshold) {
    ActivityOptions options;
    options.kind = kind;
    options.threshold = threshold;
    return options;
}

/// Trade by trade: the bar is folded anew at each, and closes when it is full.
Series expected_activity(const Table& table, const ActivityOptions& options) {
    Series series;
    for (const auto& [symbol, trades] : table.by_symbol()) {
        std::vector<Trade> members;
        double last_close = NO_PRICE;
        for (std::size_t i = 0; i < trades.size(); ++i) {
            members.push_back(trades[i]);
            const Span span{members.front().time, members.back().time + 1};
            Row row = fold(members, span, last_close);
            double filled = static_cast<double>(row.trade_count);
            if (options.kind == ActivityKind::volume) filled = row.sums[VOLUME];
            if (options.kind == ActivityKind::value) filled = row.sums[QUOTE_VOLUME];
            const bool full = filled >= options.threshold;
            const bool last = i + 1 == trades.size();
            if (!full && !(last && options.include_open)) continue;
            row.flags = full ? unsigned{BAR_CLOSED} : 0U;
            series[{0, symbol}].push_back(row);
            last_close = row.close;
            members.clear();
        }
    }
    return series;
}

void add_chunks(Rng& rng, ActivityAggregator& aggregator, const Table& table, Series& series) {
    for (std::size_t from = 0; from < table.size();) {
        const std::size_t to = std::min(table.size(), from + pick(rng, 200));
        const std::vector<TradeColumns> batches{table.view(from, to)};
        collect(aggregator.run(batches, false), series);
        from = to;
    }
    collect(aggregator.run({}, true), series);
}

Series run_of(const Table& table, const ActivityOptions& options) {
    ActivityAggregator aggregator(options);
    const std::vector<TradeColumns> batches{table.view()};
    Series series;
    collect(aggregator.run(batches, true), series);
    return series;
}

}  // namespace

TEST_CASE("activity bars close with the trade that fills them", "[activity]") {
    Rng rng(91);
    for (int round = 0; round < 120; ++round) {
        TradeMix mix;
        mix.ids = chance(rng, 60);
        mix.aggregated = chance(rng, 40);
        mix.flags = chance(rng, 40);
        mix.wild_amounts = chance(rng, 20);
        const Table table = random_table(rng, 1 + pick(rng, 4), 150, mix);
        ActivityOptions options;
        switch (round % 3) {
            case 0: options = options_of(ActivityKind::tick, 0.5 + static_cast<double>(pick(rng, 40))); break;
            case 1: options = options_of(ActivityKind::volume, 0.3 * static_cast<double>(1 + pick(rng, 99))); break;
            default: options = options_of(ActivityKind::value, 7.7 * static_cast<double>(1 + pick(rng, 500)));
        }
        options.include_open = chance(rng, 60);
        ActivityAggregator aggregator(options);
        Series series;
        add_chunks(rng, aggregator, table, series);
        INFO("round " << round << ", threshold " << options.threshold);
        REQUIRE(difference(series, expected_activity(table, options)) == "");
        REQUIRE(aggregator.report().accepted == static_cast<std::int64_t>(table.size()));
        REQUIRE(difference(run_of(table, options), series) == "");
    }
}

TEST_CASE("thresholds are met by the correctly rounded sum", "[activity]") {
    Table table;
    Trade trade;
    trade.price = 1.0;
    trade.quantity = 0.1;
    for (int i = 0; i < 25; ++i) {
        trade.time = WEDNESDAY + i;
        table.add(0, trade);
    }
    // Ten tenths added up one after the other make 0.9999999999999999; their sum is 1.
    const Rows rows = run_of(table, options_of(ActivityKind::volume, 1.0)).at({0, 0});
    REQUIRE(rows.size() == 3);
    CHECK(rows[0].trade_count == 10);
    CHECK(rows[0].sums[VOLUME] == 1.0);
    CHECK(rows[0].open_time == WEDNESDAY);
    CHECK(rows[0].close_time == WEDNESDAY + 10);
    CHECK(rows[0].flags == BAR_CLOSED);
    CHECK(rows[2].trade_count == 5);
    CHECK(rows[2].flags == 0);
}

TEST_CASE("a trade is never split, however large", "[activity]") {
    Table table;
    Trade trade;
    trade.time = WEDNESDAY;
    trade.price = 2.0;
    trade.quantity = 1'000.0;
    trade.id = 10;
    trade.last_id = 59;
    table.add(8, trade);
    table.has_ids = table.has_last_ids = true;
    for (const auto kind : {ActivityKind::tick, ActivityKind::volume, ActivityKind::value}) {
        const Rows rows = run_of(table, options_of(kind, 7.0)).at({0, 8});
        REQUIRE(rows.size() == 1);
        CHECK(rows[0].trade_count == 50);
        CHECK(rows[0].sums[QUOTE_VOLUME] == 2'000.0);
        CHECK(rows[0].flags == BAR_CLOSED);
    }
}

TEST_CASE("thresholds are positive numbers", "[activity]") {
    for (const double threshold : {0.0, -1.0, NO_PRICE, std::numeric_limits<double>::infinity(), 0x1p101}) {
        const Error error =
            error_of([&] { ActivityAggregator(options_of(ActivityKind::tick, threshold)); });
        CHECK(error.code() == ErrorCode::invalid_option);
        CHECK(field_of(error, "option") == "threshold");
    }
}

TEST_CASE("an update of activity bars that throws leaves no trace", "[activity]") {
    Rng rng(92);
    TradeMix mix;
    mix.long_gaps = 0;
    const Table table = random_table(rng, 3, 800, mix);
    const ActivityOptions options = options_of(ActivityKind::volume, 20.0);
    ActivityAggregator tried(options);
    Series series;
    int thrown = 0;
    for (std::size_t from = 0; from < table.size();) {
        const std::size_t to = std::min(table.size(), from + 1 + pick(rng, 100));
        Table spoiled = table;
        const std::size_t bad = from + pick(rng, to - from);
        const bool unsorted = chance(rng, 50);
        // A step back behind the start of all symbols, but of those that have traded.
        if (unsorted) spoiled.time[bad] = WEDNESDAY - 1;
        else spoiled.quantity[bad] = NO_PRICE;
        const std::vector<TradeColumns> worse{spoiled.view(from, to)};
        const Error error = error_of([&] {
            ActivityAggregator first_only(options);  // whether it would be the symbol's first
            const std::vector<TradeColumns> before{spoiled.view(0, bad + 1)};
            (void)first_only.run(before, false);
        });
        if (error.code() != ErrorCode::internal) {
            ++thrown;
            const Error caught = error_of([&] { (void)tried.run(worse, chance(rng, 50)); });
            REQUIRE(caught.code() == (unsorted ? ErrorCode::unsorted : ErrorCode::bad_trade));
            REQUIRE(field_of(caught, "row") == std::to_string(bad - from));
        }
        const std::vector<TradeColumns> good{table.view(from, to)};
        collect(tried.run(good, false), series);
        from = to;
    }
    collect(tried.run({}, true), series);
    CHECK(thrown > 10);
    CHECK(tried.report().offered == static_cast<std::int64_t>(table.size()));
    REQUIRE(difference(series, expected_activity(table, options)) == "");
    CHECK(error_of([&] { (void)tried.run({}, false); }).code() == ErrorCode::invalid_option);
}

TEST_CASE("bad rows of activity bars are counted once", "[activity]") {
    Rng rng(93);
    Table table = random_table(rng, 3, 300, {});
    RejectCounts expected{};
    for (std::size_t row = 0; row < table.size(); ++row) {
        if (!chance(rng, 10)) continue;
        if (chance(rng, 50)) table.price[row] = 0.0;
        else table.symbol[row] = NO_SYMBOL;
        ++expected[static_cast<std::size_t>(judge_row(table.view(), row, false))];
    }
    ActivityOptions options = options_of(ActivityKind::tick, 5.0);
    options.on_bad = BadRows::count;
    ActivityAggregator aggregator(options);
    Series series;
    add_chunks(rng, aggregator, table, series);
    CHECK(aggregator.report().rejected == expected);
    const Table good = table.filtered(
        [&](std::size_t row) { return judge_row(table.view(), row, false) == RejectReason::none; });
    CHECK(aggregator.report().accepted == static_cast<std::int64_t>(good.size()));
    CHECK(difference(series, expected_activity(good, options)) == "");
}

TEST_CASE("a cancelled run of activity bars leaves no trace", "[activity]") {
    Trade trade;
    trade.time = WEDNESDAY;
    trade.price = trade.quantity = 1.0;
    Table table;
    table.add(4, trade);
    TradeColumns columns = table.view();
    for (StridedColumn* column :
         {&columns.symbol, &columns.time, &columns.price, &columns.quantity, &columns.side})
        column->stride = 0;
    ActivityAggregator aggregator(options_of(ActivityKind::tick, 1e9));
    columns.size = 200'000'000;
    const std::vector<TradeColumns> endless{columns};
    std::thread other([&aggregator] {
        while (aggregator.rows_passed() < 10'000) std::this_thread::yield();
        aggregator.cancel();
    });
    CHECK_THROWS_AS(aggregator.run(endless, true), BatchAggregator::Cancelled);
    other.join();
    columns.size = 10;
    const std::vector<TradeColumns> few{columns};
    Series series;
    collect(aggregator.run(few, true), series);
    CHECK(series.at({0, 4}).at(0).trade_count == 10);
}
