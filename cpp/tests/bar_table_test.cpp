#include "klineagg/bar_table.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

struct Place {
    std::uintptr_t begin;
    std::size_t size;
    std::size_t value_size;
};

std::vector<Place> places(const BarTable& table) {
    std::vector<Place> all;
    const auto rows = static_cast<std::size_t>(table.rows());
    const auto add = [&](const auto* column) {
        all.push_back({reinterpret_cast<std::uintptr_t>(column), rows * sizeof *column, sizeof *column});
    };
#define KLINEAGG_ADD(type, name) add(table.columns().name);
    KLINEAGG_BAR_COLUMNS(KLINEAGG_ADD)
#undef KLINEAGG_ADD
    if (table.columns().partials != nullptr) add(table.columns().partials);
    return all;
}

PartialBar numbered_bar(std::int64_t number) {
    PartialBar bar;
    start_bar(bar, number * 10, number * 10 + 7);
    Trade trade;
    trade.time = number * 10 + 1;
    trade.price = 0.5 * static_cast<double>(number + 1);
    trade.quantity = static_cast<double>(number + 3);
    trade.id = trade.last_id = number;
    trade.taker_buy = number % 2 == 0;
    add_trade(bar, trade);
    trade.id = trade.last_id = number + 1;
    ++trade.time;
    add_trade(bar, trade);
    bar.flags = static_cast<std::uint16_t>(number);
    bar.run_length = number % 3 == 0 ? 5 : 1;
    bar.revision = number % 5 == 0 ? 2 : 0;
    return bar;
}

/// Fills two series; false when a row does not come back as it was written.
bool rows_come_back(BarTable& table) {
    const std::int64_t rows = table.rows();
    table.add_series({7, 0, 0, rows / 2});
    table.add_series({9, 1, rows / 2, rows});
    for (std::int64_t row = 0; row < rows; ++row)
        write_row(table.columns(), row, numbered_bar(row), NO_PRICE);
    for (std::int64_t row = 0; row < rows; ++row) {
        const bool first = row < rows / 2;
        if (!(row_of(table, row) == row_of(numbered_bar(row), NO_PRICE))) return false;
        if (table.columns().symbol[row] != (first ? 7 : 9)) return false;
        if (table.columns().interval[row] != (first ? 0 : 1)) return false;
    }
    return true;
}

/// Every value of a row, NaN or not.
bool same_row_bytes(const BarTable& table, std::int64_t row, const BarTable& other) {
    bool same = true;
#define KLINEAGG_SAME(type, name) \
    same &= std::memcmp(table.columns().name + row, other.columns().name + row, sizeof(type)) == 0;
    KLINEAGG_BAR_COLUMNS(KLINEAGG_SAME)
#undef KLINEAGG_SAME
    return same;
}

}  // namespace

