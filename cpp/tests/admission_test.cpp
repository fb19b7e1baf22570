#include "klineagg/admission.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "columns.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();
constexpr double INFINITE = std::numeric_limits<double>::infinity();
constexpr std::int64_t INT64_LOWEST = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t INT64_HIGHEST = std::numeric_limits<std::int64_t>::max();

/// A good trade with every column.
Table good_trade() {
    Table table;
    Trade trade;
    trade.time = WEDNESDAY;
    trade.price = 10.0;
    trade.quantity = 2.0;
    trade.id = 5;
    trade.last_id = 7;
    table.add(3, trade);
    table.has_ids = table.has_last_ids = table.has_flags = table.has_side = true;
    return table;
}

struct Case {
    std::string reason;
    void (*spoil)(Table&);
};

std::string judged(const Table& table, bool allow_nonpositive = false,
                   std::int64_t scale_ns = 1) {
    TradeColumns columns = table.view();
    columns.time_scale_ns = scale_ns;
    return std::string(reason_name(judge_row(columns, 0, allow_nonpositive)));
}

std::string judged_time(std::int64_t raw, std::int64_t scale_ns) {
    Table table = good_trade();
    table.time[0] = raw;
    return judged(table, false, scale_ns);
}

std::string judged_amounts(double price, double quantity, bool allow_nonpositive = false) {
    Table table = good_trade();
    table.price[0] = price;
    table.quantity[0] = quantity;
    return judged(table, allow_nonpositive);
}

std::string judged_ids(std::int64_t first, std::int64_t last) {
    Table table = good_trade();
    table.id[0] = first;
    table.last_id[0] = last;
    return judged(table);
}

}  // namespace

TEST_CASE("a good trade has no reason against it", "[admission]") {
    CHECK(judged(good_trade()) == "none");
    CHECK(REJECT_REASONS == 13);
    std::set<std::string> names;
    for (std::size_t i = 0; i <= REJECT_REASONS; ++i)
        names.insert(std::string(reason_name(static_cast<RejectReason>(i))));
    CHECK(names.size() == REJECT_REASONS + 1);
    // Part of the results that people read: a name never changes.
    for (const char* name :
         {"symbol_missing", "time_missing", "time_out_of_range", "price_not_finite",
          "price_not_positive", "price_out_of_range", "quantity_not_finite",
          "quantity_not_positive", "quantity_out_of_range", "value_out_of_range", "id_invalid",
          "count_overflow", "flags_invalid"}) {
        CHECK(names.count(name) == 1);
    }
}

TEST_CASE("symbols, flags and their absence", "[admission]") {
    Table table = good_trade();
    table.symbol[0] = -1;
    CHECK(judged(table) == "symbol_missing");
    table.symbol[0] = std::numeric_limits<std::int32_t>::min();
    CHECK(judged(table) == "symbol_missing");
    table.symbol[0] = std::numeric_limits<std::int32_t>::max();
    CHECK(judged(table) == "none");
    for (int flags = 0; flags < 256; ++flags) {
        table.flags[0] = static_cast<std::uint8_t>(flags);
        CHECK(judged(table) == (flags <= 7 ? "none" : "flags_invalid"));
    }
    table.has_flags = false;  // what is not there is not judged
    CHECK(judged(table) == "none");
}

