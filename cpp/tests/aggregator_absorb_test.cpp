// Slices of a stream, made apart and put together, are the stream made in one go.
#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "recorder.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

using Trades = std::vector<Trade>;

/// Cuts `trades` at `cuts` and feeds each slice to an aggregator of its own; then absorbs.
/// Rows come in the order of a batch: slice 0, seam 1, slice 1, seam 2, ...
struct Sliced {
    Sliced(const std::vector<Interval>& intervals, const AggregatorOptions& options,
           std::optional<double> seed, const Trades& trades, const std::vector<std::size_t>& cuts)
        : first(intervals, options), times(intervals, options) {
        if (seed) first.aggregator.seed(*seed, options.coverage_start);
        if (seed) times.aggregator.seed(*seed, options.coverage_start);
        std::size_t begin = 0;
        for (std::size_t k = 0; k <= cuts.size(); ++k) {
            const std::size_t end = k < cuts.size() ? cuts[k] : trades.size();
            const Trades part(trades.begin() + static_cast<std::ptrdiff_t>(begin),
                              trades.begin() + static_cast<std::ptrdiff_t>(end));
            begin = end;
            if (k == 0) {
                first.add(part);
                for (const Trade& trade : part) times.add_time(trade.time);
            } else if (!part.empty()) {  // a symbol without trades in a slice is not known to it
                absorb(part, intervals, options);
            }
        }
    }

    void absorb(const Trades& part, const std::vector<Interval>& intervals,
                const AggregatorOptions& options) {
        Run<PartialBar> later(intervals, options);
        later.aggregator.hold_heads();
        later.add(part);
        Run<TimeBar> later_times(intervals, options);
        later_times.aggregator.hold_heads();
        for (const Trade& trade : part) later_times.add_time(trade.time);
        first.aggregator.absorb(later.aggregator, first.sink());
        times.aggregator.absorb(later_times.aggregator, times.sink());
        for (std::size_t i = 0; i < intervals.size(); ++i) {
            const auto append = [](auto& to, const auto& from) {
                to.insert(to.end(), from.begin(), from.end());
            };
            append(first.rows[i], later.rows[i]);
            append(first.partials[i], later.partials[i]);
            first.outside[i] += later.outside[i];
            first.counts[i] += later.counts[i];
            times.counts[i] += later_times.counts[i];
        }
    }

    Run<PartialBar> first;
    Run<TimeBar> times;  // what a batch counts before it makes rows
};

/// Where two runs differ first; empty when nowhere.
std::string difference(const Run<PartialBar>& a, const Run<PartialBar>& b) {
    std::ostringstream text;
    for (std::size_t i = 0; i < a.rows.size(); ++i) {
        const std::string name = " of interval " + std::to_string(i);
        for (std::size_t row = 0; row < std::min(a.rows[i].size(), b.rows[i].size()); ++row) {
            const bool same = a.rows[i][row] == b.rows[i][row];
            if (same && same_bytes(a.partials[i][row], b.partials[i][row])) continue;
            text << "row " << row << name << a.rows[i][row] << b.rows[i][row];
            return text.str();
        }
        if (a.rows[i].size() != b.rows[i].size()) return "number of rows" + name;
        if (a.outside[i] != b.outside[i]) return "trades outside" + name;
    }
    return "";
}

struct Setting {
    AggregatorOptions options;
    std::optional<double> seed;
    Trades trades;
};

Setting random_setting(Rng& rng, std::size_t count, const std::vector<Interval>& intervals) {
    Setting setting;
    TradeMix mix;
    mix.ids = chance(rng, 60);
    mix.aggregated = chance(rng, 30);
    mix.wild_amounts = chance(rng, 25);
    mix.long_gaps = chance(rng, 50) ? 8 : 0;
    setting.trades = random_trades(rng, count, mix);
    constexpr GapMode modes[] = {GapMode::none, GapMode::runs, GapMode::flat};
    setting.options.gaps = modes[pick(rng, has_seconds(intervals) ? 2 : 3)];
    setting.options.include_open = chance(rng, 70);
    if (chance(rng, 40)) {
        setting.options.coverage_start =
            setting.trades.front().time + between(rng, -3, 1) * 5 * NS_PER_HOUR;
        if (chance(rng, 70)) setting.seed = 101.25;
    }
    if (chance(rng, 30))
        setting.options.coverage_end = setting.trades.back().time + 30 * NS_PER_HOUR;
    return setting;
}

}  // namespace