TEST_CASE("columns are aligned, apart, and never a page from each other", "[bar_table]") {
    for (const bool partials : {false, true}) {
        for (std::int64_t rows : {0, 1, 2, 7, 8, 63, 64, 511, 512, 513, 4'096, 5'000, 65'536}) {
            INFO("rows " << rows);
            const BarTable table(rows, partials);
            const BarColumns& columns = table.columns();
            CHECK((columns.partials != nullptr) == partials);
            // Were the distance a multiple of the page, one row's columns would share a cache set.
            CHECK(columns.stride * 8 % 4'096 != 0);
            CHECK(columns.stride * 8 % 64 == 0);
            CHECK(columns.stride >= static_cast<std::size_t>(rows));
            std::size_t misplaced = 0;
            const auto all = places(table);
            for (const Place& place : all) misplaced += place.begin % 64 != 0;
            for (std::size_t i = 0; i < all.size(); ++i) {
                for (std::size_t j = 0; j < i; ++j) {
                    misplaced += all[i].begin < all[j].begin + all[j].size &&
                                 all[j].begin < all[i].begin + all[i].size;
                }
            }
            CHECK(misplaced == 0);
            // write_row counts on one distance between the columns of 8 bytes.
            const char* last = nullptr;
            for (const Place& place : all) {
                if (place.value_size != 8) continue;
                const char* begin = reinterpret_cast<const char*>(place.begin);
                if (last != nullptr)
                    CHECK(begin - last == static_cast<std::ptrdiff_t>(columns.stride * 8));
                last = begin;
            }
        }
    }
}

TEST_CASE("rows come back as they were written, also in used memory", "[bar_table]") {
    for (const std::int64_t rows : {1, 2, 1'000, 60'000}) {
        INFO("rows " << rows);
        {
            BarTable first(rows, true);
            CHECK(rows_come_back(first));
            // The next table may get this very memory.
            for (const Place& place : places(first))
                std::memset(reinterpret_cast<void*>(place.begin), 0xEE, place.size);
        }
        BarTable second(rows, true);
        CHECK(rows_come_back(second));
        BarTable moved(std::move(second));
        CHECK(moved.rows() == rows);
        CHECK(row_of(moved, rows - 1) == row_of(numbered_bar(rows - 1), NO_PRICE));
        CHECK(moved.series().size() == 2);
    }
}

TEST_CASE("rows that come together are those that come one by one", "[bar_table]") {
    Rng rng(11);
    int odd_bars = 0;
    for (int round = 0; round < 300; ++round) {
        const auto rows = static_cast<std::int64_t>(1 + pick(rng, 90));
        const bool odd = round % 3 == 0;
        std::vector<PartialBar> bars;
        for (std::int64_t row = 0; row < rows; ++row) {
            PartialBar bar = numbered_bar(static_cast<std::int64_t>(pick(rng, 1'000'000)));
            if (odd && chance(rng, 10)) {
                ++odd_bars;
                switch (pick(rng, 4)) {
                    case 0: bar = flat_bar({row, row + 9}, 1 + row, BAR_GAP); break;
                    case 1: bar.high = NO_HIGH, bar.low = NO_LOW; break;  // none counted for them
                    case 2: bar.close = bar.high + 1; break;
                    default: bar.open = bar.close = NO_PRICE;
                }
            }
            bar.revision = chance(rng, 5) ? 3 : 0;
            bar.sums.lo[pick(rng, 4)] = 1e-20;
            bars.push_back(bar);
        }
        BarTable one_by_one(rows, false), together(rows, false), portably(rows, false);
        for (BarTable* table : {&one_by_one, &together, &portably})
            table->add_series({1, 0, 0, rows});
        double before = NO_PRICE;
        for (std::int64_t row = 0; row < rows; ++row) {
            const PartialBar& bar = bars[static_cast<std::size_t>(row)];
            write_row(one_by_one.columns(), row, bar, before);
            if (bar.has_close()) before = bar.close;
        }
        before = NO_PRICE;
        for (std::int64_t row = 0; row < rows;) {
            const auto count = std::min(rows - row, between(rng, 1, 40));
            const PartialBar* const from = bars.data() + row;
            prefetch_rows(together.columns(), row, static_cast<std::size_t>(count));
            write_rows(together.columns(), row, from, static_cast<std::size_t>(count), before);
            write_rows_portably(portably.columns(), row, from, static_cast<std::size_t>(count),
                                before);
            for (std::int64_t i = 0; i < count; ++i)
                if (from[i].has_close()) before = from[i].close;
            row += count;
        }
        publish_rows();
        INFO("round " << round);
        for (std::int64_t row = 0; row < rows; ++row) {
            REQUIRE(same_row_bytes(together, row, one_by_one));
            REQUIRE(same_row_bytes(portably, row, one_by_one));
        }
    }
    CHECK(odd_bars > 200);
}

TEST_CASE("a row without a price of its own keeps the previous close", "[bar_table]") {
    BarTable table(2, false);
    table.add_series({0, 0, 0, 2});
    write_row(table.columns(), 0, flat_bar({100, 400}, 3, BAR_GAP | BAR_CLOSED), 12.5);
    write_row(table.columns(), 1, flat_bar({400, 500}, 1, BAR_GAP), NO_PRICE);
    const Row run = row_of(table, 0);
    CHECK((run.open == 12.5 && run.high == 12.5 && run.low == 12.5 && run.close == 12.5));
    CHECK(run.run_length == 3);
    CHECK(run.open_time == 100);
    CHECK(run.close_time == 400);
    CHECK(run.trade_count == 0);
    CHECK(run.first.id == NO_TRADE_ID);
    CHECK(run.last.id == NO_TRADE_ID);
    CHECK(run.first.time == TIME_NONE);
    CHECK(run.last.time == TIME_NONE);
    CHECK(run.flags == (BAR_GAP | BAR_CLOSED));
    for (const double sum : run.sums) CHECK(same_bits(sum, 0.0));
    const Row unknown = row_of(table, 1);
    CHECK((std::isnan(unknown.open) && std::isnan(unknown.low)));
    CHECK(unknown.run_length == 1);
    CHECK(flat_bar({0, 1}, std::int64_t{1} << 40, 0).run_length == 2'147'483'647);
}

TEST_CASE("memory that is given back may be used again", "[bar_table]") {
    trim_arena_cache();
    CHECK(arena_cache_bytes() == 0);
    constexpr std::size_t LARGE = std::size_t{8} << 20;
    {
        Arena arena(LARGE);
        REQUIRE(arena.data() != nullptr);
        CHECK(arena.size() >= LARGE);
        arena.data()[LARGE - 1] = std::byte{1};
        Arena taken(std::move(arena));
        CHECK(arena.data() == nullptr);
        CHECK(taken.data()[LARGE - 1] == std::byte{1});
        Arena other(LARGE);  // in use at once: not the same memory
        CHECK(other.data() != taken.data());
        other = std::move(taken);
        CHECK(other.data()[LARGE - 1] == std::byte{1});
    }
    CHECK(arena_cache_bytes() <= ARENA_CACHE_BYTES_MAX);
    std::set<std::byte*> blocks;
    {
        std::vector<Arena> arenas;
        for (int i = 0; i < 4; ++i) blocks.insert((arenas.emplace_back(LARGE)).data());
        CHECK(blocks.size() == 4);
    }
    trim_arena_cache();
    CHECK(arena_cache_bytes() == 0);
    blocks.clear();
    // As snapshots come, each a little larger than the one before.
    for (std::size_t more = 1; more < LARGE / 4; more += LARGE / 40)
        blocks.insert(Arena(LARGE + more).data());
    CHECK(blocks.size() == 1);
    trim_arena_cache();
    const Arena none;
    CHECK(none.data() == nullptr);
    CHECK(Arena(0).data() == nullptr);
}