TEST_CASE("times: missing, and outside 1900 to 2200 in any unit", "[admission]") {
    for (const std::int64_t scale : {1LL, 1'000LL, 1'000'000LL, 1'000'000'000LL}) {
        INFO("scale " << scale);
        CHECK(judged_time(INT64_LOWEST, scale) == "time_missing");
        CHECK(judged_time(TIME_MIN / scale, scale) == "none");
        CHECK(judged_time(TIME_MIN / scale - 1, scale) == "time_out_of_range");
        CHECK(judged_time(TIME_MAX / scale - 1, scale) == "none");
        CHECK(judged_time(TIME_MAX / scale, scale) == "time_out_of_range");
        // Times the scale these would wrap around into the allowed range.
        CHECK(judged_time(INT64_HIGHEST, scale) == "time_out_of_range");
        CHECK(judged_time(INT64_LOWEST + 1, scale) == "time_out_of_range");
        if (scale > 1) CHECK(judged_time(INT64_HIGHEST / scale * 2, scale) == "time_out_of_range");
    }
    CHECK(judged_time(1'709'078'400'000, 1'000'000) == "none");               // ms as ms
    CHECK(judged_time(1'709'078'400'000'000'000, 1'000) == "time_out_of_range");  // ns as us
}

TEST_CASE("prices: finite, positive unless asked, in 2^-100 ... 2^100", "[admission]") {
    CHECK(judged_amounts(NOT_A_NUMBER, 1.0) == "price_not_finite");
    CHECK(judged_amounts(INFINITE, 1.0) == "price_not_finite");
    CHECK(judged_amounts(-INFINITE, 1.0, true) == "price_not_finite");
    CHECK(judged_amounts(0.0, 1.0) == "price_not_positive");
    CHECK(judged_amounts(-0.0, 1.0) == "price_not_positive");
    CHECK(judged_amounts(-1.0, 1.0) == "price_not_positive");
    CHECK(judged_amounts(0.0, 1.0, true) == "none");
    CHECK(judged_amounts(-0.0, 1.0, true) == "none");
    CHECK(judged_amounts(-37.63, 1.0, true) == "none");
    for (const double sign : {1.0, -1.0}) {
        CHECK(judged_amounts(sign * 0x1p100, 1.0, true) == "none");
        CHECK(judged_amounts(sign * 0x1p-100, 1.0, true) == "none");
        CHECK(judged_amounts(sign * std::nextafter(0x1p100, INFINITE), 1.0, true) ==
              "price_out_of_range");
        CHECK(judged_amounts(sign * std::nextafter(0x1p-100, 0.0), 1.0, true) ==
              "price_out_of_range");
        CHECK(judged_amounts(sign * std::numeric_limits<double>::denorm_min(), 1.0, true) ==
              "price_out_of_range");
    }
}

TEST_CASE("quantities are positive, values in range", "[admission]") {
    CHECK(judged_amounts(1.0, NOT_A_NUMBER) == "quantity_not_finite");
    CHECK(judged_amounts(1.0, INFINITE) == "quantity_not_finite");
    for (const bool allow : {false, true}) {  // a negative price is a price, not so a quantity
        CHECK(judged_amounts(1.0, 0.0, allow) == "quantity_not_positive");
        CHECK(judged_amounts(1.0, -2.0, allow) == "quantity_not_positive");
    }
    CHECK(judged_amounts(1.0, 0x1p100) == "none");
    CHECK(judged_amounts(1.0, 0x1p-100) == "none");
    CHECK(judged_amounts(0x1p-40, std::nextafter(0x1p100, INFINITE)) == "quantity_out_of_range");
    CHECK(judged_amounts(0x1p40, std::nextafter(0x1p-100, 0.0)) == "quantity_out_of_range");
    CHECK(judged_amounts(0x1p50, 0x1p50) == "none");
    CHECK(judged_amounts(0x1p51, 0x1p50) == "value_out_of_range");
    CHECK(judged_amounts(0x1p-50, 0x1p-50) == "none");
    CHECK(judged_amounts(0x1p-51, 0x1p-50) == "value_out_of_range");
    CHECK(judged_amounts(-0x1p51, 0x1p50, true) == "value_out_of_range");
    CHECK(judged_amounts(0.0, 0x1p-100, true) == "none");  // zero is exact
}

TEST_CASE("ids of aggregated trades", "[admission]") {
    CHECK(judged_ids(5, 5) == "none");
    CHECK(judged_ids(5, 4) == "id_invalid");
    CHECK(judged_ids(-1, -1) == "none");
    CHECK(judged_ids(-1, 4) == "id_invalid");
    CHECK(judged_ids(-2, 4) == "id_invalid");
    CHECK(judged_ids(0, AGGREGATED_COUNT_MAX - 1) == "none");
    CHECK(judged_ids(0, AGGREGATED_COUNT_MAX) == "count_overflow");
    CHECK(judged_ids(0, INT64_HIGHEST) == "count_overflow");
    CHECK(judged_ids(INT64_HIGHEST, INT64_HIGHEST) == "none");
    CHECK(judged_ids(INT64_LOWEST, INT64_HIGHEST) == "id_invalid");
    CHECK(judged_ids(INT64_LOWEST, INT64_LOWEST) == "id_invalid");
}

TEST_CASE("the last id alone names a single trade", "[admission]") {
    Table table = good_trade();
    table.has_ids = false;
    const TradeColumns columns = table.view();
    REQUIRE(judge_row(columns, 0, false) == RejectReason::none);
    CHECK(trade_count_of(AnyRows(columns).trade(0)) == 1);
}

TEST_CASE("the value that is wrong is named", "[admission]") {
    const std::vector<std::pair<RejectReason, std::string>> expected{
        {RejectReason::symbol_missing, "3"},
        {RejectReason::time_out_of_range, std::to_string(WEDNESDAY)},
        {RejectReason::price_not_positive, "10"},
        {RejectReason::quantity_out_of_range, "2"},
        {RejectReason::value_out_of_range, "20"},
        {RejectReason::id_invalid, "5..7"},
        {RejectReason::count_overflow, "5..7"},
        {RejectReason::flags_invalid, "0"},
    };
    const Table table = good_trade();
    for (const auto& [reason, value] : expected) {
        INFO(reason_name(reason));
        CHECK(row_value(table.view(), 0, reason) == value);
        CHECK_FALSE(reason_column(reason).empty());
    }
}

TEST_CASE("what the test of whole blocks lets through is admissible row by row", "[admission]") {
    Rng rng(51);
    const auto plain = [](double price, double quantity, std::size_t rows, std::size_t at) {
        Table table;
        Trade trade;
        trade.time = WEDNESDAY;
        trade.price = trade.quantity = 1.0;
        for (std::size_t row = 0; row < rows; ++row) table.add(0, trade);
        table.price[at] = price;
        table.quantity[at] = quantity;
        const TradeColumns columns = table.view();
        const bool admissible = judge_row(columns, at, false) == RejectReason::none;
        return std::pair(amounts_plain(AnyRows(columns), 0, rows), admissible);
    };
    const std::vector<double> edges{
        0.0, -0.0, 1.0, -1.0, INFINITE, -INFINITE, NOT_A_NUMBER, -NOT_A_NUMBER, 0x1p50, 0x1p-50,
        std::nextafter(0x1p50, INFINITE), std::nextafter(0x1p-50, 0.0), 0x1p1023, -0x1p1023, 0x1p-1022,
        std::numeric_limits<double>::denorm_min(), -0x1p-1022, 0x1p101, 0x1p-101};
    int let_through = 0;
    int unsound = 0;
    int refused_plain = 0;  // amounts that the fast way was made for
    for (int round = 0; round < 40'000; ++round) {
        const auto any = [&]() -> double {
            if (chance(rng, 40)) return edges[pick(rng, edges.size())];
            return chance(rng, 50) ? std::bit_cast<double>(rng()) : wild_amount(rng);
        };
        const double price = any();
        const double quantity = chance(rng, 60) ? 1.0 : any();
        const std::size_t rows = 1 + pick(rng, 5);
        const auto [is_plain, admissible] = plain(price, quantity, rows, pick(rng, rows));
        let_through += is_plain;
        unsound += is_plain && !admissible;
        const auto usual = [](double x) { return x >= 0x1p-50 && x <= 0x1p50; };
        refused_plain += usual(price) && usual(quantity) && !is_plain;
    }
    CHECK(unsound == 0);
    CHECK(refused_plain == 0);
    CHECK(let_through > 5'000);
}
