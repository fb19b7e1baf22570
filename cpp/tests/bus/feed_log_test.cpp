// Topics with logs: their numbers are the sequences, and an engine that goes on from its own log
// publishes the rest of what was accepted, nothing twice.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "engine/journal_runs.hpp"
#include "klineagg/bus/engine_feed.hpp"
#include "klineagg/bus/posted.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/symbol_table.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::test;
using namespace klineagg::bus::test;

namespace {

constexpr std::uint64_t TO_THE_END = std::numeric_limits<std::uint64_t>::max();

template <class Record>
std::vector<Record> logged(const std::string& root, const std::string& topic,
                           const std::string& publisher, const RecordType& type) {
    if (!std::filesystem::exists(log_directory(root, topic, publisher))) return {};
    LogReplay replay(log_directory(root, topic, publisher), type, 1, TO_THE_END);
    std::vector<std::byte> bytes;
    while (replay.next(bytes)) {
    }
    std::vector<Record> records(bytes.size() / sizeof(Record));
    std::memcpy(records.data(), bytes.data(), bytes.size());
    return records;
}

template <class Record>
void check_sequences(const std::vector<Record>& records) {
    for (std::size_t i = 0; i < records.size(); ++i) REQUIRE(records[i].header.sequence == i + 1);
}

// What the records say, without the numbers that publishing gives them.
using TradeText = std::tuple<std::string, std::string, TimeNs, double, double>;
using BarText = std::tuple<std::string, std::string, TimeNs, std::int32_t, double, double,
                           std::int64_t, std::uint16_t>;

std::map<std::string, std::vector<TradeText>> by_symbol(const std::vector<TradeEvent>& events) {
    std::map<std::string, std::vector<TradeText>> out;
    for (const TradeEvent& event : events) {
        const std::string name(name_of(event.instrument));
        out[name].emplace_back(name, name_of(event.trade_id), event.time, event.price,
                               event.volume);
    }
    return out;
}

std::vector<BarText> sorted(const std::vector<Bar>& bars) {
    std::vector<BarText> out;
    for (const Bar& bar : bars)
        out.emplace_back(name_of(bar.instrument), name_of(bar.interval), bar.open_time,
                         bar.revision, bar.close, bar.volume, bar.trade_count, bar.flags);
    std::sort(out.begin(), out.end());
    return out;
}

std::string differences(const std::vector<BarText>& found, const std::vector<BarText>& wanted) {
    std::string text;
    const auto tell = [&](const char* what, const auto& a, const auto& b) {
        std::vector<BarText> only;
        std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(only));
        for (std::size_t i = 0; i < std::min<std::size_t>(only.size(), 8); ++i) {
            const auto& [symbol, interval, open, revision, close, volume, count, flags] = only[i];
            text += std::string(what) + symbol + ' ' + interval + " at " + std::to_string(open) +
                    " revision " + std::to_string(revision) + " trades " + std::to_string(count) +
                    " flags " + std::to_string(flags) + '\n';
        }
    };
    tell("missing: ", wanted, found);
    tell("too much: ", found, wanted);
    return text;
}

/// What the topics of one feed have.
struct Told {
    std::vector<std::string> publishers;
    std::vector<std::vector<TradeEvent>> trades;
    std::vector<std::vector<Bar>> bars;

    explicit Told(const std::string& root, int count) {
        for (int i = 0; i < count; ++i) {
            publishers.push_back(count == 1 ? "engine" : "engine-" + std::to_string(i));
            trades.push_back(logged<TradeEvent>(root, "trade_events", publishers.back(),
                                                builtin_type("TradeEvent")));
            bars.push_back(logged<Bar>(root, "bars", publishers.back(), builtin_type("Bar")));
            check_sequences(trades.back());
            check_sequences(bars.back());
        }
    }
    std::map<std::string, std::vector<TradeText>> all_trades() const {
        std::map<std::string, std::vector<TradeText>> out;
        for (const auto& each : trades) out.merge(by_symbol(each));  // a symbol is in one of them
        return out;
    }
    std::vector<BarText> all_bars() const {
        std::vector<Bar> all;
        for (const auto& each : bars) all.insert(all.end(), each.begin(), each.end());
        return sorted(all);
    }
    std::size_t count() const {
        std::size_t records = 0;
        for (const auto& each : trades) records += each.size();
        for (const auto& each : bars) records += each.size();
        return records;
    }
};

