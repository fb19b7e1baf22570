#include "klineagg/merge.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// The partial records of a result, apart from the table they come from.
struct Partials {
    std::vector<std::int32_t> symbol;
    std::vector<std::int16_t> interval;
    std::vector<PartialBar> bars;

    Partials() = default;
    explicit Partials(const BarTable& table) {
        for (std::int64_t row = 0; row < table.rows(); ++row)
            add(table.columns().symbol[row], table.columns().interval[row],
                table.columns().partials[row]);
    }
    void add(std::int32_t of_symbol, std::int16_t of_interval, const PartialBar& bar) {
        symbol.push_back(of_symbol);
        interval.push_back(of_interval);
        bars.push_back(bar);
    }
    void shuffle(Rng& rng) {
        std::vector<std::size_t> order(bars.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::shuffle(order.begin(), order.end(), rng);
        Partials shuffled;
        for (const std::size_t row : order) shuffled.add(symbol[row], interval[row], bars[row]);
        *this = shuffled;
    }
    [[nodiscard]] PartialRows rows() const {
        return {bars.size(), symbol.data(), interval.data(), bars.data()};
    }
    friend bool operator==(const Partials& a, const Partials& b) {
        return a.symbol == b.symbol && a.interval == b.interval &&
               std::equal(a.bars.begin(), a.bars.end(), b.bars.begin(), b.bars.end(), same_bytes);
    }
};

BarTable merged(const std::vector<Partials>& results) {
    std::vector<PartialRows> rows;
    for (const Partials& result : results) rows.push_back(result.rows());
    return merge_results(rows);
}

Series series_of(const BarTable& table) {
    Series series;
    collect(table, series);
    return series;
}

BarTable aggregated(const Table& table, const std::vector<Interval>& intervals,
                    BatchOptions options) {
    options.with_partials = true;
    BatchAggregator aggregator{RollupPlan(intervals), options};
    const std::vector<TradeColumns> batches{table.view()};
    return aggregator.run(batches, true);
}

PartialBar bar_over(TimeNs open_time, TimeNs close_time, std::uint16_t flags) {
    PartialBar bar;
    start_bar(bar, open_time, close_time);
    bar.flags = flags;
    return bar;
}

PartialBar traded_bar(TimeNs open_time, double price, std::int64_t id, std::uint8_t trade_flags = 0) {
    PartialBar bar = bar_over(open_time, open_time + NS_PER_MINUTE, BAR_CLOSED);
    Trade trade;
    trade.time = open_time + 1;
    trade.price = price;
    trade.quantity = 0.1;
    trade.id = trade.last_id = id;
    trade.flags = trade_flags;
    add_trade(bar, trade);
    return bar;
}

Partials one(const PartialBar& bar) {
    Partials result;
    result.add(3, 0, bar);
    return result;
}

}  // namespace

TEST_CASE("results made apart and merged are the result made at once", "[merge]") {
    Rng rng(81);
    auto sets = interval_sets();
    sets.pop_back();  // sessions alone: no record tells of trades outside them, which close bars
    for (std::size_t round = 0; round < 66; ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.ids = true;
        mix.aggregated = chance(rng, 50);
        mix.flags = chance(rng, 40);
        mix.wild_amounts = chance(rng, 25);
        mix.long_gaps = 3;
        const Table table = random_table(rng, 1 + pick(rng, 6), 250, mix);
        // By stretches of rows (so also by days), by symbol, or with trades of one bar anywhere.
        const std::size_t parts = 1 + pick(rng, 5);
        const std::size_t way = pick(rng, 3);
        std::vector<Partials> results;
        for (std::size_t part = 0; part < parts; ++part) {
            const Table own = table.filtered([&](std::size_t row) {
                if (way == 0) return row * parts / table.size() == part;
                if (way == 1) return static_cast<std::size_t>(table.symbol[row]) % parts == part;
                return row * 2'654'435'761U % 97 % parts == part;
            });
            results.emplace_back(aggregated(own, intervals, {}));
            if (chance(rng, 50)) results.back().shuffle(rng);
        }
        if (chance(rng, 30)) results.insert(results.begin(), Partials{});
        INFO("round " << round << ", " << intervals[0].name() << " ..., way " << way);
        REQUIRE(difference(series_of(merged(results)), expected_series(table, intervals, {})) == "");
        REQUIRE(Partials(merged(results)) == Partials(aggregated(table, intervals, {})));
        // In any association.
        while (results.size() > 1) {
            const std::size_t left = pick(rng, results.size() - 1);
            results[left] = Partials(merged({results[left], results[left + 1]}));
            results.erase(results.begin() + static_cast<std::ptrdiff_t>(left) + 1);
        }
        REQUIRE(Partials(merged(results)) == Partials(aggregated(table, intervals, {})));
    }
}

TEST_CASE("ties keep the order of the results", "[merge]") {
    const PartialBar a = traded_bar(WEDNESDAY, 10.0, NO_TRADE_ID);
    const PartialBar b = traded_bar(WEDNESDAY, 20.0, NO_TRADE_ID);
    const Row ab = row_of(merged({one(a), one(b)}), 0);
    const Row ba = row_of(merged({one(b), one(a)}), 0);
    CHECK((ab.open == 10.0 && ab.close == 20.0));
    CHECK((ba.open == 20.0 && ba.close == 10.0));
    CHECK(ab.sums[VOLUME] == 0.2);
    std::vector<Partials> many;  // more than a sort keeps in order by chance
    for (int i = 0; i < 60; ++i) many.push_back(one(traded_bar(WEDNESDAY, 1.0 + i, NO_TRADE_ID)));
    const Row row = row_of(merged(many), 0);
    CHECK((row.open == 1.0 && row.close == 60.0));
}

