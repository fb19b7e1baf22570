// What a clock tick costs: 100 symbols that trade, alone and among 100,000 that do not.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

#include "klineagg/engine.hpp"

using namespace klineagg;

namespace {

constexpr TimeNs START = 19'781 * NS_PER_DAY;
constexpr std::size_t ACTIVE = 100;
constexpr int TICKS = 3'000;

struct Cost {
    double tick_us;      // advance by a second, which closes a bar of every active symbol
    double empty_us;     // advance by a second in which nobody traded
};

double us_since(engine::MonotonicNs start) {
    return static_cast<double>(engine::monotonic_ns() - start) / 1e3;
}

double median(std::vector<double>& values) {
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                     values.end());
    return values[values.size() / 2];
}

/// One trade of each symbol in [from, to) at one time.
struct Trades {
    std::vector<std::int32_t> symbol;
    std::vector<std::int64_t> time;
    std::vector<double> amount;

    Trades(std::size_t from, std::size_t to)
        : time(to - from), amount(to - from, 1.0) {
        for (std::size_t i = from; i < to; ++i) symbol.push_back(static_cast<std::int32_t>(i));
    }
    TradeColumns at(TimeNs now) {
        std::fill(time.begin(), time.end(), now);
        const auto column = [](const auto& values) {
            return StridedColumn{reinterpret_cast<const char*>(values.data()),
                                 sizeof(values[0])};
        };
        TradeColumns columns;
        columns.size = symbol.size();
        columns.symbol = column(symbol);
        columns.time = column(time);
        columns.price = columns.quantity = column(amount);
        return columns;
    }
};

Cost measure(std::size_t idle) {
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    std::vector<Interval> intervals;
    for (const char* name : {"1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d"})
        intervals.push_back(Interval::parse(name));
    Engine engine{RollupPlan(intervals), options};
    engine.start();
    const auto producer = engine.producer("bench");
    if (idle != 0) {
        Trades once(ACTIVE, ACTIVE + idle);
        engine.advance(START - 2 * NS_PER_DAY);
        (void)producer->push(once.at(START - 2 * NS_PER_DAY));
    }
    engine.advance(START);  // nothing of the idle ones is open any more
    Trades trades(0, ACTIVE);
    std::vector<double> ticks;
    std::vector<double> empty;
    TimeNs now = START;
    for (int i = 0; i < TICKS; ++i) {
        (void)producer->push(trades.at(now));
        engine.flush();
        auto start = engine::monotonic_ns();
        engine.advance(now += NS_PER_SECOND);
        ticks.push_back(us_since(start));
        start = engine::monotonic_ns();
        engine.advance(now += NS_PER_SECOND);
        empty.push_back(us_since(start));
        if (i % 100 != 0) continue;
        Snapshot snapshot = engine.take("bench");
        snapshot.ack();
    }
    return {median(ticks), median(empty)};
}

}  // namespace

int main() {
    std::printf("%10s %22s %22s\n", "idle", "tick closing 100, us", "tick closing 0, us");
    for (int round = 0; round < 3; ++round) {
        for (const std::size_t idle : {std::size_t{0}, std::size_t{100'000}}) {
            const Cost cost = measure(idle);
            std::printf("%10zu %22.1f %22.1f\n", idle, cost.tick_us, cost.empty_us);
        }
    }
}