/// Another folder of logs, which ends earlier: the process was killed.
/// Not within `kept`, which was there when a checkpoint was taken.
void cut_short(const Told& told, const Told& kept, const std::string& root, const std::string& to,
               Rng& rng) {
    const TestFolder rings;
    const auto copy = [&](const std::string& topic, const std::string& publisher,
                          const char* type, const auto& records, std::size_t least) {
        LoggedPublisher part(rings.folder(), topic, publisher, builtin_type(type), to);
        const std::size_t count = least + pick(rng, records.size() - least + 1);
        part.publish(reinterpret_cast<const std::byte*>(records.data()), count);
        part.close();
    };
    for (std::size_t i = 0; i < told.publishers.size(); ++i) {
        copy("trade_events", told.publishers[i], "TradeEvent", told.trades[i],
             kept.trades[i].size());
        copy("bars", told.publishers[i], "Bar", told.bars[i], kept.bars[i].size());
    }
    std::filesystem::copy_file(root + "/engine-log", to + "/engine-log");
}

EngineOptions options_with(int workers, std::shared_ptr<EngineFeed> feed) {
    EngineOptions options;
    options.workers = workers;
    options.aggregator.late = LatePolicy::amend;
    options.aggregator.gaps = GapMode::runs;
    options.aggregator.amend_horizon_ns = 10 * NS_PER_MINUTE;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.lane_capacity = 64;
    options.observer = std::move(feed);
    return options;
}

std::shared_ptr<EngineFeed> feed_on(const TestFolder& rings, const std::string& root,
                                    int publishers) {
    EngineFeedOptions options;
    options.trades = "trade_events";
    options.publishers = publishers;
    options.log_root = root;
    options.log.ring_bytes = 1U << 20U;
    options.log.segment_bytes = 1U << 18U;
    return std::make_shared<EngineFeed>(rings.folder(), options);
}

const std::vector<Interval>& intervals() {
    static const std::vector<Interval> all{Interval::parse("1s"), Interval::parse("1m"),
                                           Interval::parse("1h")};
    return all;
}

/// Some of it late or repeated.
Table disordered(Rng& rng) {
    TradeMix mix;
    mix.ids = mix.aggregated = true;
    Table table = random_table(rng, 6, 1'500, mix);
    for (std::int32_t& symbol : table.symbol)
        symbol = symbol_table().intern("LOGGED" + std::to_string(symbol));
    Table out;
    out.has_ids = out.has_last_ids = true;
    for (std::size_t row = 0; row < table.size(); ++row) {
        const std::size_t from = row > 40 && chance(rng, 5) ? row - pick(rng, 40) : row;
        Trade trade;
        trade.time = table.time[from];
        trade.price = table.price[from];
        trade.quantity = table.quantity[from];
        trade.id = table.id[from];
        trade.last_id = table.last_id[from];
        out.add(table.symbol[from], trade);
    }
    return out;
}

}  // namespace

TEST_CASE("posted records are shown when their log has them, under its numbers", "[bus]") {
    const TestFolder place;
    const TestFolder root;
    PublisherOptions options;
    options.ring_bytes = checked_bytes(256);  // many rounds: who posts has to wait for the log
    Subscriber subscriber(place.folder(), "ticks", checked_type());
    std::vector<Checked> live;
    constexpr std::size_t EACH = 5'000;
    {
        PostedPublisher publisher(place.folder(), "ticks", "a", checked_type(), root.path(),
                                  options, {});
        std::atomic<int> left{3};
        std::vector<std::thread> threads;
        for (std::uint64_t seed = 1; seed <= 3; ++seed) {
            threads.emplace_back([&, seed] {
                Rng rng(seed);
                for (std::size_t sent = 0; sent < EACH;) {
                    std::vector<Checked> batch(std::min(EACH - sent, 1 + pick(rng, 20)));
                    for (auto& record : batch) record = Checked::of(seed << 32U | sent++);
                    publisher.post(std::span<const Checked>(batch));
                }
                --left;
            });
        }
        std::vector<Checked> some(64);
        const auto receive = [&] {
            const std::size_t got = subscriber.receive(std::span<Checked>(some));
            live.insert(live.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(got));
            return got;
        };
        while (left.load() != 0) {
            // Nothing is seen that the log has not accepted.
            const std::uint64_t shown = publisher.publisher().next_sequence() - 1;
            REQUIRE(publisher.log().accepted() >= shown);
            (void)receive();
        }
        for (auto& thread : threads) thread.join();
        publisher.close();
        CHECK_THROWS_AS(publisher.post(std::span<const Checked>(some).first(1)), Error);
        while (receive() != 0) {
        }
    }
    CHECK(live.size() + subscriber.lost() == 3 * EACH);
    const auto all = logged<Checked>(root.path(), "ticks", "a", checked_type());
    REQUIRE(all.size() == 3 * EACH);
    check_sequences(all);
    std::map<std::uint64_t, std::uint64_t> next;  // of each thread, in its order
    for (const Checked& record : all) {
        bool found = false;
        for (std::uint64_t seed = 1; seed <= 3 && !found; ++seed) {
            found = record.is(seed << 32U | next[seed]);
            if (found) ++next[seed];
        }
        REQUIRE(found);
    }
    for (const Checked& record : live)
        REQUIRE(std::memcmp(&record, &all[record.header.sequence - 1], sizeof record) == 0);
}

