// How long a take of many symbols that all have changed is, and what it costs each thread.
//
//   bench_take [symbols] [takes] [seconds between]
//
// With seconds between takes above zero bars close meanwhile, so that coarse levels hold some.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "klineagg/engine.hpp"
#include "threads_time.hpp"

using namespace klineagg;

int main(int argc, char** argv) {
    const std::size_t symbols = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 10'000;
    const int takes = argc > 2 ? std::atoi(argv[2]) : 40;
    const std::int64_t seconds = argc > 3 ? std::atoll(argv[3]) : 0;
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = TIME_MAX;
    options.unacknowledged_rows_max = std::uint64_t{1} << 20U;
    std::vector<Interval> intervals;
    for (const char* name : {"1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d"})
        intervals.push_back(Interval::parse(name));
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    const auto producer = engine.producer("bench");
    std::vector<std::int32_t> symbol(symbols);
    for (std::size_t i = 0; i < symbols; ++i) symbol[i] = static_cast<std::int32_t>(i);
    const double price = 10.0;
    const double quantity = 1.0;
    TimeNs time = 1'741'651'200 * NS_PER_SECOND;
    TradeColumns trades;
    trades.size = symbols;
    trades.symbol = {reinterpret_cast<const char*>(symbol.data()), sizeof symbol[0]};
    trades.time = {reinterpret_cast<const char*>(&time), 0};
    trades.price = {reinterpret_cast<const char*>(&price), 0};
    trades.quantity = {reinterpret_cast<const char*>(&quantity), 0};
    std::vector<double> took;
    std::vector<double> own;
    std::vector<double> worker;
    Snapshot last = engine.take("bench");  // of a consumer that is new: without any row
    last.ack();
    for (int i = 0; i < takes; ++i) {
        time += seconds != 0 ? seconds * NS_PER_SECOND : 1'000'000;
        (void)producer->push(trades);
        engine.flush();
        const std::int64_t own_ns = bench::own_time_ns();
        const std::int64_t worker_ns = bench::thread_time_ns("kla-worker");
        const auto begin = engine::monotonic_ns();
        Snapshot snapshot = engine.take("bench");
        took.push_back(static_cast<double>(engine::monotonic_ns() - begin) / 1e6);
        own.push_back(static_cast<double>(bench::own_time_ns() - own_ns) / 1e6);
        worker.push_back(static_cast<double>(bench::thread_time_ns("kla-worker") - worker_ns) / 1e6);
        if (snapshot.open().rows() != static_cast<std::int64_t>(8 * symbols)) std::puts("rows miss");
        snapshot.ack();
        last = std::move(snapshot);
    }
    const double least = *std::min_element(took.begin(), took.end());
    const auto middle = [](std::vector<double>& values) {
        std::sort(values.begin(), values.end());
        return values[values.size() / 2];
    };
    std::printf("take %.2f ms (least %.2f), the caller's time %.2f ms, the worker's %.2f ms\n",
                middle(took), least, middle(own), middle(worker));
}
