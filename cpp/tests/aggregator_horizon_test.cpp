// Trades that come too late even for an amendment: they are counted, and mark what is in reach.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr unsigned MARKED = BAR_CLOSED | BAR_INCOMPLETE | BAR_REVISED;

BatchOptions within(DurationNs horizon, DurationNs lateness = 0) {
    BatchOptions options;
    options.aggregator.late = LatePolicy::amend;
    options.aggregator.lateness_ns = lateness;
    options.aggregator.amend_horizon_ns = horizon;
    return options;
}

std::vector<Interval> parsed(std::initializer_list<const char*> names) {
    std::vector<Interval> intervals;
    for (const char* name : names) intervals.push_back(Interval::parse(name));
    return intervals;
}

/// Trades of symbol 1, so many seconds after midnight.
Table trades_at(const std::vector<std::int64_t>& seconds) {
    Table table;
    for (const std::int64_t second : seconds) {
        Trade trade;
        trade.time = WEDNESDAY + second * NS_PER_SECOND;
        trade.price = trade.quantity = 1.0;
        table.add(1, trade);
    }
    return table;
}

/// What a reader of all updates knows in the end: the last row of each bar.
class Known {
public:
    void update(BatchRun& run, const Table& table, bool finish = false) {
        run.series.clear();
        if (table.size() != 0) run.add({table.view()});
        if (finish) run.finish();
        for (const auto& [key, rows] : run.series) {
            for (const Row& row : rows) {
                const auto known = rows_[key].try_emplace(row.open_time, row);
                if (known.second) continue;
                REQUIRE(row.revision > known.first->second.revision);
                known.first->second = row;
            }
        }
    }
    [[nodiscard]] Row at(int interval, std::int64_t second) const {
        return rows_.at({interval, 1}).at(WEDNESDAY + second * NS_PER_SECOND);
    }
    [[nodiscard]] Series series() const {
        Series series;
        for (const auto& [key, rows] : rows_)
            for (const auto& [open_time, row] : rows) series[key].push_back(row);
        return series;
    }

private:
    std::map<std::pair<int, std::int32_t>, std::map<TimeNs, Row>> rows_;
};

}  // namespace

TEST_CASE("beyond the horizon a trade marks what is within reach", "[aggregator][amend]") {
    // At 5:00 with two minutes, what closed by 3:00 is out of reach.
    for (const bool in_one : {true, false}) {
        BatchRun run(parsed({"1m", "4m", "1h"}), within(2 * NS_PER_MINUTE));
        Known known;
        if (in_one) {
            known.update(run, trades_at({10, 240, 300, 20, 21}));
        } else {
            known.update(run, trades_at({10, 240, 300}));
            CHECK(known.at(1, 0).flags == BAR_CLOSED);
            known.update(run, trades_at({20}));
            CHECK(run.series.size() == 1);  // the four minutes alone come again
            known.update(run, trades_at({21}));
            CHECK(run.series.empty());  // told twice, changed once
        }
        known.update(run, Table(), true);
        CHECK(run.aggregator.report().beyond_horizon == 2);
        CHECK(run.aggregator.report().accepted == 3);
        CHECK(run.aggregator.report().offered == 5);
        CHECK((known.at(0, 0).flags == BAR_CLOSED && known.at(0, 0).revision == 0));
        CHECK((known.at(1, 0).flags == MARKED && known.at(1, 0).revision == 1));
        CHECK(known.at(1, 0).trade_count == 1);
        CHECK((known.at(2, 0).flags == BAR_INCOMPLETE && known.at(2, 0).revision == 0));
        CHECK(known.at(2, 0).trade_count == 3);
    }
}

TEST_CASE("a gap that a trade beyond the horizon lies in stays one", "[aggregator][amend]") {
    BatchOptions options = within(0);
    options.aggregator.gaps = GapMode::flat;
    options.aggregator.coverage_start = WEDNESDAY;
    options.last_prices = {{1, 7.0}};
    BatchRun run(parsed({"2m"}), options);
    Known known;
    // The genesis bar and the gap behind it, each with a trade that is in no bar.
    known.update(run, trades_at({300, 10, 130}), true);
    CHECK(run.aggregator.report().beyond_horizon == 2);
    CHECK(known.at(0, 0).flags == (BAR_GENESIS | BAR_CLOSED));
    CHECK(known.at(0, 120).flags == (BAR_GAP | BAR_CLOSED));
}

