// Rows beyond the bound that lie in a file until somebody asks for them.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "batch_run.hpp"
#include "catch.hpp"
#include "klineagg/engine.hpp"
#include "klineagg/engine/row_file.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

constexpr std::int64_t BARS = 60'000;
constexpr std::size_t BLOCK = 3 * 4096;

/// A folder of its own, with nothing in it.
class Folder {
public:
    Folder() {
        std::string path = std::filesystem::temp_directory_path() / "klineagg-evict-XXXXXX";
        REQUIRE(mkdtemp(path.data()) != nullptr);
        path_ = path;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

EngineOptions evicting(const std::string& folder) {
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.aggregator.gaps = GapMode::none;
    options.aggregator.late = LatePolicy::drop;
    options.unacknowledged_rows_max = engine::ClosedLog::CHUNK_ROWS;
    options.on_bound = BoundPolicy::evict;
    options.eviction_folder = folder;
    options.lane_capacity = 1 << 17;
    return options;
}

/// One bar a trade, of two symbols in turn.
Table many_bars(std::int64_t from, std::int64_t to) {
    Table table;
    for (std::int64_t i = from; i < to; ++i) {
        Trade trade;
        trade.time = WEDNESDAY + i * NS_PER_SECOND;
        trade.price = 100.0 + static_cast<double>(i % 1000);
        trade.quantity = 1.0;
        table.add(static_cast<std::int32_t>(1 + i % 2), trade);
    }
    return table;
}

/// Each bar from `from` on, once and with its price.
void check_bars(const BarTable& rows, std::int64_t from, std::int64_t to) {
    std::vector<bool> seen(static_cast<std::size_t>(to), false);
    const BarColumns& columns = rows.columns();
    for (std::int64_t row = 0; row < rows.rows(); ++row) {
        const std::int64_t i = (columns.open_time[row] - WEDNESDAY) / NS_PER_SECOND;
        REQUIRE((i >= from && i < to));
        REQUIRE_FALSE(seen[static_cast<std::size_t>(i)]);
        seen[static_cast<std::size_t>(i)] = true;
        REQUIRE(columns.close[row] == 100.0 + static_cast<double>(i % 1000));
    }
    REQUIRE(std::count(seen.begin(), seen.end(), true) == to - from);
}

}  // namespace

TEST_CASE("blocks in a file are read as they were", "[engine][evict]") {
    const Folder folder;
    engine::RowFile file(folder.path(), BLOCK);
    std::vector<const void*> places;
    const auto block = [](int number) { return std::vector<std::byte>(BLOCK, std::byte(number)); };
    for (int round = 0; round < 3; ++round) {
        for (int number = 0; number < 10; ++number) {
            places.push_back(file.put(block(number).data()));
            REQUIRE(places.back() != nullptr);
        }
        REQUIRE(file.blocks() == 10);
        for (int number : {7, 2, 9}) {
            file.take_back(places[static_cast<std::size_t>(number)]);
            places[static_cast<std::size_t>(number)] = file.put(block(number).data());
        }
        for (int number = 0; number < 10; ++number) {
            const auto* const bytes =
                static_cast<const std::byte*>(places[static_cast<std::size_t>(number)]);
            REQUIRE(std::all_of(bytes, bytes + BLOCK,
                                [&](std::byte byte) { return byte == std::byte(number); }));
        }
        for (const void* place : places) file.take_back(place);
        REQUIRE(file.blocks() == 0);
        places.clear();
    }
    REQUIRE(std::filesystem::is_empty(folder.path()));  // it has no name
    engine::RowFile nowhere(folder.path() + "/none", BLOCK);
    REQUIRE(nowhere.put(block(1).data()) == nullptr);
}

TEST_CASE("rows beyond the bound lie in a file, and none is lost", "[engine][evict]") {
    const Folder folder;
    Engine engine(RollupPlan({Interval::parse("1s")}), evicting(folder.path()));
    engine.start();
    const auto producer = engine.producer("feed");
    Snapshot slow = engine.take("slow");
    REQUIRE(producer->push(many_bars(0, BARS).view()).queued == BARS);
    engine.flush();
    REQUIRE(engine.memory().closed_rows < BARS * sizeof(engine::BarRow) / 2);
    slow.nack();
    Snapshot again = engine.take("slow");
    REQUIRE(again.rows_lost() == 0);
    check_bars(again.closed(), 0, BARS - 2);
    Snapshot other = engine.take("other");  // it has its own place, and held nothing up
    check_bars(other.closed(), 0, BARS - 2);
    other.ack();
    again.ack();
    // It goes on behind them, as often as you like.
    for (std::int64_t from = BARS; from < 3 * BARS; from += BARS) {
        REQUIRE(producer->push(many_bars(from, from + BARS).view()).queued == BARS);
        engine.flush();
        Snapshot next = engine.take("slow");
        REQUIRE(next.rows_lost() == 0);
        check_bars(next.closed(), from - 2, from + BARS - 2);
        next.ack();
    }
    engine.stop();
}

TEST_CASE("what stops with rows in a file still has them", "[engine][evict]") {
    const Folder folder;
    Engine engine(RollupPlan({Interval::parse("1s")}), evicting(folder.path()));
    engine.start();
    { (void)engine.take("slow"); }
    const auto producer = engine.producer("feed");
    REQUIRE(producer->push(many_bars(0, BARS).view()).queued == BARS);
    engine.stop();  // applies the rest
    Snapshot slow = engine.take("slow");
    REQUIRE(slow.rows_lost() == 0);
    check_bars(slow.closed(), 0, BARS - 2);
    slow.ack();
}

TEST_CASE("where nothing can be evicted the workers wait", "[engine][evict]") {
    const Folder folder;
    Engine engine(RollupPlan({Interval::parse("1s")}), evicting(folder.path() + "/none"));
    engine.start();
    const auto producer = engine.producer("feed");
    { (void)engine.take("slow"); }
    REQUIRE(producer->push(many_bars(0, BARS).view()).queued == BARS);
    while (engine.counts().log_waits == 0) std::this_thread::yield();
    REQUIRE(engine.counts().applied < BARS);
    std::int64_t rows = 0;
    while (rows < BARS - 2) {
        Snapshot slow = engine.take("slow");
        REQUIRE(slow.rows_lost() == 0);
        rows += slow.closed().rows();
        slow.ack();
    }
    REQUIRE(rows == BARS - 2);
    engine.stop();
    EngineOptions nameless = evicting("");
    REQUIRE_THROWS_AS(Engine(RollupPlan({Interval::parse("1s")}), nameless), Error);
}
