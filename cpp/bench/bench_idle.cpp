// What an engine with nothing to do costs, by the way its workers wait, and what a short life
// costs.
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <thread>

#include "klineagg/engine.hpp"

using namespace klineagg;

namespace {

std::int64_t processor_ns() {
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<std::int64_t>(used.tv_sec) * NS_PER_SECOND + used.tv_nsec;
}

EngineOptions options_of(engine::WaitKind wait, int workers) {
    EngineOptions options;
    options.wait = wait;
    options.workers = workers;
    return options;
}

/// Percent of one core. `open`: with bars of the present that a clock has to close.
double idle_percent(engine::WaitKind wait, int workers, bool open) {
    Engine engine{RollupPlan({Interval::parse("1s"), Interval::parse("1m")}),
                  options_of(wait, workers)};
    engine.start();
    const auto producer = engine.producer("bench");
    for (int symbol = 0; open && symbol < 100; ++symbol) {
        Trade trade;
        trade.time = engine::SystemClock().now();
        trade.price = trade.quantity = 1.0;
        (void)producer->push_one(symbol, trade);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const std::int64_t before = processor_ns();
    constexpr int SECONDS = 3;
    std::this_thread::sleep_for(std::chrono::seconds(SECONDS));
    return static_cast<double>(processor_ns() - before) / 1e7 / SECONDS;
}

}  // namespace

int main() {
    std::printf("%-10s %8s %12s %14s\n", "wait", "workers", "bars open", "% of a core");
    for (const int workers : {1, 4}) {
        for (const bool open : {false, true}) {
            std::printf("%-10s %8d %12s %14.3f\n", "park", workers, open ? "yes" : "no",
                        idle_percent(engine::WaitKind::park, workers, open));
            std::printf("%-10s %8d %12s %14.3f\n", "backoff", workers, open ? "yes" : "no",
                        idle_percent(engine::WaitKind::backoff, workers, open));
        }
    }
    constexpr int ENGINES = 200;
    const auto begin = engine::monotonic_ns();
    const std::int64_t before = processor_ns();
    for (int i = 0; i < ENGINES; ++i) {
        Engine engine{RollupPlan({Interval::parse("1s")}), options_of(engine::WaitKind::backoff, 1)};
        engine.start();
        engine.stop();
    }
    std::printf("one engine made, started, stopped: %.2f ms, %.2f ms of a processor\n",
                static_cast<double>(engine::monotonic_ns() - begin) / 1e6 / ENGINES,
                static_cast<double>(processor_ns() - before) / 1e6 / ENGINES);
}