TEST_CASE("an open bar is marked although its trades lie in finer ones", "[aggregator][amend]") {
    const auto first_of = [](const std::vector<Interval>& intervals, const BatchOptions& options,
                             const std::vector<std::int64_t>& seconds, std::size_t output) {
        BatchRun run(intervals, options);
        run.add({trades_at(seconds).view()}, true);
        REQUIRE(run.aggregator.report().beyond_horizon == 1);
        return run.series.at({static_cast<int>(output), 1}).front();
    };
    // All of the month lies in its base bar, an hour or a day that does not hold the late trade.
    for (const auto& intervals :
         {parsed({"1M"}), parsed({"1M", "1h"}), parsed({"1M", "1d", "1m"})}) {
        const Row month = first_of(intervals, within(NS_PER_MINUTE), {36'000, 0}, 0);
        CHECK((month.flags == BAR_INCOMPLETE && month.revision == 0));
        CHECK(month.trade_count == 1);
    }
    // The base bar itself.
    const Row minute = first_of(parsed({"1m", "1h"}), within(0), {5, 3}, 0);
    CHECK((minute.flags == BAR_INCOMPLETE && minute.trade_count == 1));
    // An older base bar, open for the lateness alone, and what it is rolled up into.
    for (const std::size_t output : {std::size_t{0}, std::size_t{1}}) {
        const auto intervals = parsed({"1m", "1h"});
        const Row row =
            first_of(intervals, within(0, 50 * NS_PER_SECOND), {20, 65, 85, 10}, output);
        CHECK((row.flags & BAR_INCOMPLETE) != 0);
        CHECK((row.trade_count == (output == 0 ? 1 : 3) && row.revision == 0));
    }
    // Nobody traded in that hour: there is nothing to mark.
    const Row hour = first_of(parsed({"1h", "1m"}), within(NS_PER_MINUTE), {3'700, 3'500}, 0);
    CHECK(hour.flags == 0);
}

TEST_CASE("late trades are judged by a watermark that is up to date", "[aggregator][amend]") {
    // The watermark is at 12.801 s: [5, 10) is closed, though it was at 9.401 s when the base bar
    // changed.
    Table table;
    for (const TimeNs ns : {0LL, 9'401'000'000LL, 12'801'000'000LL, 6'400'000'000LL}) {
        Trade trade;
        trade.time = WEDNESDAY + NS_PER_SECOND + ns;
        trade.price = trade.quantity = 1.0;
        table.add(1, trade);
    }
    for (const auto& intervals : {parsed({"5s"}), parsed({"5s", "1s"})}) {
        BatchRun run(intervals, within(HORIZON_UNLIMITED, NS_PER_SECOND));
        run.add({table.view()}, true);
        const Rows& rows = run.series.at({0, 1});
        REQUIRE(rows.size() == 3);
        CHECK(rows[1].revision == 1);
    }
}

TEST_CASE("marks do not depend on how the stream is cut", "[aggregator][amend]") {
    Rng rng(201);
    const auto sets = interval_sets();
    std::int64_t marked = 0;
    for (std::size_t round = 0; round < 20 * sets.size(); ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.flags = chance(rng, 40);
        const Table sorted = random_table(rng, 2, 60, mix);
        std::vector<std::pair<TimeNs, std::size_t>> arrivals;
        for (std::size_t row = 0; row < sorted.size(); ++row) {
            const TimeNs delay = chance(rng, 40) ? between(rng, 0, 3 * NS_PER_HOUR) : 0;
            arrivals.emplace_back(sorted.time[row] + delay, row);
        }
        std::sort(arrivals.begin(), arrivals.end());
        Table table = sorted.filtered([](std::size_t) { return false; });
        for (const auto& [arrival, row] : arrivals)
            table.add(sorted.symbol[row], sorted.trade(row));
        const BatchOptions options = within(between(rng, 0, NS_PER_HOUR),
                                            chance(rng, 50) ? 0 : between(rng, 0, NS_PER_MINUTE));
        BatchRun whole(intervals, options);
        whole.add({table.view()}, true);
        BatchRun cut(intervals, options);
        Known known;
        for (std::size_t from = 0; from < table.size();) {
            const std::size_t to = std::min(table.size(), from + 1 + pick(rng, 5));
            Table part = table.filtered([&](std::size_t row) { return row >= from && row < to; });
            known.update(cut, part);
            from = to;
        }
        known.update(cut, Table(), true);
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(difference(whole.series, known.series()) == "");
        for (const auto& [key, rows] : whole.series)
            for (const Row& row : rows) marked += (row.flags & BAR_INCOMPLETE) != 0;
    }
    CHECK(marked > 100);
}
