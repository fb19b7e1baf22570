// Kept bars: where their memory comes from, how they are found, and what counts as news.
#include "klineagg/history.hpp"

#include <map>
#include <vector>

#include "catch.hpp"
#include "counting_pool.hpp"
#include "klineagg/aggregator.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

struct Item {
    explicit Item(TimeNs open) { bar.open_time = open; }
    struct {
        TimeNs open_time;
    } bar;
    detail::TimeLinks<Item> links;
};

PartialBar bar_at(TimeNs open, double price, TimeNs seconds = 1) {
    PartialBar bar;
    start_bar(bar, open, open + seconds * NS_PER_SECOND);
    Trade trade;
    trade.time = open;
    trade.price = price;
    trade.quantity = 1.0;
    add_first_trade(bar, trade);
    bar.flags = BAR_CLOSED;
    return bar;
}

Trade trade_at(TimeNs time, double price) {
    Trade trade;
    trade.time = time;
    trade.price = price;
    trade.quantity = 1.0;
    return trade;
}

std::vector<TimeNs> news_of(History& history) {
    std::vector<TimeNs> times;
    history.sort_news();
    for (const KeptBar* kept = history.news(); kept != nullptr; kept = kept->next_news)
        times.push_back(kept->bar.open_time);
    return times;
}

}  // namespace

TEST_CASE("a list in order of time is what a map is", "[history]") {
    Rng rng(501);
    for (int round = 0; round < 60; ++round) {
        CountingPool pool;
        {
            detail::TimeList<Item> list(&pool);
            std::map<TimeNs, Item*> map;
            TimeNs forgotten = 0;
            TimeNs newest = 1'000;
            const unsigned disorder = chance(rng, 50) ? 30 : 3;
            for (int step = 0; step < 3'000; ++step) {
                if (chance(rng, 20) && !map.empty()) {
                    forgotten = map.begin()->first;
                    list.pop_front();
                    map.erase(map.begin());
                    continue;
                }
                TimeNs open = newest += between(rng, 1, 20);
                if (chance(rng, disorder)) open = between(rng, forgotten + 1, newest);
                Item* const before = list.find(open);
                if (before != nullptr && before->bar.open_time == open) continue;
                map[open] = &list.insert_behind(before, open);
                const TimeNs wanted = between(rng, forgotten, newest + 5);
                const auto above = map.upper_bound(wanted);
                REQUIRE(list.find(wanted) ==
                        (above == map.begin() ? nullptr : std::prev(above)->second));
            }
            REQUIRE(list.empty() == map.empty());
            const Item* item = list.front();
            for (const auto& [open, expected] : map) {
                REQUIRE(item == expected);
                REQUIRE((item->links.next == nullptr || item->links.next->links.prev == item));
                item = item->links.next;
            }
            REQUIRE(item == nullptr);
        }
        REQUIRE(pool.out == 0);
    }
}

TEST_CASE("finding takes a number of steps that hardly grows", "[history]") {
    detail::TimeList<Item> list;
    constexpr TimeNs COUNT = 200'000;
    constexpr TimeNs KEPT = 50'000;
    for (TimeNs open = 0; open < COUNT; ++open) {
        list.push_back(open);
        if (open >= KEPT) list.pop_front();
    }
    // The first who looks for an old one pays for those that came since somebody did.
    REQUIRE(list.find(COUNT - KEPT) == list.front());
    Rng rng(502);
    std::size_t most = 0;
    for (int i = 0; i < 2'000; ++i) {
        const TimeNs wanted = between(rng, COUNT - KEPT, COUNT - 1);
        // The steps of find, counted.
        std::size_t steps = 0;
        for (const Item* item = list.back(); item->bar.open_time > wanted; ++steps) {
            const auto& links = item->links;
            const bool jumps = links.jump != nullptr &&
                               links.jump_open >= list.front()->bar.open_time &&
                               links.jump_open > wanted;
            item = jumps ? links.jump : links.prev;
        }
        most = std::max(most, steps);
        REQUIRE(list.find(wanted)->bar.open_time == wanted);
    }
    CHECK(most < 100);
}

TEST_CASE("what is kept beyond the horizon stays small, also behind a long gap", "[history]") {
    constexpr TimeNs HORIZON = 100 * NS_PER_SECOND;
    CountingPool pool;
    {
        History history(&pool);
        const auto close = [&](TimeNs open) {
            history.record_given(bar_at(open, 10.0));
            history.forget_before(open + NS_PER_SECOND - HORIZON, 2);
        };
        TimeNs open = WEDNESDAY;
        for (const DurationNs gap : {DurationNs{0}, NS_PER_DAY, NS_PER_HOUR, 3 * NS_PER_DAY}) {
            open += gap;
            for (int i = 0; i < 5'000; ++i, open += NS_PER_SECOND) {
                close(open);
                REQUIRE(pool.out <= 100 + 8);
            }
            // A bar every seven seconds.
            for (int i = 0; i < 500; ++i, open += 7 * NS_PER_SECOND) close(open);
            CHECK(pool.out <= 100 / 7 + 8);
        }
    }
    CHECK(pool.out == 0);
}

TEST_CASE("an empty history is small and takes no memory", "[history]") {
    CountingPool pool;
    static_assert(sizeof(History) <= 112);
    std::vector<History> levels;
    for (int i = 0; i < 8; ++i) levels.emplace_back(&pool);
    CHECK(pool.taken == 0);
    CHECK(levels[0].last_close() != levels[0].last_close());
    levels[0].forget_before(TIME_MAX);
    levels[0].mark_given(WEDNESDAY);
    CHECK(news_of(levels[0]).empty());
}

