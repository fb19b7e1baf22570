// Late trades that change closed bars: what was handed out last is what the sorted trades give.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// What a reader of all updates knows: the newest revision of each bar, runs expanded.
class Reader {
public:
    explicit Reader(const std::vector<Interval>& intervals) : intervals_(intervals) {}

    /// Takes the rows of an update; empty, else what is wrong with them.
    std::string read(const Series& update) {
        for (const auto& [key, rows] : update) {
            const Interval& interval = intervals_[static_cast<std::size_t>(key.first)];
            TimeNs last = TIME_NONE;
            for (const Row& row : rows) {
                if (row.open_time <= last) return "rows are not in order of time";
                last = row.open_time;
                if ((row.revision > 0) != ((row.flags & BAR_REVISED) != 0))
                    return "REVISED and the revision disagree: " + text(row);
                std::int64_t bars = 0;
                for (Span span = interval.next(row.open_time); span.open < row.close_time;
                     span = interval.next(span.close)) {
                    Row bar = row;
                    bar.open_time = span.open;
                    bar.close_time = span.close;
                    bar.run_length = 1;
                    ++bars;
                    Row& known = state_[key][span.open];
                    if (known.open_time != TIME_NONE && bar.revision <= known.revision)
                        return "a bar came again without a new revision: " + text(known) + text(bar);
                    known = bar;
                }
                if (bars != row.run_length) return "a run of another length: " + text(row);
            }
        }
        return "";
    }

    /// The bars as they stand, without what tells of their history.
    [[nodiscard]] Series result() const {
        Series series;
        for (const auto& [key, rows] : state_) {
            for (const auto& [open_time, row] : rows) {
                series[key].push_back(row);
                Row& bar = series[key].back();
                bar.revision = 0;
                bar.flags &= ~unsigned{BAR_REVISED | BAR_INCOMPLETE};
            }
        }
        return series;
    }

    /// A row with revision -1 when there is none.
    [[nodiscard]] Row find(int interval, std::int32_t symbol, TimeNs open_time) const {
        Row none;
        none.revision = -1;
        const auto series = state_.find({interval, symbol});
        if (series == state_.end()) return none;
        const auto row = series->second.find(open_time);
        return row == series->second.end() ? none : row->second;
    }

private:
    static std::string text(const Row& row) {
        std::ostringstream out;
        out << row;
        return out.str();
    }

    const std::vector<Interval>& intervals_;
    std::map<std::pair<int, std::int32_t>, std::map<TimeNs, Row>> state_;
};

BatchOptions amending(GapMode gaps, DurationNs lateness) {
    BatchOptions options;
    options.aggregator.late = LatePolicy::amend;
    options.aggregator.gaps = gaps;
    options.aggregator.lateness_ns = lateness;
    return options;
}

/// Some trades arrive seconds, minutes or days late.
Table disordered(Rng& rng, const Table& table) {
    std::vector<std::pair<TimeNs, std::size_t>> arrivals;
    for (std::size_t row = 0; row < table.size(); ++row) {
        TimeNs delay = 0;
        if (chance(rng, 30)) delay = between(rng, 0, 30 * NS_PER_SECOND);
        if (chance(rng, 10)) delay = between(rng, 0, 3 * NS_PER_HOUR);
        if (chance(rng, 3)) delay = between(rng, 0, 4 * NS_PER_DAY);
        arrivals.emplace_back(table.time[row] + delay, row);
    }
    std::sort(arrivals.begin(), arrivals.end());
    Table mixed = table.filtered([](std::size_t) { return false; });
    for (const auto& [arrival, row] : arrivals) mixed.add(table.symbol[row], table.trade(row));
    return mixed;
}

/// The trades that are not beyond the horizon, by definition.
Table within_horizon(const Table& table, const AggregatorOptions& options) {
    std::map<std::int32_t, TimeNs> newest;
    return table.filtered([&](std::size_t row) {
        TimeNs& known = newest.try_emplace(table.symbol[row], TIME_MIN).first->second;
        known = std::max(known, table.time[row]);
        if (options.amend_horizon_ns == HORIZON_UNLIMITED) return true;
        return floor_to(table.time[row], NS_PER_SECOND) + NS_PER_SECOND >
               known - options.lateness_ns - options.amend_horizon_ns;
    });
}

/// The flat bars of a reader are single ones, whatever the mode they came in.
BatchOptions read_as(BatchOptions options) {
    if (options.aggregator.gaps == GapMode::runs) options.aggregator.gaps = GapMode::flat;
    return options;
}

Table trades_at(const std::vector<std::pair<int, double>>& minutes_and_prices) {
    Table table;
    for (const auto& [minute, price] : minutes_and_prices) {
        Trade trade;
        trade.time = WEDNESDAY + minute * NS_PER_MINUTE + 5 * NS_PER_SECOND;
        trade.price = price;
        trade.quantity = 1.0;
        table.add(1, trade);
    }
    return table;
}

}  // namespace

