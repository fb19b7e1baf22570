// What moves of symbols, snapshots and changes of the configuration cost the others: trade-to-applied
// of a symbol that is not touched, with them going on and without. One producer pushes a row and waits
// until it is applied, another keeps the workers busy with the symbols that move. Beside it what the
// machine does by itself: the same, with a bare thread in the place of the worker.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "klineagg/engine.hpp"

using namespace klineagg;

namespace {

constexpr TimeNs START = 19'781 * NS_PER_DAY;
constexpr std::int32_t STAYS = 1;
constexpr std::int32_t MOVING = 400;
constexpr DurationNs LENGTH_NS = 3 * NS_PER_SECOND;

struct Rows {
    std::vector<std::int32_t> symbol;
    std::vector<std::int64_t> time;
    std::vector<double> amount;

    Rows(std::int32_t from, std::int32_t to)
        : time(static_cast<std::size_t>(to - from), START), amount(time.size(), 1.0) {
        for (std::int32_t i = from; i < to; ++i) symbol.push_back(i);
    }
    [[nodiscard]] TradeColumns view() const {
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

enum class Disturbance { none, move, rebuild, reconfigure, take };

void print(const char* name, std::vector<DurationNs>& latencies, int times) {
    std::sort(latencies.begin(), latencies.end());
    const auto at = [&](double share) {
        return static_cast<double>(latencies[static_cast<std::size_t>(
                   share * static_cast<double>(latencies.size() - 1))]) / 1e3;
    };
    std::printf("%-12s %8zu %8d %10.1f %10.1f %10.1f %10.1f\n", name, latencies.size(), times,
                at(0.5), at(0.99), at(0.999), at(1.0));
}

/// A number that a thread gives back.
void measure_machine() {
    std::atomic<std::int64_t> sent{0};
    std::atomic<std::int64_t> seen{0};
    std::thread echo([&] {
        for (std::int64_t now = 0; now >= 0; now = sent.load(std::memory_order_acquire)) {
            seen.store(now, std::memory_order_release);
            engine::spin_pause();
        }
    });
    std::vector<DurationNs> latencies;
    const engine::MonotonicNs end = engine::deadline_after(LENGTH_NS);
    for (std::int64_t number = 1; engine::monotonic_ns() < end; ++number) {
        const engine::MonotonicNs begin = engine::monotonic_ns();
        sent.store(number, std::memory_order_release);
        while (seen.load(std::memory_order_acquire) < number) engine::spin_pause();
        latencies.push_back(engine::monotonic_ns() - begin);
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    sent.store(-1);
    echo.join();
    print("the machine", latencies, 0);
}

void measure(const char* name, Disturbance disturbance) {
    EngineOptions options;
    options.workers = 2;
    options.clock = std::make_shared<engine::SimulatedClock>();
    Engine engine{RollupPlan({Interval::parse("1s"), Interval::parse("1m")}), options};
    engine.start();
    engine.add_symbol(STAYS);
    const std::size_t place = 1;  // whose lane is watched; worker 0 is the one that is rebuilt
    engine.move({{STAYS, static_cast<std::uint32_t>(place)}});
    std::atomic<bool> done{false};
    std::thread busy([&] {
        const auto producer = engine.producer("busy");
        const Rows rows(10, 10 + MOVING);
        while (!done.load()) {
            (void)producer->push(rows.view());
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    });
    int moves = 0;
    std::thread control([&] {
        while (!done.load()) {
            std::vector<std::pair<std::int32_t, std::uint32_t>> list;
            for (std::int32_t i = 10; i < 10 + MOVING; ++i)
                list.emplace_back(i, static_cast<std::uint32_t>((i + moves) % 2));
            if (disturbance == Disturbance::move) (void)engine.move(list);
            if (disturbance == Disturbance::rebuild) engine.rebuild(0);
            if (disturbance == Disturbance::take) engine.take("lake").ack();
            if (disturbance == Disturbance::reconfigure) {
                ConfigChange change;
                change.intervals = {Interval::parse("1s"), Interval::parse("1m")};
                if (moves % 2 == 0) change.intervals->push_back(Interval::parse("5m"));
                (void)engine.reconfigure(change);
            }
            ++moves;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    });
    const auto producer = engine.producer("stays");
    const Rows row(STAYS, STAYS + 1);
    std::vector<DurationNs> latencies;
    const engine::MonotonicNs end = engine::deadline_after(LENGTH_NS);
    for (engine::MonotonicNs now = engine::monotonic_ns(); now < end;) {
        (void)producer->push(row.view());
        const engine::Lane& lane = producer->intakes()[place]->lane;
        while (lane.applied() < lane.pushed()) engine::spin_pause();
        const engine::MonotonicNs applied = engine::monotonic_ns();
        latencies.push_back(applied - now);
        std::this_thread::sleep_for(std::chrono::microseconds(20));
        now = engine::monotonic_ns();
    }
    done.store(true);
    busy.join();
    control.join();
    print(name, latencies, moves);
}

}  // namespace

int main() {
    std::printf("%-12s %8s %8s %10s %10s %10s %10s\n", "", "rows", "times", "p50 us", "p99 us",
                "p99.9 us", "max us");
    for (int round = 0; round < 2; ++round) {
        measure_machine();
        measure("undisturbed", Disturbance::none);
        measure("moves", Disturbance::move);
        measure("rebuilds", Disturbance::rebuild);
        measure("reconfigures", Disturbance::reconfigure);
        measure("takes", Disturbance::take);
    }
}
