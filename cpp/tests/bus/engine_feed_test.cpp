#include "klineagg/bus/engine_feed.hpp"

#include <atomic>
#include <limits>
#include <map>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "batch_run.hpp"
#include "bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/bus/trade_columns.hpp"
#include "klineagg/engine.hpp"
#include "klineagg/symbol_table.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::test;
using klineagg::bus::test::TestFolder;

namespace {

EngineOptions simulated(int workers, const std::shared_ptr<EngineFeed>& feed) {
    EngineOptions options;
    options.workers = workers;
    options.aggregator.late = LatePolicy::drop;
    options.aggregator.gaps = GapMode::none;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.lane_capacity = 64;
    options.observer = feed;
    return options;
}

/// Receives all there is; nothing may have been lost.
template <class Record>
std::vector<Record> drain(Subscriber& subscriber) {
    std::vector<Record> all;
    std::vector<Record> some(512);
    while (true) {
        const std::size_t count = subscriber.receive(std::span<Record>(some));
        if (count == 0) break;
        all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
    }
    REQUIRE(subscriber.lost() == 0);
    return all;
}

/// The id of a symbol of these tests.
std::int32_t id_of(std::int32_t number) {
    return symbol_table().intern("FEED" + std::to_string(number));
}

Table with_names(Table table) {
    for (std::int32_t& symbol : table.symbol) symbol = id_of(symbol);
    return table;
}

using Key = std::pair<std::string, std::string>;  // instrument, interval

std::map<Key, std::vector<Bar>> by_series(const std::vector<Bar>& bars) {
    std::map<Key, std::vector<Bar>> series;
    for (const Bar& bar : bars)
        series[{std::string(name_of(bar.instrument)), std::string(name_of(bar.interval))}]
            .push_back(bar);
    return series;
}

void check_same(const Bar& bar, const Row& row) {
    CHECK(bar.open_time == row.open_time);
    CHECK(bar.close_time == row.close_time);
    CHECK(bar.open == row.open);
    CHECK(bar.high == row.high);
    CHECK(bar.low == row.low);
    CHECK(bar.close == row.close);
    CHECK(bar.volume == row.sums[VOLUME]);
    CHECK(bar.quote_volume == row.sums[QUOTE_VOLUME]);
    CHECK(bar.trade_count == row.trade_count);
    CHECK(bar.taker_buy_volume == row.sums[TAKER_BUY_VOLUME]);
    CHECK(bar.first_trade_id == row.first.id);
    CHECK(bar.last_trade_time == row.last.time);
    CHECK(bar.flags == row.flags);
}

}  // namespace

