// Kept bars that are packed say what a list of them says.
#include <cstring>
#include <string>
#include <vector>

#include "catch.hpp"
#include "counting_pool.hpp"
#include "klineagg/history.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

Trade any_trade(Rng& rng, TimeNs time) {
    Trade trade;
    trade.time = time;
    trade.price = static_cast<double>(between(rng, 1, 9));
    trade.quantity = static_cast<double>(between(rng, 1, 1000)) / 8.0;
    trade.id = trade.last_id = between(rng, 1, 1'000'000);
    trade.taker_buy = chance(rng, 50);
    // Now and then a bar that cannot be packed: keys that are split, sums that are wide.
    if (chance(rng, 2)) trade.flags = TRADE_NO_OPEN_CLOSE;
    if (chance(rng, 2)) trade.quantity = 0x1p-90;
    return trade;
}

PartialBar any_bar(Rng& rng, TimeNs open) {
    PartialBar bar;
    start_bar(bar, open, open + NS_PER_SECOND);
    for (std::int64_t trades = between(rng, 1, 3); trades != 0; --trades)
        add_trade(bar, any_trade(rng, open + trades));
    bar.flags = BAR_CLOSED;
    return bar;
}

/// All that a history says of the time behind `horizon`, as text.
std::vector<std::string> said(const History& history, TimeNs horizon) {
    std::vector<std::string> lines;
    double close = history.close_before();
    history.each([&](const PartialBar& bar, TimeNs given_to, const KeptBar* kept) {
        if (bar.close_time <= horizon) {
            lines.clear();
            if (bar.has_close()) close = bar.close;
            return;
        }
        PartialBar canonical = bar;
        canonicalize(canonical);
        std::string line(reinterpret_cast<const char*>(&canonical), sizeof canonical);
        line += std::to_string(given_to) + "/" + std::to_string(kept != nullptr && kept->changed());
        if (kept != nullptr) {
            kept->revisions.each([&](const FlatRevision& cut) {
                line += "," + std::to_string(cut.until) + ":" + std::to_string(cut.revision);
            });
        }
        lines.push_back(line);
    });
    lines.insert(lines.begin(), std::to_string(close));
    return lines;
}

/// One that packs and one that never does, through the same life.
struct Pair {
    CountingPool pools[2];
    History packs{&pools[0]};
    History lists{&pools[1]};

    template <class Step>
    void both(Step&& step) {
        step(packs);
        step(lists);
    }
    void close(const PartialBar& bar) {
        if (packs.news() == nullptr) packs.record_given(bar);
        else packs.record(bar);
        lists.record(bar);
        lists.sort_news();
        if (packs.news() == nullptr) lists.mark_given(bar.close_time);
    }
    void tell(TimeNs watermark) {
        both([&](History& history) {
            history.sort_news();
            history.mark_given(watermark);
        });
    }
};

void keep_flats_behind(History& history, TimeNs time) {
    KeptBar* const before = history.before(time);
    if (before == nullptr || before->links.next == nullptr) return;
    const Span flats{before->bar.close_time, before->links.next->bar.open_time};
    if (flats.open < flats.close) history.keep_flats(*before, flats);
}

void live(Rng& rng, int steps) {
    Pair pair;
    constexpr DurationNs REACH = 300 * NS_PER_SECOND;
    TimeNs now = WEDNESDAY;
    TimeNs horizon = TIME_MIN;
    const unsigned late = chance(rng, 50) ? 1 : 15;
    for (int step = 0; step < steps; ++step) {
        now += between(rng, 1, chance(rng, 1) ? 400 : 3) * NS_PER_SECOND;
        pair.close(any_bar(rng, now));
        const TimeNs end = now + NS_PER_SECOND;
        if (chance(rng, late)) {
            const std::int64_t back = chance(rng, 80) ? 20 : 299;
            const TimeNs open = now - between(rng, 0, back) * NS_PER_SECOND;
            const Trade trade = any_trade(rng, open + between(rng, 0, NS_PER_SECOND - 1));
            const Span span{open, open + NS_PER_SECOND};
            const auto what = between(rng, 0, 9);
            if (what == 0) pair.both([&](History& history) { keep_flats_behind(history, open); });
            else if (what == 1)
                REQUIRE(pair.packs.mark_incomplete(span) == pair.lists.mark_incomplete(span));
            else pair.both([&](History& history) { history.amend(trade, span, BAR_CLOSED, end); });
            if (chance(rng, 90)) pair.tell(end);
        }
        if (chance(rng, 3)) {
            horizon = end - REACH;
            pair.both([&](History& history) { history.forget_all_before(horizon); });
            // Nothing that is out of reach but the bar that the flat ones behind it go on from.
            REQUIRE(said(pair.packs, TIME_MIN) == said(pair.lists, TIME_MIN));
        }
        if (chance(rng, 30)) {
            horizon = end - REACH;
            pair.both([&](History& history) { history.forget_before(horizon, 4); });
        }
        REQUIRE(pair.packs.last_end() == pair.lists.last_end());
        const double close = pair.packs.last_close();
        REQUIRE((close == pair.lists.last_close() || close != close));
        if (step % 16 == 0) REQUIRE(said(pair.packs, horizon) == said(pair.lists, horizon));
    }
    REQUIRE(said(pair.packs, horizon) == said(pair.lists, horizon));
    pair.tell(now + NS_PER_SECOND);
    pair.both([&](History& history) { history.forget_before(now + NS_PER_DAY); });
    CHECK(pair.pools[0].out <= 2);
    CHECK(pair.pools[1].out <= 2);
    pair.both([](History& history) { history.clear(); });
    CHECK(pair.pools[0].out + pair.pools[1].out == 0);
}

}  // namespace

TEST_CASE("packed bars say what a list says", "[history]") {
    Rng rng(505);
    for (int round = 0; round < 40; ++round) live(rng, 800);
}

TEST_CASE("bars are packed again when no late trades come any more", "[history]") {
    CountingPool pool;
    History history(&pool);
    Rng rng(506);
    const auto at = [](std::int64_t second) { return WEDNESDAY + second * NS_PER_SECOND; };
    Trade trade;
    trade.price = trade.quantity = 1.0;
    const auto close = [&](std::int64_t second) {
        trade.time = at(second);
        PartialBar bar;
        start_bar(bar, at(second), at(second + 1));
        add_first_trade(bar, trade);
        history.record_given(bar);
    };
    std::int64_t second = 0;
    for (; second < 1'000; ++second) close(second);
    CHECK(history.is_packed());
    CHECK(pool.out == 500);
    trade.time = at(900);
    history.amend(trade, {at(900), at(901)}, BAR_CLOSED, at(second));
    CHECK(pool.out == 450 + 100);  // half of those behind it in a block each
    history.sort_news();
    history.mark_given(at(second));
    for (int i = 0; i < 350; ++i) close(second++);
    CHECK(history.is_packed());
    CHECK(pool.out == second / 2);
    CHECK(history.find(at(900))->bar.trade_count == 2);
    history.clear();
    CHECK(pool.out == 0);
}