TEST_CASE("a bar is closed when a later trade of its symbol is anywhere", "[merge]") {
    PartialBar open = traded_bar(WEDNESDAY, 10.0, 1);
    open.flags = 0;
    CHECK(row_of(merged({one(open)}), 0).flags == 0);
    CHECK(row_of(merged({one(traded_bar(WEDNESDAY + NS_PER_HOUR, 10.0, 2)), one(open)}), 0).flags ==
          BAR_CLOSED);
    PartialBar next = bar_over(WEDNESDAY + NS_PER_MINUTE, WEDNESDAY + 2 * NS_PER_MINUTE, 0);
    add_trade(next, {next.open_time, 1.0, 1.0});  // at the very end of the open one
    CHECK(row_of(merged({one(next), one(open)}), 0).flags == BAR_CLOSED);
    Partials other;
    other.add(4, 0, traded_bar(WEDNESDAY + NS_PER_HOUR, 10.0, 2));  // another symbol's
    CHECK(row_of(merged({one(open), other}), 0).flags == 0);
    Partials coarse;  // another interval's
    coarse.add(3, 1, traded_bar(WEDNESDAY + NS_PER_HOUR, 10.0, 2));
    CHECK(row_of(merged({one(open), coarse}), 0).flags == BAR_CLOSED);
    // Closed by a clock in one of them.
    PartialBar closed = traded_bar(WEDNESDAY, 11.0, 2);
    CHECK(row_of(merged({one(open), one(closed)}), 0).flags == BAR_CLOSED);
}

TEST_CASE("flags of merged bars", "[merge]") {
    const PartialBar traded = traded_bar(WEDNESDAY, 10.0, 1);
    const auto flags_of = [](const PartialBar& first, const PartialBar& second) {
        return row_of(merged({one(first), one(second)}), 0).flags;
    };
    const TimeNs end = WEDNESDAY + NS_PER_MINUTE;
    const PartialBar gap = bar_over(WEDNESDAY, end, BAR_GAP | BAR_CLOSED);
    const PartialBar genesis = bar_over(WEDNESDAY, end, BAR_GENESIS | BAR_CLOSED);
    // Somebody traded after all.
    CHECK(flags_of(genesis, traded) == BAR_CLOSED);
    CHECK(flags_of(traded, genesis) == BAR_CLOSED);
    CHECK(flags_of(gap, traded) == BAR_CLOSED);
    CHECK(flags_of(traded, gap) == BAR_CLOSED);
    CHECK(flags_of(gap, gap) == (BAR_GAP | BAR_CLOSED));
    PartialBar torn = traded;
    torn.flags = BAR_CLOSED | BAR_INCOMPLETE;
    CHECK(flags_of(traded, torn) == (BAR_CLOSED | BAR_INCOMPLETE));
    CHECK(flags_of(torn, traded) == (BAR_CLOSED | BAR_INCOMPLETE));
    // The result that began inside the bar adds to one that saw its beginning.
    PartialBar partial = traded;
    partial.flags = BAR_CLOSED | BAR_PARTIAL;
    CHECK(flags_of(traded, partial) == BAR_CLOSED);
}

TEST_CASE("runs of gap bars and revisions come through", "[merge]") {
    PartialBar run = flat_bar({WEDNESDAY + NS_PER_MINUTE, WEDNESDAY + 9 * NS_PER_MINUTE}, 8,
                              BAR_GAP | BAR_CLOSED);
    PartialBar revised = traded_bar(WEDNESDAY + 9 * NS_PER_MINUTE, 12.0, 2);
    revised.revision = 4;
    revised.flags = BAR_CLOSED | BAR_REVISED;
    Partials result = one(traded_bar(WEDNESDAY, 10.0, 1));
    result.add(3, 0, run);
    result.add(3, 0, revised);
    const BarTable table = merged({result});
    REQUIRE(table.rows() == 3);
    CHECK(row_of(table, 1).run_length == 8);
    CHECK(row_of(table, 1).close == 10.0);  // flat at the close before it
    CHECK(row_of(table, 2).revision == 4);
    CHECK(row_of(table, 2).run_length == 1);
    CHECK(Partials(table) == result);
}

TEST_CASE("a bar without prices keeps the close of the bar before it", "[merge]") {
    Partials first = one(traded_bar(WEDNESDAY, 10.0, 1));
    first.add(3, 1, traded_bar(WEDNESDAY, 66.0, 1));
    Partials second;
    second.add(3, 0, traded_bar(WEDNESDAY + NS_PER_MINUTE, 50.0, 2, TRADE_NO_OPEN_CLOSE));
    const Row row = row_of(merged({second, first}), 1);
    CHECK((row.open == 10.0 && row.close == 10.0 && row.high == 50.0 && row.low == 10.0));
}

TEST_CASE("results that do not fit together are refused", "[merge]") {
    const PartialBar minute = traded_bar(WEDNESDAY, 10.0, 1);
    PartialBar hour = minute;
    hour.close_time = hour.open_time + NS_PER_HOUR;
    CHECK(error_of([&] { (void)merged({one(minute), one(hour)}); }).code() ==
          ErrorCode::merge_mismatch);
    PartialBar newer = minute;
    newer.version = PARTIAL_BAR_VERSION + 1;
    CHECK(error_of([&] { (void)merged({one(minute), one(newer)}); }).code() ==
          ErrorCode::record_version);
    CHECK(merged({}).rows() == 0);
    CHECK(merged({Partials{}, Partials{}}).rows() == 0);
}