TEST_CASE("an engine's closed bars and accepted trades are on the bus", "[bus][engine]") {
    const TestFolder place;
    EngineFeedOptions options;
    options.trades = "trade_events";
    const auto feed = std::make_shared<EngineFeed>(place.folder(), options);
    Subscriber bars(place.folder(), "bars", builtin_type("Bar"));
    Subscriber trades(place.folder(), "trade_events", builtin_type("TradeEvent"));
    Rng rng(611);
    TradeMix mix;
    mix.ids = mix.aggregated = mix.flags = true;
    const Table table = with_names(random_table(rng, 7, 4'000, mix));
    Engine engine(RollupPlan({Interval::parse("1m"), Interval::parse("5m")}), simulated(2, feed));
    engine.start();
    const auto producer = engine.producer("feed");
    REQUIRE(producer->push(table.view()).queued == table.size());
    Series closed;
    Snapshot snapshot = engine.take("lake");
    collect(snapshot.closed(), closed);
    engine.stop();

    std::size_t rows = 0;
    const auto series = by_series(drain<Bar>(bars));
    for (const auto& [key, expected] : closed) {
        const auto place_of = series.find({symbol_table().name(key.second), key.first == 0 ? "1m" : "5m"});
        REQUIRE(place_of != series.end());
        REQUIRE(place_of->second.size() == expected.size());
        for (std::size_t i = 0; i < expected.size(); ++i)
            check_same(place_of->second[i], expected[i]);
        rows += expected.size();
    }
    REQUIRE(rows > 100);
    CHECK(feed->counts().bars == rows);

    // What comes back is, for each symbol, what was pushed and not counted as late or repeated.
    const std::vector<TradeEvent> events = drain<TradeEvent>(trades);
    const EngineCounts counts = engine.counts();
    CHECK(static_cast<std::int64_t>(events.size()) ==
          static_cast<std::int64_t>(table.size()) - counts.late - counts.duplicates);
    const EventColumns back =
        event_columns(reinterpret_cast<const std::byte*>(events.data()), events.size());
    std::map<std::int32_t, std::vector<std::size_t>> pushed;
    for (std::size_t row = 0; row < table.size(); ++row)
        pushed[table.symbol[row]].push_back(row);
    std::map<std::int32_t, std::size_t> next;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const auto& rows_of = pushed.at(back.symbol[i]);
        std::size_t& at = next[back.symbol[i]];
        const auto is_it = [&](std::size_t row) {
            return table.time[row] == back.time[i] && table.price[row] == back.price[i] &&
                   table.quantity[row] == back.quantity[i] && table.id[row] == back.trade_id[i];
        };
        while (at < rows_of.size() && !is_it(rows_of[at])) ++at;
        REQUIRE(at < rows_of.size());
        ++at;
    }
    CHECK(bars.sources().front().alive == false);  // the engine has stopped
}

TEST_CASE("each symbol's records keep their order while symbols move", "[bus][engine]") {
    const TestFolder place;
    constexpr std::uint32_t WORKERS = 4;
    EngineFeedOptions options;
    options.name = "moving";
    options.trades = "trade_events";
    options.publishers = 2;
    const auto feed = std::make_shared<EngineFeed>(place.folder(), options);
    Subscriber trades(place.folder(), "trade_events", builtin_type("TradeEvent"));
    Subscriber bars(place.folder(), "bars", builtin_type("Bar"));
    Engine engine(RollupPlan({Interval::parse("1s")}), simulated(WORKERS, feed));
    engine.start();
    constexpr std::int64_t COUNT = 40'000;
    constexpr std::int32_t SYMBOLS = 16;
    std::vector<std::int32_t> ids;
    for (std::int32_t symbol = 0; symbol < SYMBOLS; ++symbol) ids.push_back(id_of(symbol));
    std::thread feeder([&] {
        const auto producer = engine.producer("feed");
        for (std::int64_t i = 0; i < COUNT; i += 100) {
            Table table;
            table.has_ids = true;
            for (std::int64_t j = i; j < i + 100; ++j) {
                Trade trade;
                trade.time = WEDNESDAY + j * 40'000'000;
                trade.price = trade.quantity = 1.0;
                trade.id = trade.last_id = j;
                table.add(ids[static_cast<std::size_t>(j % SYMBOLS)], trade);
            }
            (void)producer->push(table.view());
        }
    });
    Rng rng(7);
    std::vector<TradeEvent> events;
    std::vector<Bar> rows;
    const auto receive = [&] {
        for (const TradeEvent& event : drain<TradeEvent>(trades)) events.push_back(event);
        for (const Bar& bar : drain<Bar>(bars)) rows.push_back(bar);
    };
    std::size_t moved = 0;
    while (events.size() < static_cast<std::size_t>(COUNT)) {
        std::vector<std::pair<std::int32_t, std::uint32_t>> moves;
        for (const std::int32_t symbol : ids)
            if (chance(rng, 50))
                moves.emplace_back(symbol, static_cast<std::uint32_t>(pick(rng, WORKERS)));
        moved += engine.move(moves);
        receive();
    }
    feeder.join();
    engine.resize(2);
    engine.stop();
    receive();
    CHECK(moved > 0);
    std::map<std::string, std::int64_t> last;
    std::map<std::string, std::string> publishers;
    for (const TradeEvent& event : events) {
        const std::string symbol(name_of(event.instrument));
        const std::int64_t id = trade_ids(name_of(event.trade_id))->first;
        if (const auto before = last.find(symbol); before != last.end())
            REQUIRE(id == before->second + SYMBOLS);
        last[symbol] = id;
        publishers[symbol] = name_of(event.header.publisher);
    }
    REQUIRE(last.size() == SYMBOLS);
    std::map<std::string, TimeNs> closed_to;
    for (const Bar& bar : rows) {
        TimeNs& end = closed_to[std::string(name_of(bar.instrument))];
        REQUIRE(bar.open_time >= end);
        end = bar.close_time;
        CHECK(publishers[std::string(name_of(bar.instrument))] == name_of(bar.header.publisher));
    }
    CHECK(rows.size() > 1'000);
}

TEST_CASE("open bars are published when they have changed, the last state of each", "[bus][engine]") {
    const TestFolder place;
    EngineFeedOptions options;
    options.bars = options.open_bars = "bars";
    options.open_interval_ns = 2'000'000;
    const auto feed = std::make_shared<EngineFeed>(place.folder(), options);
    Subscriber bars(place.folder(), "bars", builtin_type("Bar"));
    EngineOptions with = simulated(1, feed);
    with.wait = engine::WaitKind::park;
    Engine engine(RollupPlan({Interval::parse("1m"), Interval::parse("1h")}), with);
    engine.start();
    const auto producer = engine.producer("feed");
    Table table;
    for (std::int64_t i = 0; i < 50; ++i) {
        Trade trade;
        trade.time = WEDNESDAY + i;
        trade.price = 100.0 + static_cast<double>(i);
        trade.quantity = 1.0;
        table.add(id_of(3), trade);
    }
    (void)producer->push(table.view());
    std::vector<Bar> rows;
    const auto wait_for = [&](std::int64_t trades) {
        std::size_t whole = 0;
        while (whole < 2) {  // one of each interval
            REQUIRE(bars.wait(engine::deadline_after(120 * NS_PER_SECOND)));
            for (const Bar& bar : drain<Bar>(bars)) {
                rows.push_back(bar);
                whole += bar.trade_count == trades ? 1U : 0U;
            }
        }
    };
    wait_for(50);  // also while the worker sleeps and nobody pushes
    CHECK(rows.back().close == 149.0);
    CHECK((rows.back().flags & BAR_CLOSED) == 0);
    const std::size_t before = rows.size();
    CHECK(before < 20);  // not one a trade
    (void)producer->push(table.view());
    wait_for(100);
    engine.advance(WEDNESDAY + NS_PER_MINUTE);
    REQUIRE(bars.wait(engine::deadline_after(120 * NS_PER_SECOND)));
    const std::vector<Bar> after = drain<Bar>(bars);
    CHECK((after.front().flags & BAR_CLOSED) != 0);
    CHECK(after.front().trade_count == 100);
    engine.stop();
}

TEST_CASE("names that do not fit are counted, and nothing is published for them", "[bus][engine]") {
    const TestFolder place;
    const auto feed = std::make_shared<EngineFeed>(place.folder(), EngineFeedOptions{});
    const std::int32_t symbol = symbol_table().intern("A_NAME_OF_MORE_THAN_SIXTEEN_BYTES");
    Engine engine(RollupPlan({Interval::parse("1s")}), simulated(1, feed));
    engine.start();
    Table table;
    for (std::int64_t i = 0; i < 10; ++i) {
        Trade trade;
        trade.time = WEDNESDAY + i * NS_PER_SECOND;
        trade.price = trade.quantity = 1.0;
        table.add(symbol, trade);
    }
    (void)engine.producer("feed")->push(table.view());
    engine.stop();
    CHECK(feed->counts().bars == 0);
    CHECK(feed->counts().unnamed == 9);
}

TEST_CASE("trade ids travel as text", "[bus]") {
    const auto text = [](std::int64_t first, std::int64_t last) {
        char field[40] = {};
        set_trade_id(field, first, last);
        return std::string(name_of(field));
    };
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    CHECK(text(17, 17) == "17");
    CHECK(text(17, 21) == "17-21");
    CHECK(text(NO_TRADE_ID, NO_TRADE_ID).empty());
    CHECK(trade_ids(text(most - 1, most)) == std::pair(most - 1, most));
    for (const char* wrong : {"", "x", "1x", "5-", "5-4", "-1", "5-6-7", "99999999999999999999"})
        CHECK_FALSE(trade_ids(wrong).has_value());
}
