// Bars whose trades are cancelled or corrected, against engines that never had these trades.
#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "catch.hpp"
#include "engine/journal_runs.hpp"
#include "klineagg/engine/correction.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

using Key = std::tuple<int, std::int32_t, TimeNs>;

/// Every single bar, with runs expanded, as its newest revision tells it.
std::map<Key, Row> newest_bars(const Series& series, const std::vector<Interval>& intervals) {
    std::map<Key, Row> newest;
    for (const auto& [key, rows] : series) {
        const Interval& interval = intervals[static_cast<std::size_t>(key.first)];
        for (const Row& row : rows) {
            for (Span span = interval.next(row.open_time); span.open < row.close_time;
                 span = interval.next(span.close)) {
                Row bar = row;
                bar.open_time = span.open;
                bar.close_time = span.close;
                bar.run_length = 1;
                const auto [place, is_new] =
                    newest.try_emplace({key.first, key.second, span.open}, bar);
                // One that differs from what was said of it before is a higher revision.
                if (!is_new && bar.revision <= place->second.revision) continue;
                place->second = bar;
            }
        }
    }
    return newest;
}

bool has_same_content(Row a, Row b) {
    a.flags = b.flags = 0;
    a.revision = b.revision = 0;
    return a == b;
}

EngineOptions with_amendments(Rng& rng) {
    EngineOptions options;
    options.workers = 1 + static_cast<int>(pick(rng, 3));
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.aggregator.amend_horizon_ns = HORIZON_UNLIMITED;
    options.aggregator.lateness_ns = chance(rng, 50) ? 0 : between(rng, 1, 300) * NS_PER_SECOND;
    options.aggregator.gaps = chance(rng, 70) ? GapMode::runs : GapMode::none;
    return options;
}

std::vector<Trade> of_symbol(const Table& table, std::int32_t symbol) {
    std::vector<Trade> trades;
    for (std::size_t i = 0; i < table.size(); ++i)
        if (table.symbol[i] == symbol) trades.push_back(table.trade(i));
    return trades;
}

/// What is in the bars, with trades that were taken out or replaced.
struct Book {
    Table pushed;
    std::int64_t revisions = 0;

    /// Cancels or corrects one of them; false when nothing was done yet.
    bool change(Rng& rng, Engine& engine) {
        const std::size_t row = pick(rng, pushed.size());
        const std::int32_t symbol = pushed.symbol[row];
        Table next = pushed.filtered([&](std::size_t) { return false; });
        std::optional<Trade> instead;
        if (chance(rng, 40)) {
            instead = pushed.trade(row);
            instead->price *= 1.0 + static_cast<double>(between(rng, -50, 50)) / 1000.0;
            instead->quantity *= 2.0;
        }
        for (std::size_t i = 0; i < pushed.size(); ++i) {
            if (i != row) next.add(pushed.symbol[i], pushed.trade(i));
            else if (instead) next.add(symbol, *instead);
        }
        Correction asked;
        asked.symbol = symbol;
        asked.before = of_symbol(pushed, symbol);
        asked.after = of_symbol(next, symbol);
        asked.times = {pushed.time[row]};
        const CorrectionReport report = engine.correct(asked);
        REQUIRE(report.unexplained == 0);
        if (report.pending != 0) return false;
        revisions += static_cast<std::int64_t>(report.replaced);
        // Once more: it is done already.
        const CorrectionReport again = engine.correct(asked);
        REQUIRE(again.replaced + again.unexplained + again.pending == 0);
        pushed = next;
        return true;
    }
};