TEST_CASE("an engine that goes on publishes what is missing, and nothing twice",
          "[bus][engine][journal]") {
    const auto seed = GENERATE(1U, 2U, 3U, 4U);
    Rng rng(900 + seed);
    const int workers = 1 + static_cast<int>(seed % 2);
    const int publishers = seed <= 2 ? 1 : 3;
    const TestFolder rings;
    const TestFolder root;
    const auto disk = std::make_shared<FaultyFiles>();
    const Table table = disordered(rng);
    const std::size_t half = table.size() / 2;
    auto kept = std::make_unique<Told>(root.path(), publishers);  // nothing
    INFO("seed " << seed);
    {
        Logged run(intervals(), options_with(workers, feed_on(rings, root.path(), publishers)),
                   disk);
        REQUIRE(run.producer->push(table.view(0, half)).queued == half);
        if (seed % 2 == 0) {
            Snapshot snapshot = run.take(true);
            kept = std::make_unique<Told>(root.path(), publishers);
            snapshot.ack();
        }
        run.engine->stop();
    }
    {
        // A clean stop and a start: nothing comes again.
        const Told before(root.path(), publishers);
        Logged run(intervals(), options_with(workers, feed_on(rings, root.path(), publishers)),
                   disk);
        REQUIRE(Told(root.path(), publishers).count() == before.count());
        (void)run.producer->push(table.view(half, table.size()));
        run.engine->flush();
        run.engine->advance(WEDNESDAY + 40 * NS_PER_DAY);
        run.engine->stop();
    }
    const Told whole(root.path(), publishers);
    REQUIRE(whole.count() > table.size());
    for (int round = 0; round < 4; ++round) {
        const TestFolder after;   // the machine's memory is gone, too
        const TestFolder copied;
        std::filesystem::create_directories(copied.path());
        cut_short(whole, *kept, root.path(), copied.path(), rng);
        {
            const auto feed = feed_on(after, copied.path(), publishers);
            Logged run(intervals(), options_with(1 + static_cast<int>(pick(rng, 3)), feed), disk);
            run.engine->stop();
        }
        const Told again(copied.path(), publishers);
        CHECK((again.all_trades() == whole.all_trades()));
        CHECK(differences(again.all_bars(), whole.all_bars()) == "");
    }
}

TEST_CASE("what another log of an engine says is no reason to leave anything out",
          "[bus][engine][journal]") {
    Rng rng(77);
    const TestFolder rings;
    const TestFolder root;
    const Table table = disordered(rng);
    std::size_t told = 0;
    for (int life = 1; life <= 2; ++life) {  // its log is lost, the topics' logs are not
        const auto disk = std::make_shared<FaultyFiles>();
        for (int start = 0; start < 2; ++start) {
            const auto feed = feed_on(rings, root.path(), 1);
            Logged run(intervals(), options_with(1, feed), disk);
            if (start == 0) REQUIRE(run.producer->push(table.view()).queued == table.size());
            run.engine->stop();
            if (start == 0) told += feed->counts().trades;
            else CHECK(feed->counts().trades == 0);
        }
    }
    const Told all(root.path(), 1);
    CHECK(all.trades[0].size() == told);
    CHECK(told > table.size());  // the same ones twice
}
