#include "klineagg/detail/roll_bars.hpp"

#include <cstring>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;
using detail::roll_bars;
using detail::roll_bars_portably;

namespace {

/// Bars of a second, some seconds apart.
std::vector<PartialBar> seconds_with_trades(Rng& rng, std::size_t count, bool wild) {
    std::vector<PartialBar> bars;
    TimeNs second = WEDNESDAY + between(rng, 0, 100) * NS_PER_SECOND;
    std::int64_t id = 1;
    while (bars.size() < count) {
        PartialBar bar;
        start_bar(bar, second, second + NS_PER_SECOND);
        for (std::size_t left = 1 + pick(rng, 3); left != 0; --left) {
            Trade trade;
            trade.time = second + static_cast<TimeNs>(id % 7);
            trade.price = wild ? wild_amount(rng) : static_cast<double>(between(rng, 1, 999)) / 10;
            trade.quantity = wild ? wild_amount(rng) : static_cast<double>(between(rng, 1, 9)) / 10;
            trade.id = trade.last_id = id++;
            trade.taker_buy = chance(rng, 50);
            add_trade(bar, trade);
        }
        bars.push_back(bar);
        second += between(rng, 1, chance(rng, 10) ? 40 : 2) * NS_PER_SECOND;
    }
    return bars;
}

/// What roll_bars is to make: every bar of the grid that has trades, one merge after the other.
std::vector<PartialBar> merged(const FixedGrid& grid, DurationNs period,
                               const std::vector<PartialBar>& finer) {
    std::vector<PartialBar> bars;
    for (const PartialBar& child : finer) {
        const TimeNs open = grid.open_of(child.open_time);
        if (bars.empty() || bars.back().open_time != open) {
            bars.emplace_back();
            start_bar(bars.back(), open, open + period);
        }
        merge_into(bars.back(), child);
    }
    return bars;
}

PartialBar begun_with(const FixedGrid& grid, DurationNs period, const PartialBar& child) {
    PartialBar bar;
    start_bar(bar, grid.open_of(child.open_time), grid.open_of(child.open_time) + period);
    merge_into(bar, child);
    return bar;
}

}  // namespace

TEST_CASE("finer bars roll into the bars that merging them makes", "[builder]") {
    Rng rng(31);
    int refused = 0;
    for (int round = 0; round < 600; ++round) {
        const DurationNs period = between(rng, 1, 7) * NS_PER_SECOND;
        const FixedGrid grid(period, between(rng, 0, 3) * NS_PER_SECOND);
        const std::size_t room = 1 + pick(rng, 20);
        const auto finer = seconds_with_trades(rng, 2 + pick(rng, 60), round % 10 == 0);
        const auto expected = merged(grid, period, finer);

        std::vector<PartialBar> rolled;
        std::vector<PartialBar> made(room + 1);
        PartialBar open = begun_with(grid, period, finer.front());
        const PartialBar* const end = finer.data() + finer.size();
        const PartialBar* next = finer.data() + 1;
        while (next != end) {
            const PartialBar before = open;
            std::size_t ended = 0;
            const PartialBar* const taken =
                roll_bars(open, grid, period, next, end, made.data(), room, ended);
            std::vector<PartialBar> made_too(room + 1);
            PartialBar open_too = before;
            std::size_t ended_too = 0;
            REQUIRE(roll_bars_portably(open_too, grid, period, next, end, made_too.data(), room,
                                       ended_too) == taken);
            REQUIRE(same_bytes(open, open_too));
            if (taken == nullptr) {
                ++refused;
                REQUIRE(same_bytes(open, before));
                break;
            }
            REQUIRE(taken > next);
            REQUIRE(ended <= room);
            REQUIRE(ended_too == ended);
            for (std::size_t i = 0; i < ended; ++i) REQUIRE(same_bytes(made[i], made_too[i]));
            rolled.insert(rolled.end(), made.begin(),
                          made.begin() + static_cast<std::ptrdiff_t>(ended));
            next = taken;
        }
        if (next != end) continue;
        rolled.push_back(open);
        INFO("round " << round);
        REQUIRE(rolled.size() == expected.size());
        for (std::size_t i = 0; i < rolled.size(); ++i) REQUIRE(same_bytes(rolled[i], expected[i]));
    }
    CHECK(refused > 20);  // amounts of any magnitude
    CHECK(refused < 100);
}

TEST_CASE("finer bars that say anything special are not rolled", "[builder]") {
    Rng rng(32);
    const DurationNs period = 5 * NS_PER_SECOND;
    const FixedGrid grid(period, 0);
    const auto finer = seconds_with_trades(rng, 12, false);
    std::vector<PartialBar> made(32);
    const auto refuses = [&](auto&& change, std::size_t which) {
        auto changed = finer;
        change(changed[which]);
        PartialBar open = begun_with(grid, period, finer.front());
        if (which == 0) change(open);
        const PartialBar before = open;
        std::size_t ended = 0;
        const bool refused = roll_bars(open, grid, period, changed.data() + 1,
                                       changed.data() + changed.size(), made.data(), 31,
                                       ended) == nullptr;
        if (refused) REQUIRE(std::memcmp(&open, &before, sizeof open) == 0);
        return refused;
    };
    for (const std::size_t which : {0U, 1U, 6U, 11U}) {
        CHECK_FALSE(refuses([](PartialBar&) {}, which));
        CHECK(refuses([](PartialBar& bar) { bar.flags = BAR_INCOMPLETE; }, which));
        CHECK(refuses([](PartialBar& bar) { bar.keys_split = 1; }, which));
        CHECK(refuses([](PartialBar& bar) { bar.sum_form = SumForm::wide; }, which));
        if (which != 0) CHECK(refuses([](PartialBar& bar) { bar.last_time = TIME_NONE; }, which));
    }
    // A bar of a coarser base closes behind the finer ones that came beside it.
    std::size_t inner = 1;
    while (grid.open_of(finer[inner].open_time) != grid.open_of(finer[inner - 1].open_time)) ++inner;
    const TimeNs before = finer[inner - 1].last_time;
    CHECK(refuses([&](PartialBar& bar) { bar.first.time = before; }, inner));
    CHECK_FALSE(refuses([&](PartialBar& bar) { bar.first.time = before + 1; }, inner));
}