void cancel_and_compare(Rng& rng, std::size_t rounds) {
    const auto sets = interval_sets();
    for (std::size_t round = 0; round < rounds; ++round) {
        const auto& intervals = sets[round % sets.size()];
        TradeMix mix;
        mix.flags = chance(rng, 30);
        mix.aggregated = chance(rng, 30);
        mix.wild_amounts = chance(rng, 20);
        const Table table = random_table(rng, 1 + pick(rng, 3), 120, mix);
        const EngineOptions options = with_amendments(rng);
        INFO("round " << round << ", " << intervals[0].name() << " ..., " << table.size());
        std::optional<Logged> live(std::in_place, intervals, options,
                                   std::make_shared<FaultyFiles>());
        Book book{table.filtered([](std::size_t) { return false; })};
        std::size_t done = 0;
        while (done < table.size()) {
            const std::size_t next = std::min(table.size(), done + 1 + pick(rng, 40));
            for (std::size_t i = done; i < next; ++i) book.pushed.add(table.symbol[i], table.trade(i));
            (void)live->producer->push(table.view(done, next));
            REQUIRE(live->engine->flush());
            done = next;
            for (int k = 0; k < 3; ++k)
                if (book.pushed.size() > 1) (void)book.change(rng, *live->engine);
            if (chance(rng, 30)) live->take().ack();
            if (!chance(rng, 30)) continue;
            // What goes on from the log is what never stopped.
            Logged other(intervals, options, live->files->clone());
            REQUIRE(differs(live->state(), other.state()) == "");
            REQUIRE(difference(live->view(), other.view()) == "");
        }
        Logged clean(intervals, options, nullptr);
        (void)clean.producer->push(book.pushed.view());
        const TimeNs end = table.time.back() + 400 * NS_PER_DAY;
        for (Logged* const each : {&clean, &*live}) {
            REQUIRE(each->engine->flush());
            REQUIRE(each->engine->advance(end));
            each->take().ack();
        }
        const auto wanted = newest_bars(clean.closed, intervals);
        const auto found = newest_bars(live->closed, intervals);
        for (const auto& [key, row] : wanted) {
            const auto other = found.find(key);
            INFO("interval " << std::get<0>(key) << " symbol " << std::get<1>(key));
            REQUIRE(other != found.end());
            REQUIRE(has_same_content(row, other->second));
        }
        for (const auto& [key, row] : found)
            if (wanted.count(key) == 0) REQUIRE(row.trade_count == 0);
    }
}

}  // namespace

TEST_CASE("bars of trades that were cancelled are those of the others", "[engine][correct]") {
    Rng rng(7701);
    cancel_and_compare(rng, 20);
}

TEST_CASE("many bars of trades that were cancelled", "[engine][correct][.slow]") {
    for (std::uint64_t seed = 7702; seed < 7706; ++seed) {
        INFO("seed " << seed);
        Rng rng(seed);
        cancel_and_compare(rng, 200);
    }
}

TEST_CASE("what is not known of a bar is said of it", "[engine][correct]") {
    const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("1h")};
    Rng rng(1);
    EngineOptions options = with_amendments(rng);
    options.aggregator.lateness_ns = 0;
    Logged live(intervals, options, std::make_shared<FaultyFiles>());
    const Table table = random_table(rng, 1, 50, {});
    (void)live.producer->push(table.view());
    REQUIRE(live.engine->advance(table.time.back() + NS_PER_HOUR));
    live.take().ack();
    const std::size_t told = live.closed.at({0, table.symbol[0]}).size();
    // Of the trades before one is not known to who asks: so it may not be worked out.
    Correction asked;
    asked.symbol = table.symbol[0];
    asked.before = of_symbol(table, asked.symbol);
    const TimeNs minute = floor_to(asked.before.front().time, NS_PER_MINUTE);
    asked.before.erase(asked.before.begin());
    asked.times = {minute};
    const CorrectionReport report = live.engine->correct(asked);
    CHECK(report.replaced == 0);
    CHECK(report.unexplained == 2);
    live.take().ack();
    const Rows& rows = live.closed.at({0, table.symbol[0]});
    REQUIRE(rows.size() == told + 1);
    CHECK(rows.back().open_time == minute);
    CHECK(rows.back().revision == 1);
    CHECK((rows.back().flags & BAR_INCOMPLETE) != 0);
    Correction nobody;
    nobody.symbol = 77;
    CHECK_THROWS_AS(live.engine->correct(nobody), Error);
    Logged other(intervals, options, live.files->clone());
    CHECK(differs(live.state(), other.state()) == "");
}

