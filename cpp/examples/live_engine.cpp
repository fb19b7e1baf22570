// Trades in, bars out: a live engine with one worker, on a clock that the program moves.
#include <cstdio>
#include <memory>
#include <vector>

#include "klineagg/engine.hpp"

using namespace klineagg;

int main() {
    const TimeNs start = 1'704'067'200 * NS_PER_SECOND;  // 2024-01-01 00:00:00 UTC
    const auto clock = std::make_shared<engine::SimulatedClock>(start);

    EngineOptions options;
    options.clock = clock;
    options.wait = engine::WaitKind::park;
    options.max_ahead_ns = 2 * NS_PER_MINUTE;  // trades come before the clock is advanced to them
    Engine engine(RollupPlan({Interval::parse("1s"), Interval::parse("1m")}), options);
    engine.start();

    // Columns of any layout; here one array for each. Symbols are ids of the caller's choice.
    const std::vector<std::int32_t> symbol = {0, 1, 0, 0};
    const std::vector<TimeNs> time = {start, start + 100'000'000, start + 900'000'000,
                                      start + 61 * NS_PER_SECOND};
    const std::vector<double> price = {42'283.5, 2'281.25, 42'285.0, 42'290.0};
    const std::vector<double> quantity = {0.5, 2.0, 0.25, 1.0};
    TradeColumns trades;
    trades.size = symbol.size();
    trades.symbol = {reinterpret_cast<const char*>(symbol.data()), sizeof symbol[0]};
    trades.time = {reinterpret_cast<const char*>(time.data()), sizeof time[0]};
    trades.price = {reinterpret_cast<const char*>(price.data()), sizeof price[0]};
    trades.quantity = {reinterpret_cast<const char*>(quantity.data()), sizeof quantity[0]};

    const auto producer = engine.producer("example");
    const PushResult pushed = producer->push(trades);
    engine.advance(start + 61 * NS_PER_SECOND);  // closes what ends by then

    Snapshot snapshot = engine.take("example");
    const BarTable& closed = snapshot.closed();
    std::printf("%zu trades, %lld closed bars\n", pushed.queued,
                static_cast<long long>(closed.rows()));
    for (std::int64_t row = 0; row < closed.rows(); ++row) {
        const BarColumns& bar = closed.columns();
        std::printf("symbol %d interval %d close %.2f volume %.2f\n", bar.symbol[row],
                    bar.interval[row], bar.close[row], bar.volume[row]);
    }
    snapshot.ack();  // without it, the next snapshot has the same rows again
    engine.stop();
}
