#include "klineagg/engine/bar_row.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;
using engine::BarRow;

TEST_CASE("the row of a flat stretch is that of its bar", "[bar_row]") {
    static_assert(sizeof(BarRow) == 15 * 8 + 4 * 3 + 2 * 2);  // no padding: bytes are compared
    Rng rng(733);
    for (int round = 0; round < 200; ++round) {
        const TimeNs open = WEDNESDAY + between(rng, -1'000'000, 1'000'000) * NS_PER_SECOND;
        const Span range{open, open + between(rng, 1, 90'000) * NS_PER_SECOND};
        const std::int64_t bars =
            chance(rng, 10) ? std::int64_t{1} << 40 : between(rng, 1, 86'400);
        const double price = chance(rng, 20) ? NO_PRICE
                             : chance(rng, 20) ? -0.0
                                               : static_cast<double>(between(rng, -50, 50)) / 8.0;
        const auto flags = static_cast<std::uint16_t>(between(rng, 0, 63));
        const auto revision = static_cast<std::int32_t>(between(rng, 0, 3));
        PartialBar flat = flat_bar(range, bars, flags);
        flat.revision = revision;
        BarRow by_bar;
        engine::fill_row(by_bar, 17, 3, flat, price);
        BarRow direct;
        std::memset(&direct, 0xEE, sizeof direct);
        engine::fill_flat_row(direct, 17, 3, range, bars, price, flags, revision);
        CHECK(std::memcmp(&by_bar, &direct, sizeof direct) == 0);
    }
}

TEST_CASE("rows become columns, whole lines and what is left of them", "[bar_row]") {
    constexpr std::int64_t ROWS = 77;
    Rng rng(734);
    for (int round = 0; round < 200; ++round) {
        std::vector<BarRow> rows(ROWS);
        for (BarRow& row : rows)  // any bits: those of a NaN must come through as they are
            for (std::size_t at = 0; at < sizeof row; ++at)
                reinterpret_cast<unsigned char*>(&row)[at] = static_cast<unsigned char>(rng());
        std::vector<const BarRow*> order;
        for (std::int64_t i = 0; i < ROWS; ++i)
            order.push_back(&rows[static_cast<std::size_t>(between(rng, 0, ROWS - 1))]);
        const BarTable widely(ROWS, false);
        const BarTable portably(ROWS, false);
        for (std::int64_t place = 0; place < ROWS;) {
            const std::int64_t count = between(rng, 1, std::min<std::int64_t>(30, ROWS - place));
            const auto size = static_cast<std::size_t>(count);
            engine::write_rows(widely.columns(), place, order.data() + place, size);
            engine::write_rows_portably(portably.columns(), place, order.data() + place, size);
            place += count;
        }
        publish_rows();
        for (const BarTable* table : {&widely, &portably}) {
            const BarColumns& of = table->columns();
            for (std::size_t i = 0; i < order.size(); ++i) {
                BarRow row;
                row.open_time = of.open_time[i];
                row.close_time = of.close_time[i];
                std::memcpy(&row.prices.open, of.open + i, 8);
                std::memcpy(&row.prices.high, of.high + i, 8);
                std::memcpy(&row.prices.low, of.low + i, 8);
                std::memcpy(&row.prices.close, of.close + i, 8);
                std::memcpy(&row.sums[VOLUME], of.volume + i, 8);
                std::memcpy(&row.sums[QUOTE_VOLUME], of.quote_volume + i, 8);
                std::memcpy(&row.sums[TAKER_BUY_VOLUME], of.taker_buy_volume + i, 8);
                std::memcpy(&row.sums[TAKER_BUY_QUOTE], of.taker_buy_quote_volume + i, 8);
                row.trade_count = of.trade_count[i];
                row.first_trade_id = of.first_trade_id[i];
                row.last_trade_id = of.last_trade_id[i];
                row.first_trade_time = of.first_trade_time[i];
                row.last_trade_time = of.last_trade_time[i];
                row.symbol = of.symbol[i];
                row.run_length = of.run_length[i];
                row.revision = of.revision[i];
                row.interval = of.interval[i];
                row.flags = of.flags[i];
                REQUIRE(std::memcmp(&row, order[i], sizeof row) == 0);
            }
        }
    }
}
