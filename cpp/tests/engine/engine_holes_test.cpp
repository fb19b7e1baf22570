// Trades that a lane drops, also while their symbol changes its worker.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "engines.hpp"
#include "journal_runs.hpp"

using namespace klineagg;
using namespace klineagg::test;
using engine::LanePolicy;
using namespace std::chrono_literals;

namespace {

constexpr std::int32_t MOVED = 1;
constexpr std::int64_t IN_BAR = 4;  // trades of MOVED
constexpr DurationNs STEP = NS_PER_SECOND / IN_BAR;
constexpr std::size_t ENOUGH = 20;  // trades of MOVED that found no room
constexpr TimeNs LONG_ENOUGH = WEDNESDAY + 1'000 * NS_PER_SECOND;

/// Fills the lanes with trades of other symbols and offers one of MOVED behind them, again and
/// again; returns when the first bar begins that was not fed.
TimeNs feed_until(Producer& producer, LanePolicy policy, const std::atomic<bool>& over) {
    // Of what made room for others only the lane knows.
    std::size_t dropped = policy == LanePolicy::drop_newest ? 0 : ENOUGH;
    TimeNs time = WEDNESDAY;
    for (; !over.load() || time < LONG_ENOUGH || dropped < ENOUGH || time % NS_PER_SECOND != 0;
         time += STEP) {
        Table others;
        for (std::int32_t i = 0; i < 24; ++i) others.add(2 + i % 6, trade_at(time));
        (void)producer.push(others.view());
        dropped += static_cast<std::size_t>(producer.push(one_trade(MOVED, time).view()).dropped);
    }
    return time;
}

/// How many bars of MOVED before `end` have too few trades, and of those how many do not say that
/// any are missing.
struct Short {
    std::size_t all = 0;
    std::size_t silent = 0;

    Short(Engine& engine, TimeNs end, bool of_last_revisions) {
        std::map<TimeNs, std::pair<std::int64_t, bool>> rows;  // trades, flag
        const auto add = [&](const std::pair<std::int64_t, bool>& row) {
            if (row.first == 0 || row.first == IN_BAR) return;
            ++all;
            if (!row.second) ++silent;
        };
        const View view = engine.view();
        const Snapshot snapshot = engine.take("all");
        for (const BarTable* table : {&snapshot.closed(), view.open.get()}) {
            const BarColumns& at = table->columns();
            for (std::int64_t i = 0; i < table->rows(); ++i) {
                if (at.symbol[i] != MOVED || at.open_time[i] >= end || at.open_time[i] < WEDNESDAY)
                    continue;
                const std::pair row{at.trade_count[i], (at.flags[i] & BAR_INCOMPLETE) != 0};
                if (of_last_revisions) rows[at.open_time[i]] = row;
                else add(row);
            }
        }
        for (const auto& [open, row] : rows) add(row);
    }
};

using Change = std::function<void(Engine&, std::uint32_t turn)>;

void change_while_dropping(const Change& change, LanePolicy policy,
                           std::shared_ptr<FaultyFiles> log) {
    // What made room is known a moment after the rows behind it may have been taken: a bar that
    // closes then says so in its next revision, if it has any.
    const bool is_revised = policy == LanePolicy::drop_oldest;
    EngineOptions options = live_options(2, is_revised ? LatePolicy::amend : LatePolicy::drop);
    options.policy = policy;
    options.lane_capacity = 16;
    INFO((policy == LanePolicy::drop_newest ? "newest" : "oldest") << (log ? ", with a log" : ""));
    Logged run(parse_all({"1s"}), options, std::move(log));
    (void)run.producer->push(one_trade(MOVED, WEDNESDAY - NS_PER_SECOND).view());
    run.engine->flush();
    std::atomic<bool> over{false};
    TimeNs end = 0;
    std::thread feed([&] { end = feed_until(*run.producer, policy, over); });
    for (std::uint32_t turn = 0; turn < 200; ++turn) change(*run.engine, turn);
    over.store(true);
    feed.join();
    run.engine->flush();
    const Short bars(*run.engine, end, is_revised);
    CHECK(bars.all > 0);
    CHECK(bars.silent == 0);
    run.engine->stop();
}

}  // namespace

TEST_CASE("a dropped trade is known to its bar, wherever its symbol goes meanwhile",
          "[engine][threads]") {
    Change change;
    SECTION("it stays") {
        change = [](Engine&, std::uint32_t) { std::this_thread::sleep_for(1ms); };
    }
    SECTION("it moves to and fro") {
        change = [](Engine& engine, std::uint32_t turn) {
            (void)engine.move({{MOVED, turn % 2}}, NS_PER_MINUTE);
        };
    }
    SECTION("workers come and go") {
        change = [](Engine& engine, std::uint32_t turn) {
            engine.resize(1 + static_cast<int>(turn % 3), NS_PER_MINUTE);
        };
    }
    for (const LanePolicy policy : {LanePolicy::drop_newest, LanePolicy::drop_oldest}) {
        change_while_dropping(change, policy, nullptr);
        change_while_dropping(change, policy, std::make_shared<FaultyFiles>());
    }
}