TEST_CASE("news is what changed, in order of time, and nothing else", "[history]") {
    CountingPool pool;
    {
        History history(&pool);
        const TimeNs start = WEDNESDAY;
        const auto at = [&](int second) { return start + second * NS_PER_SECOND; };
        for (int i = 0; i < 50; ++i) history.record(bar_at(at(2 * i), 10.0 + i));
        CHECK(news_of(history).size() == 50);
        history.mark_given(at(100));
        CHECK(news_of(history).empty());

        // A late trade that leaves the close alone revises its bar; one that changes it revises
        // the flat bars behind it, which are told of with it.
        history.amend(trade_at(at(40), 1.0), {at(40), at(41)}, BAR_CLOSED, at(100));
        history.amend(trade_at(at(7), 3.0), {at(7), at(8)}, BAR_CLOSED, at(100));
        history.amend(trade_at(at(40), 2.0), {at(40), at(41)}, BAR_CLOSED, at(100));
        history.record(bar_at(at(100), 5.0));
        CHECK(news_of(history) == std::vector{at(7), at(40), at(98), at(100)});
        CHECK(history.find(at(40))->bar.revision == 2);
        CHECK(history.find(at(7))->bar.revision == 1);
        CHECK(history.find(at(9)) == nullptr);
        history.mark_given(at(101));

        // What is forgotten goes back to the pool, but for the bar before the horizon.
        const std::int64_t out = pool.out;
        history.forget_before(at(61));
        CHECK(history.front()->bar.open_time == at(60));
        CHECK(pool.out < out - 30);
        CHECK(history.mark_incomplete({at(80), at(81)}));
        CHECK_FALSE(history.mark_incomplete({at(80), at(81)}));
        CHECK_FALSE(history.mark_incomplete({at(81), at(82)}));
        CHECK(news_of(history) == std::vector{at(80)});
        history.forget_before(at(500));  // not what nobody has been told of
        CHECK(history.front()->bar.open_time == at(80));
    }
    CHECK(pool.out == 0);
}

TEST_CASE("many news in any order are sorted", "[history]") {
    Rng rng(503);
    History history;
    constexpr int BARS = 3'000;
    const auto at = [&](std::int64_t second) { return WEDNESDAY + second * NS_PER_SECOND; };
    for (int i = 0; i < BARS; ++i) history.record(bar_at(at(i), 10.0));
    history.mark_given(at(BARS));
    std::map<TimeNs, int> amended;
    for (int i = 0; i < 2'000; ++i) {
        const TimeNs open = at(between(rng, 0, BARS - 1));
        history.amend(trade_at(open, 10.0), {open, open + NS_PER_SECOND}, BAR_CLOSED, at(BARS));
        ++amended[open];
    }
    std::vector<TimeNs> expected;
    for (const auto& [open, count] : amended) {
        expected.push_back(open);
        REQUIRE(history.find(open)->bar.revision == count);
    }
    CHECK(news_of(history) == expected);
}

TEST_CASE("a seed before which trades came is forgotten by all", "[history]") {
    CountingPool pool;
    {
        History history(&pool);
        const auto at = [](int second) { return WEDNESDAY + second * NS_PER_SECOND; };
        history.seed({at(100), at(101)}, 42.0, BAR_GENESIS);
        CHECK(history.last_close() == 42.0);
        for (int i = 0; i < 9; ++i) history.record(bar_at(at(200 + i), 10.0));
        history.mark_given(at(209));
        history.amend(trade_at(at(50), 7.0), {at(50), at(51)}, BAR_CLOSED, at(209));
        CHECK(history.front()->bar.open_time == at(50));
        CHECK(history.find(at(100)) == nullptr);
        for (int i = 0; i < 9; ++i) REQUIRE(history.find(at(200 + i)) != nullptr);
        CHECK(history.find(at(199)) == nullptr);
    }
    CHECK(pool.out == 0);
}

TEST_CASE("what an aggregator keeps is of its pool, and what it forgets goes back", "[history]") {
    Rng rng(504);
    const std::vector<Interval> intervals{Interval::parse("1s"), Interval::parse("1m")};
    const RollupPlan plan(intervals);
    AggregatorOptions options;
    options.late = LatePolicy::amend;
    options.lateness_ns = 20 * NS_PER_SECOND;
    options.gaps = GapMode::runs;
    options.amend_horizon_ns = 10 * NS_PER_MINUTE;
    struct Sink {
        void bars(int, const PartialBar*, std::size_t, double) const {}
        void gap(int, Span, std::int64_t, double, std::uint16_t, std::int32_t) const {}
        void outside(int, const PartialBar&) const {}
    };
    CountingPool first;
    CountingPool second;
    {
        SymbolAggregator<PartialBar> bars(plan, options, &first);
        TimeNs time = WEDNESDAY;
        std::int64_t most = 0;
        for (int i = 0; i < 30'000; ++i) {
            time += between(rng, 0, 2 * NS_PER_SECOND);
            const TimeNs late = chance(rng, 20) ? between(rng, 0, 15 * NS_PER_MINUTE) : 0;
            (void)bars.add(trade_at(time - late, 10.0 + static_cast<double>(i % 7)), Sink{});
            if (chance(rng, 1)) bars.mark_incomplete(time - late, time);
            bars.hand_out(Sink{}, false);
            bars.mark_given();
            most = std::max(most, first.out);
            if (i == 20'000) {
                CHECK(most < 2'000);  // ten minutes of seconds, each with a cut at most
                bars.set_pool(&second);
            }
        }
        CHECK(second.taken > 5'000);
        CHECK(first.out + second.out < 2'000);
        CHECK(first.out > 0);  // they were given to the other one
        bars.release();
        CHECK(first.out + second.out == 0);
    }
    CHECK(first.out + second.out == 0);
}
