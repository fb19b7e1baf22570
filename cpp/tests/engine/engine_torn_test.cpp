// Rows of snapshots that are taken all the time from an engine at full rate, each checked by itself.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

// Everything about a trade follows from its id, and so everything about a bar from its first and
// last one: a row that was put together from two moments does not agree with itself.
constexpr TimeNs STEP = 3'000'000;
constexpr std::int64_t CYCLE = 1'024;
constexpr double QUANTITY = 0.5;
constexpr std::int32_t SYMBOLS = 50;

TimeNs time_of(std::int64_t id) { return WEDNESDAY + id * STEP; }
double price_of(std::int64_t id) { return 1.0 + static_cast<double>(id % CYCLE) / CYCLE; }

/// Of the prices of all ids below `end`; exact.
double sum_of_prices(std::int64_t end) {
    const std::int64_t rest = end % CYCLE;
    const std::int64_t parts = end / CYCLE * (CYCLE * (CYCLE - 1) / 2) + rest * (rest - 1) / 2;
    return static_cast<double>(end) + static_cast<double>(parts) / CYCLE;
}

double highest(std::int64_t first, std::int64_t last) {
    return first / CYCLE == last / CYCLE ? price_of(last) : price_of(CYCLE - 1);
}

double lowest(std::int64_t first, std::int64_t last) {
    return first / CYCLE == last / CYCLE ? price_of(first) : price_of(0);
}

bool agrees(const BarColumns& at, std::int64_t row) {
    const std::int64_t first = at.first_trade_id[row];
    const std::int64_t last = at.last_trade_id[row];
    const std::int64_t count = last - first + 1;
    const std::int64_t bought = (last + 1) / 2 - first / 2;  // the odd ids
    const auto volume = QUANTITY * static_cast<double>(count);
    const double value = QUANTITY * (sum_of_prices(last + 1) - sum_of_prices(first));
    // A bar passes its highest price unless it ends before the cycle does.
    const bool wraps = first / CYCLE != last / CYCLE;
    const double low = wraps ? std::min(price_of(first), lowest(first, last)) : lowest(first, last);
    return first >= 0 && count > 0 && at.trade_count[row] == count &&
           at.open[row] == price_of(first) && at.close[row] == price_of(last) &&
           at.high[row] == highest(first, last) && at.low[row] == low && at.volume[row] == volume &&
           at.quote_volume[row] == value &&
           at.taker_buy_volume[row] == QUANTITY * static_cast<double>(bought) &&
           at.first_trade_time[row] == time_of(first) && at.last_trade_time[row] == time_of(last) &&
           at.open_time[row] <= time_of(first) && time_of(last) < at.close_time[row];
}

std::string text_of(const BarColumns& at, std::int64_t row) {
    std::ostringstream text;
    text << "interval " << at.interval[row] << " open time "
         << at.open_time[row] - WEDNESDAY << " ids " << at.first_trade_id[row] << " to "
         << at.last_trade_id[row] << " count " << at.trade_count[row] << " prices " << at.open[row]
         << ' ' << at.high[row] << ' ' << at.low[row] << ' ' << at.close[row] << " sums "
         << at.volume[row] << ' ' << at.quote_volume[row] << ' ' << at.taker_buy_volume[row]
         << " flags " << at.flags[row];
    return text.str();
}

struct Checked {
    std::int64_t rows = 0;
    std::int64_t torn = 0;
    std::string first_torn;

    void look_at(const BarTable& table) {
        const BarColumns& at = table.columns();
        for (std::int64_t row = 0; row < table.rows(); ++row) {
            if (agrees(at, row)) continue;
            if (torn++ == 0) first_torn = text_of(at, row);
        }
        rows += table.rows();
    }
};

void push_until(Producer& producer, const std::atomic<bool>& over) {
    for (std::int64_t id = 0; !over.load(); id += 400) {
        Table table;
        table.has_ids = true;
        for (std::int64_t i = id; i < id + 400; ++i) {
            for (std::int32_t symbol = 0; symbol < SYMBOLS; ++symbol) {
                Trade trade;
                trade.time = time_of(i);
                trade.price = price_of(i);
                trade.quantity = QUANTITY;
                trade.taker_buy = i % 2 == 1;
                trade.id = trade.last_id = i;
                table.add(symbol, trade);
            }
        }
        (void)producer.push(table.view());
    }
}

Checked check_rows(std::int64_t wanted) {
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.workers = 2;
    options.aggregator.gaps = GapMode::none;
    std::vector<Interval> intervals;
    for (const char* name : {"1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d"})
        intervals.push_back(Interval::parse(name));
    Engine engine(RollupPlan(intervals), options);
    engine.start();
    const auto producer = engine.producer("feed");
    std::atomic<bool> over{false};
    std::thread pushing([&] { push_until(*producer, over); });
    Checked total;
    std::array<Checked, 2> each;
    std::atomic<std::int64_t> rows{0};
    std::vector<std::thread> taking;
    for (std::size_t i = 0; i < each.size(); ++i) {
        taking.emplace_back([&, i] {
            while (rows.load() < wanted) {
                const std::int64_t before = each[i].rows;
                Snapshot snapshot = engine.take(i == 0 ? "lake" : "feed");
                each[i].look_at(snapshot.closed());
                each[i].look_at(snapshot.open());
                // Sometimes given back: the same rows come again, and newer state on top.
                if (each[i].rows % 7 == 0) snapshot.nack();
                else snapshot.ack();
                if (i == 0) each[i].look_at(*engine.view().open);
                rows.fetch_add(each[i].rows - before);
            }
        });
    }
    for (std::thread& thread : taking) thread.join();
    over.store(true);
    pushing.join();
    for (const Checked& one : each) {
        total.rows += one.rows;
        total.torn += one.torn;
        if (!one.first_torn.empty()) total.first_torn = one.first_torn;
    }
    engine.stop();
    return total;
}

}  // namespace

TEST_CASE("no row of a snapshot is torn", "[engine][torn]") {
    const Checked checked = check_rows(200'000);
    REQUIRE(checked.rows >= 200'000);
    INFO(checked.first_torn);
    REQUIRE(checked.torn == 0);
}

TEST_CASE("no row of a hundred million is torn", "[.slow][torn]") {
    const char* const text = std::getenv("KLINEAGG_TORN_ROWS");  // NOLINT(concurrency-mt-unsafe)
    const std::int64_t rows = text == nullptr ? 100'000'000 : std::strtoll(text, nullptr, 10);
    const Checked checked = check_rows(rows);
    REQUIRE(checked.rows >= rows);
    INFO(checked.first_torn);
    REQUIRE(checked.torn == 0);
}
