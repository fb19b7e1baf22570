// Trades that a lane drops, also while their symbol changes its worker.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include <pthread.h>

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

std::atomic<const Producer*> watched{nullptr};
std::atomic<int> naps_left{0};
std::atomic<int> naps{0};

/// Who is in the middle of dropping, in front of a cut maybe, sleeps there for a while.
extern "C" void nap_while_dropping(int) {
    const Producer* const producer = watched.load();
    if (producer == nullptr) return;
    bool dropping = false;
    for (const auto& intake : producer->intakes())
        dropping |= intake->is_gated() && intake->lane.is_evicting();
    if (!dropping || naps_left.fetch_sub(1) <= 0) return;
    naps.fetch_add(1);
    const timespec nap{0, 500'000};
    (void)nanosleep(&nap, nullptr);
}

/// Calls the handler above in a thread, again and again.
class Napping {
public:
    Napping(std::thread& feed, const Producer& producer) {
        watched.store(&producer);
        std::signal(SIGUSR1, nap_while_dropping);
        caller_ = std::thread([this, &feed] {
            for (; !over_.load(); std::this_thread::sleep_for(5us))
                (void)pthread_kill(feed.native_handle(), SIGUSR1);
        });
    }
    ~Napping() {
        over_.store(true);
        caller_.join();
        watched.store(nullptr);
        std::signal(SIGUSR1, SIG_IGN);  // one may be on its way still
    }
    Napping(const Napping&) = delete;
    Napping& operator=(const Napping&) = delete;

private:
    std::atomic<bool> over_{false};
    std::thread caller_;
};

/// Lets the lanes of a worker fill up while a symbol is to move.
struct SlowWorker final : engine::AcceptObserver {
    void accepted(std::uint32_t, std::span<const engine::LaneRecord>, std::uint64_t,
                  const engine::SlotTable&) noexcept override {
        if (naps_left.load() > 0) std::this_thread::sleep_for(200us);
    }
};

void change_while_dropping(const Change& change, LanePolicy policy,
                           std::shared_ptr<FaultyFiles> log, bool napping = false) {
    // What made room is known a moment after the rows behind it may have been taken: a bar that
    // closes then says so in its next revision, if it has any.
    const bool is_revised = policy == LanePolicy::drop_oldest;
    EngineOptions options = live_options(2, is_revised ? LatePolicy::amend : LatePolicy::drop);
    options.policy = policy;
    options.lane_capacity = napping ? 512 : 16;
    if (napping) options.journal.observer = std::make_shared<SlowWorker>();
    INFO((policy == LanePolicy::drop_newest ? "newest" : "oldest") << (log ? ", with a log" : ""));
    Logged run(parse_all({"1s"}), options, std::move(log));
    (void)run.producer->push(one_trade(MOVED, WEDNESDAY - NS_PER_SECOND).view());
    run.engine->flush();
    std::atomic<bool> over{false};
    TimeNs end = 0;
    std::thread feed([&] { end = feed_until(*run.producer, policy, over); });
    {
        const auto naps_of =
            napping ? std::make_unique<Napping>(feed, *run.producer) : nullptr;
        for (std::uint32_t turn = 0; turn < 200; ++turn) change(*run.engine, turn);
    }
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

// Between making room in a lane and saying what was dropped for that a producer may be put to
// sleep. The symbol of what was dropped must not be another worker's by then, nor its slot another
// symbol's.
TEST_CASE("a producer that sleeps while it drops holds up the symbols that move", "[engine]") {
    const auto moves = [](Engine& engine, std::uint32_t turn) {
        naps_left.store(2);
        (void)engine.move({{MOVED, turn % 2}}, NS_PER_MINUTE);
        naps_left.store(0);
    };
    naps.store(0);
    change_while_dropping(moves, LanePolicy::drop_oldest, std::make_shared<FaultyFiles>(), true);
    CHECK(naps.load() > 0);
}