TEST_CASE("a stream cut anywhere and absorbed is the whole stream, bit for bit", "[aggregator]") {
    Rng rng(41);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 2 * sets.size(); ++round) {
        const auto& intervals = sets[round % sets.size()];
        const Setting setting = random_setting(rng, 60, intervals);
        Run<PartialBar> whole(intervals, setting.options);
        if (setting.seed) whole.aggregator.seed(*setting.seed, setting.options.coverage_start);
        whole.add(setting.trades);
        const auto newest = whole.aggregator.newest();
        whole.finish();
        for (std::size_t cut = 0; cut < setting.trades.size(); ++cut) {
            Sliced sliced(intervals, setting.options, setting.seed, setting.trades, {cut});
            INFO("round " << round << ", " << intervals[0].name() << " ..., cut at " << cut);
            REQUIRE(sliced.first.aggregator.newest() == newest);
            sliced.first.finish();
            sliced.times.finish();
            REQUIRE(difference(sliced.first, whole) == "");
            REQUIRE(sliced.times.counts == whole.counts);
        }
    }
}

TEST_CASE("trades in runs give the bars of trades one by one, bit for bit", "[aggregator]") {
    Rng rng(43);
    auto sets = interval_sets();
    // Weeks below fortnights, over hours: what an open level feeds need not be open.
    sets.push_back({Interval::parse("2w"), Interval::parse("4h"), Interval::parse("1w")});
    for (std::size_t round = 0; round < 20 * sets.size(); ++round) {
        const auto& intervals = sets[round % sets.size()];
        Setting setting = random_setting(rng, 600, intervals);
        if (chance(rng, 20)) setting.options.lateness_ns = 0;
        if (setting.options.lateness_ns == 0) setting.options.late = LatePolicy::drop;
        Run<PartialBar> one_by_one(intervals, setting.options);
        Run<PartialBar> in_runs(intervals, setting.options);
        if (setting.seed) {
            one_by_one.aggregator.seed(*setting.seed, setting.options.coverage_start);
            in_runs.aggregator.seed(*setting.seed, setting.options.coverage_start);
        }
        const auto cut = static_cast<std::ptrdiff_t>(pick(rng, setting.trades.size()));
        const Trades head(setting.trades.begin(), setting.trades.begin() + cut);
        const Trades rest(setting.trades.begin() + cut, setting.trades.end());
        one_by_one.add(head);
        in_runs.add_runs(head);
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(in_runs.counts == one_by_one.counts);  // closed at the same trade
        one_by_one.add(rest);
        in_runs.add_runs(rest);
        one_by_one.finish();
        in_runs.finish();
        REQUIRE(difference(in_runs, one_by_one) == "");
        REQUIRE(in_runs.late == one_by_one.late);
    }
}

TEST_CASE("many slices, some of them empty, and trades after them", "[aggregator]") {
    Rng rng(42);
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < 200; ++round) {
        const auto& intervals = sets[round % sets.size()];
        const Setting setting = random_setting(rng, 80, intervals);
        const std::size_t sliced_count = 60;  // what follows is added trade by trade
        const auto middle = setting.trades.begin() + sliced_count;
        const Trades head(setting.trades.begin(), middle);
        const Trades rest(middle, setting.trades.end());
        Run<PartialBar> whole(intervals, setting.options);
        if (setting.seed) whole.aggregator.seed(*setting.seed, setting.options.coverage_start);
        whole.add(setting.trades);
        whole.finish();
        std::vector<std::size_t> cuts;
        while (cuts.size() < 1 + pick(rng, 12)) cuts.push_back(pick(rng, sliced_count + 1));
        std::sort(cuts.begin(), cuts.end());
        Sliced sliced(intervals, setting.options, setting.seed, head, cuts);
        sliced.first.add(rest);
        for (const Trade& trade : rest) sliced.times.add_time(trade.time);
        sliced.first.finish();
        sliced.times.finish();
        INFO("round " << round << ", " << intervals[0].name() << " ...");
        REQUIRE(difference(sliced.first, whole) == "");
        REQUIRE(sliced.times.counts == whole.counts);
    }
}
