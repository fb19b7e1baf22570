#include "klineagg/roll_rows.hpp"

#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr TimeNs BEGIN = WEDNESDAY;

/// Rows of minutes, each as it is asked for.
class Minutes {
public:
    /// A bar of one trade, with these flags beside CLOSED.
    Minutes& traded(int minute, double price, unsigned flags = 0) {
        Trade trade;
        trade.time = BEGIN + minute * NS_PER_MINUTE + 1;
        trade.price = price;
        trade.quantity = 0.5;
        trade.id = trade.last_id = minute;
        PartialBar bar;
        start_bar(bar, BEGIN + minute * NS_PER_MINUTE, BEGIN + (minute + 1) * NS_PER_MINUTE);
        add_trade(bar, trade);
        bar.flags = static_cast<std::uint16_t>(BAR_CLOSED | flags);
        bars_.push_back(bar);
        return *this;
    }
    /// So many bars in which nobody traded, as one row.
    Minutes& flat(int minute, int count, double price, unsigned flags = BAR_GAP) {
        const Span span{BEGIN + minute * NS_PER_MINUTE, BEGIN + (minute + count) * NS_PER_MINUTE};
        PartialBar bar = flat_bar(span, count, static_cast<std::uint16_t>(BAR_CLOSED | flags));
        bar.open = bar.close = price;
        bars_.push_back(bar);
        return *this;
    }
    [[nodiscard]] BarTable table() const {
        const auto count = static_cast<std::int64_t>(bars_.size());
        BarTable table(count, false);
        table.add_series({3, 0, 0, count});
        write_rows(table.columns(), 0, bars_.data(), bars_.size(), NO_PRICE);
        return table;
    }
    /// Bars of five minutes.
    [[nodiscard]] Rows rolled(int begin = 0, int end = 60) const {
        std::vector<Span> spans;
        for (int minute = begin; minute < end; minute += 5)
            spans.push_back({BEGIN + minute * NS_PER_MINUTE, BEGIN + (minute + 5) * NS_PER_MINUTE});
        Series series;
        collect(roll_rows(table(), spans), series);
        return series.empty() ? Rows{} : series.at({0, 3});
    }

private:
    std::vector<PartialBar> bars_;
};

bool is_refused(const Minutes& minutes) {
    try {
        (void)minutes.rolled();
    } catch (const Error& error) {
        return error.code() == ErrorCode::merge_mismatch;
    }
    return false;
}

}  // namespace

TEST_CASE("a run of gap bars lies in every coarser bar that it reaches into", "[roll_rows]") {
    const Rows rows = Minutes().traded(1, 10.0).flat(2, 16, 10.0).traded(18, 12.0).rolled();
    REQUIRE(rows.size() == 4);
    for (std::size_t i = 0; i < rows.size(); ++i)
        CHECK(rows[i].open_time == BEGIN + static_cast<TimeNs>(i) * 5 * NS_PER_MINUTE);
    CHECK((rows[0].trade_count == 1 && rows[3].trade_count == 1));
    CHECK(rows[0].flags == BAR_CLOSED);
    for (const Row& gap : {rows[1], rows[2]}) {
        CHECK(gap.flags == (BAR_CLOSED | BAR_GAP));
        CHECK((gap.open == 10.0 && gap.high == 10.0 && gap.low == 10.0 && gap.close == 10.0));
        CHECK((gap.sums[VOLUME] == 0.0 && gap.run_length == 1));
        CHECK((gap.first.id == NO_TRADE_ID && gap.last.time == TIME_NONE));
    }
    CHECK((rows[3].open == 12.0 && rows[3].low == 12.0));
}

TEST_CASE("what is known of finer bars is known of the coarser one", "[roll_rows]") {
    const Minutes minutes = Minutes()
                                .traded(0, 1.0)
                                .traded(1, 2.0, BAR_INCOMPLETE | BAR_REVISED)
                                .traded(5, 3.0, BAR_PARTIAL)
                                .flat(10, 1, 3.0, BAR_GAP | BAR_INCOMPLETE)
                                .traded(11, 4.0)
                                .flat(15, 1, 4.0, BAR_GENESIS)
                                .flat(16, 4, 4.0);
    const Rows rows = minutes.rolled();
    REQUIRE(rows.size() == 4);
    CHECK(rows[0].flags == (BAR_CLOSED | BAR_INCOMPLETE));
    CHECK(rows[1].flags == (BAR_CLOSED | BAR_PARTIAL));
    CHECK(rows[2].flags == (BAR_CLOSED | BAR_INCOMPLETE));
    CHECK(rows[3].flags == (BAR_CLOSED | BAR_GENESIS));
}

TEST_CASE("a gap bar is flat at its own rows' price, not at that of a bar far back", "[roll_rows]") {
    const Rows rows = Minutes().traded(0, 1.0).flat(40, 5, 7.0).rolled();
    REQUIRE(rows.size() == 2);  // of the time between there is no row
    CHECK((rows[1].open == 7.0 && rows[1].close == 7.0));
}

TEST_CASE("rows in no span are left out", "[roll_rows]") {
    const Minutes minutes = Minutes().traded(0, 1.0).traded(7, 2.0).traded(30, 3.0);
    const Rows rows = minutes.rolled(5, 25);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].open == 2.0);
    CHECK(minutes.rolled(40, 60).empty());
    CHECK(Minutes().rolled().empty());
}

TEST_CASE("rows that cannot be rolled up are refused", "[roll_rows]") {
    CHECK(is_refused(Minutes().traded(3, 1.0).traded(2, 1.0)));
    CHECK(is_refused(Minutes().traded(3, 1.0).traded(3, 1.0)));
    PartialBar wide;
    start_bar(wide, BEGIN + 4 * NS_PER_MINUTE, BEGIN + 6 * NS_PER_MINUTE);
    Trade trade;
    trade.time = wide.open_time;
    trade.price = trade.quantity = 1.0;
    add_trade(wide, trade);
    BarTable table(1, false);
    table.add_series({0, 0, 0, 1});
    write_row(table.columns(), 0, wide, NO_PRICE);
    const std::vector<Span> spans{{BEGIN, BEGIN + 5 * NS_PER_MINUTE}};
    CHECK_THROWS_AS((void)roll_rows(table, spans), Error);
}
