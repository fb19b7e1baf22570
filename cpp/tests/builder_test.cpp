#include "klineagg/builder.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "klineagg/time_bar.hpp"
#include "reference.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr Span SPAN{WEDNESDAY, WEDNESDAY + NS_PER_DAY};

/// Memory as a reused cell of the aggregator has it: every field is somebody else's.
PartialBar stale_bar() {
    PartialBar bar;
    std::memset(static_cast<void*>(&bar), 0x41, sizeof bar);
    bar.version = PARTIAL_BAR_VERSION;
    bar.reserved = 0;
    bar.padding[0] = bar.padding[1] = 0;
    return bar;
}

PartialBar bar_of(const std::vector<Trade>& trades, bool stale = false) {
    PartialBar bar = stale ? stale_bar() : PartialBar{};
    start_bar(bar, SPAN.open, SPAN.close);
    for (const Trade& trade : trades) add_trade(bar, trade);
    return bar;
}

Trade trade_at(TimeNs offset, double price, std::int64_t id = NO_TRADE_ID, unsigned flags = 0) {
    Trade trade;
    trade.time = SPAN.open + offset;
    trade.price = price;
    trade.quantity = 1.0;
    trade.id = trade.last_id = id;
    trade.flags = static_cast<std::uint8_t>(flags);
    return trade;
}

/// Trades of a few stamps and ids, so that most tie with another one, in any order.
std::vector<Trade> tied_trades(Rng& rng, std::size_t count, bool flags, bool wild) {
    std::vector<Trade> trades;
    for (std::size_t i = 0; i < count; ++i) {
        Trade trade = trade_at(between(rng, 0, 3), static_cast<double>(between(rng, 1, 50)),
                               between(rng, -1, 2));
        trade.last_id = trade.id < 0 ? trade.id : trade.id + between(rng, 0, 3);
        trade.quantity = wild ? wild_amount(rng) : 0.1 * static_cast<double>(between(rng, 1, 9));
        trade.taker_buy = chance(rng, 50);
        if (flags) trade.flags = static_cast<std::uint8_t>(pick(rng, 8));
        trades.push_back(trade);
    }
    return trades;
}

/// The trades as the batch sorts them, where each stands for itself and counts for everything.
std::vector<PlainTrade> plain_forms(const std::vector<Trade>& trades) {
    std::vector<PlainTrade> plain;
    for (const Trade& trade : trades) {
        plain.push_back({trade.time, trade.price,
                         trade.taker_buy ? trade.quantity : -trade.quantity, trade.id});
    }
    return plain;
}

/// As the aggregator adds a run: whatever the fast ways leave goes the general one.
template <class AnyTrade>
PartialBar bar_in_runs(const std::vector<AnyTrade>& trades, std::size_t first_run, int& refused) {
    const AnyTrade* const end = trades.data() + trades.size();
    PartialBar bar = stale_bar();
    const AnyTrade* next =
        begin_with_trades(bar, SPAN, trades.data(), trades.data() + first_run);
    while (next != end) {
        if (BarTraits<PartialBar>::needs_slow_path(bar)) {
            add_trade(bar, as_trade(*next++));
            continue;
        }
        const AnyTrade* const from = next;
        next = add_next_trades(bar, from, end);
        if (next != from || next == end) continue;
        ++refused;
        add_trade(bar, as_trade(*next++));
    }
    return bar;
}

}  // namespace

TEST_CASE("a bar of trades in any order is that of the sorted trades", "[builder]") {
    Rng rng(11);
    for (int round = 0; round < 1'500; ++round) {
        const auto trades =
            tied_trades(rng, 1 + pick(rng, 12), round % 2 == 0, round % 5 == 0);
        const double previous = chance(rng, 50) ? 7.5 : NO_PRICE;
        INFO("round " << round);
        REQUIRE(row_of(bar_of(trades, round % 3 == 0), previous) == fold(trades, SPAN, previous));
    }
}

