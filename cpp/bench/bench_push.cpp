// How fast one producer and one worker go, and what each of them costs in processor time, which says
// more than the wall clock on a machine that others use too.
//
//   bench_push DIRECTORY [rows]
//
// DIRECTORY has the columns of benchmarks/workload.py: symbol, time, price, quantity, side and
// trade_id, each as .npy.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "klineagg/engine.hpp"
#include "npy.hpp"
#include "threads_time.hpp"

using namespace klineagg;
using bench::Trades;

namespace {

constexpr std::size_t BATCH = 65'536;

struct Case {
    const char* name;
    std::vector<const char*> intervals;
    LatePolicy late;
    bool snapshots;
};

const std::vector<const char*> ONE{"1s"};
const std::vector<const char*> EIGHT{"1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d"};
const std::vector<const char*> SIXTEEN{"1s", "2s",  "5s",  "10s", "15s", "30s", "1m",  "3m",
                                       "5m", "15m", "30m", "1h",  "2h",  "4h",  "12h", "1d"};

struct Result {
    double rate;          // million trades a second, until all are applied
    double worker_ns;     // processor time of a trade
    double producer_ns;
    double take_ms = 0;
};

Result run(const Case& chosen, const Trades& trades, std::size_t rows) {
    EngineOptions options;
    options.aggregator.late = chosen.late;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = TIME_MAX;
    options.unacknowledged_rows_max = std::uint64_t{1} << 18U;
    std::vector<Interval> intervals;
    for (const char* name : chosen.intervals) intervals.push_back(Interval::parse(name));
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    const auto producer = engine.producer("bench");
    std::atomic<bool> over{false};
    std::vector<double> takes;
    std::thread taker;
    if (chosen.snapshots) {
        taker = std::thread([&] {
            while (!over.load()) {
                std::this_thread::sleep_for(std::chrono::milliseconds(100));
                const auto begin = engine::monotonic_ns();
                Snapshot snapshot = engine.take("bench");
                takes.push_back(static_cast<double>(engine::monotonic_ns() - begin) / 1e6);
                snapshot.ack();
            }
        });
    }
    const std::int64_t own = bench::own_time_ns();
    const auto begin = engine::monotonic_ns();
    for (std::size_t from = 0; from < rows; from += BATCH)
        (void)producer->push(trades.slice(from, std::min(BATCH, rows - from)));
    engine.flush();
    const auto seconds = static_cast<double>(engine::monotonic_ns() - begin) / 1e9;
    Result result{};
    const auto count = static_cast<double>(rows);
    result.rate = count / seconds / 1e6;
    result.producer_ns = static_cast<double>(bench::own_time_ns() - own) / count;
    result.worker_ns = static_cast<double>(bench::thread_time_ns("kla-worker-0")) / count;
    over.store(true);
    if (taker.joinable()) taker.join();
    if (!takes.empty()) {
        std::sort(takes.begin(), takes.end());
        result.take_ms = takes[takes.size() / 2];
    }
    if (engine.counts().applied != static_cast<std::int64_t>(rows)) std::puts("rows are missing");
    return result;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fputs("bench_push DIRECTORY [rows] [part of a case's name]\n", stderr);
        return 2;
    }
    const Trades trades(argv[1]);
    const std::size_t rows =
        argc > 2 ? std::min(trades.time.rows, std::strtoul(argv[2], nullptr, 10)) : trades.time.rows;
    const std::string wanted = argc > 3 ? argv[3] : "";
    const Case cases[] = {
        {"drop, 1 interval", ONE, LatePolicy::drop, false},
        {"drop, 8 intervals", EIGHT, LatePolicy::drop, false},
        {"drop, 16 intervals", SIXTEEN, LatePolicy::drop, false},
        {"amend, 1 interval", ONE, LatePolicy::amend, false},
        {"amend, 8 intervals", EIGHT, LatePolicy::amend, false},
        {"amend, 8 intervals, snapshots", EIGHT, LatePolicy::amend, true},
        {"amend, 16 intervals", SIXTEEN, LatePolicy::amend, false},
    };
    std::printf("%-32s %14s %18s %20s %10s\n", "", "M trades/s", "worker, ns/trade",
                "producer, ns/trade", "take, ms");
    for (int round = 0; round < 3; ++round) {
        for (const Case& chosen : cases) {
            if (std::string(chosen.name).find(wanted) == std::string::npos) continue;
            const Result result = run(chosen, trades, rows);
            std::printf("%-32s %14.1f %18.1f %20.1f %10.2f\n", chosen.name, result.rate,
                        result.worker_ns, result.producer_ns, result.take_ms);
            std::fflush(stdout);
        }
    }
}