TEST_CASE("amended bars are those of the sorted trades", "[aggregator][amend]") {
    Rng rng(101);
    const auto sets = interval_sets();
    std::int64_t revised = 0;
    for (std::size_t round = 0; round < 12 * sets.size(); ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.ids = chance(rng, 60);
        mix.flags = chance(rng, 40);
        mix.wild_amounts = chance(rng, 20);
        mix.long_gaps = has_seconds(intervals) ? 0 : 3;
        const Table table = disordered(rng, random_table(rng, 1 + pick(rng, 3), 60, mix));
        constexpr GapMode modes[] = {GapMode::none, GapMode::runs, GapMode::flat};
        const DurationNs lateness = chance(rng, 50) ? 0 : between(rng, 0, NS_PER_MINUTE);
        BatchOptions options = amending(modes[pick(rng, 3)], lateness);
        options.aggregator.include_open = chance(rng, 70);
        if (chance(rng, 30)) options.aggregator.amend_horizon_ns = between(rng, 0, NS_PER_DAY);
        const Table kept = within_horizon(table, options.aggregator);
        if (chance(rng, 30)) options.aggregator.coverage_end = WEDNESDAY + 5 * NS_PER_DAY;
        if (chance(rng, 40)) {
            options.aggregator.coverage_start = WEDNESDAY + between(rng, -1, 40) * NS_PER_HOUR;
            if (chance(rng, 60)) options.last_prices = {{1, 88.5}, {4, 99.25}};
        }
        BatchRun run(intervals, options);
        Reader reader(intervals);
        const std::size_t chunk_max = chance(rng, 50) ? 3 : 60;
        INFO("round " << round << ", " << intervals[0].name() << " ..., gaps "
                      << static_cast<int>(options.aggregator.gaps) << ", lateness " << lateness);
        for (std::size_t from = 0; from < table.size();) {
            const std::size_t to = std::min(table.size(), from + 1 + pick(rng, chunk_max));
            run.series.clear();
            run.add({table.view(from, to)});
            REQUIRE(reader.read(run.series) == "");
            for (const auto& [key, rows] : run.series)
                for (const Row& row : rows) revised += row.revision > 0;
            from = to;
        }
        run.series.clear();
        run.finish();
        REQUIRE(reader.read(run.series) == "");
        std::vector<std::int64_t> outside(intervals.size(), 0);
        const Series expected = expected_series(kept, intervals, read_as(options), &outside);
        REQUIRE(difference(reader.result(), expected) == "");
        REQUIRE(run.outside == outside);
        REQUIRE(run.aggregator.report().accepted == static_cast<std::int64_t>(kept.size()));
        REQUIRE(run.aggregator.report().offered == static_cast<std::int64_t>(table.size()));
    }
    CHECK(revised > 1'000);
}

TEST_CASE("each late trade is a revision of its bars", "[aggregator][amend]") {
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
    for (const GapMode gaps : {GapMode::none, GapMode::runs, GapMode::flat}) {
        BatchRun run(intervals, amending(gaps, 0));
        Reader reader(intervals);
        const auto update = [&](const Table& table) {
            run.series.clear();
            run.add({table.view()});
            REQUIRE(reader.read(run.series) == "");
        };
        const auto minute = [&](int number) {
            return reader.find(0, 1, WEDNESDAY + number * NS_PER_MINUTE);
        };
        INFO("gaps " << static_cast<int>(gaps));
        update(trades_at({{0, 10.0}, {5, 11.0}, {70, 12.0}, {71, 12.5}}));
        CHECK(minute(0).revision == 0);
        CHECK(minute(2).revision == (gaps == GapMode::none ? -1 : 0));
        update(trades_at({{0, 9.0}, {0, 13.0}}));  // two late trades in one bar
        CHECK(minute(0).revision == 2);
        CHECK(minute(0).close == 13.0);
        CHECK(minute(5).revision == 0);
        CHECK(reader.find(1, 1, WEDNESDAY).revision == 2);  // and in the hour that was closed
        CHECK(reader.find(1, 1, WEDNESDAY).high == 13.0);
        if (gaps != GapMode::none) {
            CHECK(minute(2).revision == 2);  // flat at the new close
            CHECK(minute(2).close == 13.0);
            CHECK(minute(6).revision == 0);
        }
        update(trades_at({{2, 20.0}}));  // in a gap: it was said that nobody traded
        CHECK(minute(2).trade_count == 1);
        CHECK(minute(2).flags == (BAR_CLOSED | BAR_REVISED));
        CHECK(minute(2).revision == 3);  // also where gaps are not handed out
        if (gaps != GapMode::none) {
            CHECK(minute(1).revision == 2);
            CHECK(minute(3).close == 20.0);
            CHECK(minute(3).revision == 3);
        }
        update(trades_at({{-30, 5.0}}));  // before everything: nothing had been said of it
        CHECK(minute(-30).revision == 0);
        CHECK(minute(0).revision == 2);
        update(trades_at({{72, 12.5}}));
        CHECK(run.series.size() == 1);  // the bar of minute 71, nothing of the past
    }
}

TEST_CASE("an amending update that throws leaves no trace", "[aggregator][amend]") {
    Rng rng(102);
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
    const BatchOptions options = amending(GapMode::runs, 0);
    TradeMix mix;
    mix.long_gaps = 0;
    const Table table = disordered(rng, random_table(rng, 2, 120, mix));
    BatchRun plain(intervals, options);
    BatchRun tried(intervals, options);
    for (std::size_t from = 0; from < table.size(); from += 10) {
        const std::size_t to = std::min(table.size(), from + 10);
        Table spoiled = table;
        spoiled.price[from + pick(rng, to - from)] = 0.0;
        const Error error = error_of([&] { tried.add({spoiled.view(from, to)}, chance(rng, 50)); });
        REQUIRE(error.code() == ErrorCode::bad_trade);
        plain.add({table.view(from, to)});
        tried.add({table.view(from, to)});
    }
    plain.finish();
    tried.finish();
    CHECK(difference(plain.series, tried.series) == "");
}