TEST_CASE("merging is associative, and the same as adding trade by trade", "[builder]") {
    Rng rng(12);
    for (int round = 0; round < 1'500; ++round) {
        const auto trades = tied_trades(rng, 2 + pick(rng, 14), round % 2 == 0, round % 5 == 0);
        std::vector<PartialBar> parts{bar_of({}, true)};
        for (std::size_t i = 0; i < trades.size(); ++i) {
            if (chance(rng, 40)) parts.push_back(bar_of({}, chance(rng, 50)));
            add_trade(parts.back(), trades[i]);
            if (chance(rng, 10)) canonicalize(parts.back());
            if (chance(rng, 5)) parts.push_back(bar_of({}, chance(rng, 50)));  // nobody traded
        }
        while (parts.size() > 1) {
            const std::size_t left = pick(rng, parts.size() - 1);
            merge_into(parts[left], parts[left + 1]);
            parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(left) + 1);
        }
        const PartialBar whole = bar_of(trades);
        INFO("round " << round << row_of(parts[0], 0.0) << row_of(whole, 0.0));
        REQUIRE(same_bytes(parts[0], whole));
    }
}

TEST_CASE("the fast ways of adding are the general one", "[builder]") {
    Rng rng(13);
    int fast = 0;
    int refused = 0;
    for (int round = 0; round < 500; ++round) {
        auto trades = tied_trades(rng, 1 + pick(rng, 12), round % 2 == 0, round % 5 == 0);
        std::sort(trades.begin(), trades.end(), [](const Trade& a, const Trade& b) {
            return std::tuple(a.time, a.id) < std::tuple(b.time, b.id);
        });
        PartialBar bar = bar_of({}, true);
        for (std::size_t i = 0; i < trades.size(); ++i) {
            if (i == 0) {
                if (trades[i].flags == 0) add_first_trade(bar, trades[i]);
                else add_trade(bar, trades[i]);
            } else if (BarTraits<PartialBar>::follows(bar, trades[i]) &&
                       !BarTraits<PartialBar>::needs_slow_path(bar)) {
                const PartialBar before = bar;
                ++fast;
                if (add_next_trade(bar, trades[i])) continue;
                ++refused;
                REQUIRE(std::memcmp(&before, &bar, sizeof bar) == 0);
                add_trade(bar, trades[i]);
            } else {
                add_trade(bar, trades[i]);
            }
        }
        INFO("round " << round << row_of(bar, 0.0));
        REQUIRE(same_bytes(bar, bar_of(trades)));
    }
    CHECK(fast > 1'000);
    CHECK(refused > 20);
}

TEST_CASE("a run of trades is what they are one by one, however far apart their amounts",
          "[builder]") {
    Rng rng(17);
    int refused = 0;
    int pairs = 0;
    for (int round = 0; round < 2'000; ++round) {
        // From amounts of one size to such that no pair can hold two of.
        const auto spread = between(rng, 0, 60);
        const auto amount = [&] {
            const double mantissa = 1.0 + static_cast<double>(rng() >> 12U) * 0x1p-52;
            return std::ldexp(mantissa, static_cast<int>(between(rng, -spread / 2, spread / 2)));
        };
        std::vector<Trade> trades;
        for (std::size_t i = 0, count = 1 + pick(rng, 40); i < count; ++i) {
            Trade trade = trade_at(static_cast<TimeNs>(i / 2), amount(), static_cast<int>(i));
            trade.quantity = amount();
            trade.taker_buy = chance(rng, 50);
            trades.push_back(trade);
        }
        const std::size_t first_run = 1 + pick(rng, static_cast<unsigned>(trades.size()));
        const PartialBar one_by_one = bar_of(trades);
        const PartialBar run = bar_in_runs(trades, first_run, refused);
        const PartialBar plain = bar_in_runs(plain_forms(trades), first_run, refused);
        INFO("round " << round << " spread " << spread << row_of(run, 0.0));
        REQUIRE(same_bytes(run, one_by_one));
        REQUIRE(same_bytes(plain, one_by_one));
        pairs += run.sum_form == SumForm::pair ? 1 : 0;
    }
    CHECK(refused > 200);
    CHECK(pairs > 500);
}

TEST_CASE("ties: the earlier arrival opens, the later one closes", "[builder]") {
    PartialBar bar = bar_of({trade_at(5, 10.0), trade_at(5, 11.0), trade_at(5, 12.0)});
    CHECK(bar.open == 10.0);
    CHECK(bar.close == 12.0);
    add_trade(bar, trade_at(5, 13.0, 4));  // an id stands behind no id
    add_trade(bar, trade_at(5, 14.0, 3));
    CHECK(bar.close == 13.0);
    CHECK(bar.last_id == 4);
    add_trade(bar, trade_at(5, 15.0));
    CHECK(bar.open == 10.0);
    CHECK(bar.close == 13.0);
    add_trade(bar, trade_at(4, 16.0, 99));
    CHECK(bar.open == 16.0);
    CHECK(bar.first == TradeKey{SPAN.open + 4, 99});
    CHECK(bar.trade_count == 7);
}

TEST_CASE("an aggregated trade counts its ids and is ordered by the first", "[builder]") {
    Trade large = trade_at(1, 20.0, 10);
    large.last_id = 19;
    Trade next = trade_at(1, 21.0, 12);  // overlapping ids: the first id decides
    const PartialBar bar = bar_of({next, large});
    CHECK(bar.trade_count == 11);
    CHECK(bar.open == 20.0);
    CHECK(bar.close == 21.0);
    CHECK(bar.first.id == 10);
    CHECK(bar.last_id == 12);
}

TEST_CASE("flags keep a trade out of just what they name", "[builder]") {
    const auto bar = bar_of({trade_at(0, 50.0, 1, TRADE_NO_OPEN_CLOSE), trade_at(1, 10.0, 2),
                             trade_at(2, 90.0, 3, TRADE_NO_HIGH_LOW | TRADE_NO_OPEN_CLOSE),
                             trade_at(3, 12.0, 4, TRADE_NO_VOLUME),
                             trade_at(4, 1.0, 5, TRADE_FLAGS_ALL)});
    const Row row = row_of(bar, NO_PRICE);
    CHECK(row.open == 10.0);
    CHECK(row.close == 12.0);
    CHECK(row.high == 50.0);
    CHECK(row.low == 10.0);
    CHECK(row.sums[VOLUME] == 3.0);
    CHECK(row.sums[QUOTE_VOLUME] == 150.0);
    CHECK(row.trade_count == 5);
    CHECK(row.first.id == 1);
    CHECK(row.last.id == 5);
    CHECK(bar.keys_split == 1);
    PartialBar later = bar_of({trade_at(3, 77.0, 4)});  // ties with the trade that closed
    PartialBar merged = bar;
    merge_into(merged, later);
    CHECK(merged.close == 77.0);
    merged = later;
    merge_into(merged, bar);
    CHECK(merged.close == 12.0);
}

TEST_CASE("prices: low <= open, close <= high, else all four are missing", "[builder]") {
    Rng rng(14);
    for (int round = 0; round < 2'000; ++round) {
        const auto trades = tied_trades(rng, 1 + pick(rng, 4), true, false);
        const double previous = chance(rng, 50) ? static_cast<double>(between(rng, 1, 60)) : NO_PRICE;
        const PartialBar bar = bar_of(trades);
        const Ohlc prices = round_prices(bar, previous);
        REQUIRE(std::isnan(prices.open) == std::isnan(prices.close));
        REQUIRE(std::isnan(prices.high) == std::isnan(prices.low));
        REQUIRE(std::isfinite(prices.high) != std::isnan(prices.high));
        if (std::isnan(prices.open)) continue;
        REQUIRE(prices.low <= std::min(prices.open, prices.close));
        REQUIRE(prices.high >= std::max(prices.open, prices.close));
    }
    const Ohlc none = round_prices(bar_of({}), NO_PRICE);
    CHECK(std::isnan(none.open));
    CHECK(std::isnan(none.high));
    const Ohlc flat = round_prices(bar_of({}), -3.0);
    CHECK((flat.open == -3.0 && flat.high == -3.0 && flat.low == -3.0 && flat.close == -3.0));
    const Ohlc ranged = round_prices(bar_of({trade_at(0, 5.0, 1, TRADE_NO_OPEN_CLOSE)}), NO_PRICE);
    CHECK(std::isnan(ranged.open));
    CHECK((ranged.high == 5.0 && ranged.low == 5.0));
    const Ohlc widened = round_prices(bar_of({trade_at(0, 5.0, 1, TRADE_NO_OPEN_CLOSE)}), 8.0);
    CHECK((widened.open == 8.0 && widened.high == 8.0 && widened.low == 5.0));
}

TEST_CASE("a coarser bar starts as a copy with a span and flags of its own", "[builder]") {
    Rng rng(15);
    const Span week{SPAN.open - 2 * NS_PER_DAY, SPAN.open + 5 * NS_PER_DAY};
    int wide = 0;
    for (int round = 0; round < 400; ++round) {
        const auto trades = tied_trades(rng, 1 + pick(rng, 9), round % 2 == 0, round % 3 == 0);
        PartialBar child = bar_of(trades);
        child.flags = BAR_CLOSED | BAR_PARTIAL | BAR_REVISED | BAR_INCOMPLETE;
        child.revision = 3;
        PartialBar parent = stale_bar();
        CHECK(begin_with_bars(parent, week, &child, &child + 1) == &child + 1);
        wide += child.sum_form == SumForm::wide;
        PartialBar expected;
        start_bar(expected, week.open, week.close);
        for (const Trade& trade : trades) add_trade(expected, trade);
        expected.flags = BAR_INCOMPLETE;
        INFO("round " << round);
        REQUIRE(same_bytes(parent, expected));
    }
    CHECK(wide > 20);
}

TEST_CASE("runs of finer bars make the bar that their trades make", "[builder]") {
    Rng rng(16);
    int stopped = 0;
    for (int round = 0; round < 400; ++round) {
        // Some children have flags, excluded trades or wide sums, and the last lies behind the end.
        std::vector<PartialBar> children;
        std::vector<Trade> all;
        TimeNs time = SPAN.open;
        for (int child = 0; child < 6; ++child) {
            auto trades = tied_trades(rng, 1 + pick(rng, 4), pick(rng, 5) == 0, pick(rng, 5) == 0);
            for (Trade& trade : trades) trade.time = time + (trade.time - SPAN.open) % 7;
            std::stable_sort(trades.begin(), trades.end(), [](const Trade& a, const Trade& b) {
                return a.time != b.time ? a.time < b.time : a.id < b.id;
            });
            children.push_back(bar_of(trades));
            children.back().open_time = time;
            children.back().close_time = time + 10;
            if (child < 5) all.insert(all.end(), trades.begin(), trades.end());
            time += 10;
        }
        const Span span{SPAN.open, SPAN.open + 50};
        PartialBar bar = stale_bar();
        const PartialBar* const end = children.data() + children.size();
        const PartialBar* next = begin_with_bars(bar, span, children.data(), end);
        while (next != end && next->open_time < span.close) {
            ++stopped;
            merge_into(bar, *next++);
            next = merge_next_bars(bar, next, end);
        }
        REQUIRE(next == end - 1);
        PartialBar expected;
        start_bar(expected, span.open, span.close);
        for (const Trade& trade : all) add_trade(expected, trade);
        INFO("round " << round);
        REQUIRE(same_bytes(bar, expected));
    }
    CHECK(stopped > 50);
}

TEST_CASE("of the flags only INCOMPLETE is inherited", "[builder]") {
    constexpr std::uint16_t all = BAR_CLOSED | BAR_GAP | BAR_GENESIS | BAR_PARTIAL | BAR_INCOMPLETE |
                                  BAR_REVISED;
    const auto trades = {trade_at(0, 1.0, 1), trade_at(1, 2.0, 2)};
    for (const bool plain : {true, false}) {
        PartialBar bar = bar_of(trades);
        PartialBar other = bar_of({trade_at(2, 3.0, 3, plain ? 0U : unsigned{TRADE_NO_OPEN_CLOSE})});
        other.flags = all;
        other.revision = 5;
        bar.flags = BAR_PARTIAL;
        merge_into(bar, other);
        CHECK(bar.flags == (BAR_PARTIAL | BAR_INCOMPLETE));
        CHECK(bar.revision == 0);
    }
    PartialBar bar = bar_of(trades);
    PartialBar empty = bar_of({});
    empty.flags = BAR_INCOMPLETE | BAR_GAP;
    merge_into(bar, empty);
    CHECK(bar.flags == BAR_INCOMPLETE);
    CHECK(bar.trade_count == 2);
}

TEST_CASE("bars of times follow whole bars", "[builder]") {
    Rng rng(16);
    for (int round = 0; round < 300; ++round) {
        const auto trades = tied_trades(rng, 1 + pick(rng, 8), true, false);
        PartialBar bar = bar_of({});
        TimeBar times;
        start_bar(times, SPAN.open, SPAN.close);
        for (const Trade& trade : trades) {
            // What a whole bar takes as the next trade, its times take too.
            if (bar.has_trades() && BarTraits<PartialBar>::follows(bar, trade))
                REQUIRE(BarTraits<TimeBar>::follows(times, trade.time));
            add_trade(bar, trade);
            add_trade(times, trade.time);
        }
        REQUIRE(times.last_time == bar.last_time);
        REQUIRE(times.has_trades());
    }
}