TEST_CASE("a repair puts in what the file has, where it differs", "[engine][correct]") {
    Rng rng(99);
    for (int round = 0; round < 10; ++round) {
        const std::vector<Interval> intervals{Interval::parse("1m"), Interval::parse("5m"),
                                              Interval::parse("1h")};
        EngineOptions options = with_amendments(rng);
        options.aggregator.lateness_ns = 0;
        const Table table = random_table(rng, 1, 300, {});
        // The feed had lost some of them.
        Rng lost(static_cast<std::uint64_t>(round));
        const Table heard = table.filtered([&](std::size_t i) { return i == 0 || !chance(lost, 10); });
        Logged live(intervals, options, std::make_shared<FaultyFiles>());
        Logged whole(intervals, options, nullptr);
        (void)live.producer->push(heard.view());
        (void)whole.producer->push(table.view());
        const TimeNs end = floor_to(table.time.back(), NS_PER_HOUR) + NS_PER_HOUR;
        for (Logged* const each : {&live, &whole}) {
            REQUIRE(each->engine->advance(end));
            each->take().ack();
        }
        Correction asked;
        asked.symbol = table.symbol[0];
        asked.after = of_symbol(table, asked.symbol);
        asked.range = {floor_to(table.time.front(), NS_PER_HOUR), end};
        asked.is_repair = true;
        const CorrectionReport report = live.engine->correct(asked);
        CHECK(report.unexplained == 0);
        const CorrectionReport again = live.engine->correct(asked);
        CHECK(again.replaced == 0);
        live.take().ack();
        const auto wanted = newest_bars(whole.closed, intervals);
        const auto found = newest_bars(live.closed, intervals);
        std::size_t revised = 0;
        for (const auto& [key, row] : wanted) {
            const auto other = found.find(key);
            REQUIRE(other != found.end());
            REQUIRE(has_same_content(row, other->second));
            revised += other->second.revision > 0 ? 1U : 0U;
        }
        CHECK(revised >= report.replaced);
        Logged other(intervals, options, live.files->clone());
        CHECK(differs(live.state(), other.state()) == "");
    }
}

TEST_CASE("revisions that others have given are known, of flat bars too", "[engine][correct]") {
    const std::vector<Interval> intervals{Interval::parse("1m")};
    Table table;
    for (const int minute : {0, 5, 9}) {
        Trade trade;
        trade.time = WEDNESDAY + minute * NS_PER_MINUTE;
        trade.price = 10.0 + minute;
        trade.quantity = 1.0;
        table.add(1, trade);
    }
    EngineOptions options;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    Logged first(intervals, options, nullptr);
    (void)first.producer->push(table.view());
    REQUIRE(first.engine->advance(WEDNESDAY + 10 * NS_PER_MINUTE));
    const std::vector<std::byte> state = first.engine->checkpoint();
    const auto span = [](int from, int to) {
        return Span{WEDNESDAY + from * NS_PER_MINUTE, WEDNESDAY + to * NS_PER_MINUTE};
    };
    options.revisions = std::make_shared<const std::vector<KnownRevision>>(
        std::vector<KnownRevision>{{1, 0, span(5, 6), 4}, {1, 0, span(2, 4), 7}, {9, 0, span(2, 4), 7}});
    options.clock = std::make_shared<engine::SimulatedClock>();
    Engine engine(RollupPlan(intervals), options);
    REQUIRE(engine.restore(state) == 1);
    engine.start();
    const auto producer = engine.producer("feed");
    for (const int minute : {1, 2, 3, 5}) {
        Table late;
        Trade trade;
        trade.time = WEDNESDAY + minute * NS_PER_MINUTE + NS_PER_SECOND;
        trade.price = 99.0;
        trade.quantity = 1.0;
        late.add(1, trade);
        (void)producer->push(late.view());
        REQUIRE(engine.flush());
    }
    Snapshot snapshot = engine.take("lake");
    Series closed;
    collect(snapshot.closed(), closed);
    const auto bars = newest_bars(closed, intervals);
    const auto revision = [&](int minute) {
        return bars.at({0, 1, WEDNESDAY + minute * NS_PER_MINUTE}).revision;
    };
    // Each late trade is a revision of its bar; that of minute 1 also of the flat ones behind it.
    CHECK(revision(1) == 1);
    CHECK(revision(2) >= 8);
    CHECK(revision(3) >= 8);
    CHECK(revision(5) == 5);
    CHECK(revision(4) <= 3);
}
