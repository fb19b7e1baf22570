// How fast rows go through a lane, by policy and block size: on one thread, and between two.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <span>
#include <thread>
#include <vector>

#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/wait.hpp"

using namespace klineagg::engine;

namespace {

constexpr int REPEATS = 5;

struct PolicyName {
    LanePolicy policy;
    const char* name;
};
constexpr PolicyName POLICIES[] = {{LanePolicy::block, "block"},
                                   {LanePolicy::drop_newest, "drop_newest"},
                                   {LanePolicy::drop_oldest, "drop_oldest"}};

std::vector<LaneRecord> rows_of(std::size_t count) {
    std::vector<LaneRecord> rows(count);
    for (std::size_t i = 0; i < count; ++i) {
        rows[i].id = static_cast<std::int64_t>(i);
        rows[i].price = static_cast<double>(i);
    }
    return rows;
}

/// Reads each row, as little as can be.
std::int64_t look(std::span<const LaneRecord> rows) {
    std::int64_t sum = 0;
    for (const LaneRecord& row : rows) sum += row.id;
    return sum;
}

double seconds_since(MonotonicNs start) {
    return static_cast<double>(monotonic_ns() - start) / 1e9;
}

/// Best of several, in millions of rows a second.
template <class Run>
double best(std::size_t rows, Run&& run) {
    double fastest = 1e9;
    for (int i = 0; i < REPEATS; ++i) fastest = std::min(fastest, run());
    return static_cast<double>(rows) / fastest / 1e6;
}

double round_trip(LanePolicy policy, std::size_t block, std::size_t total) {
    Lane lane(65'536, policy);
    const std::vector<LaneRecord> rows = rows_of(block);
    std::vector<LaneRecord> scratch(block);
    return best(total, [&] {
        std::int64_t sum = 0;
        const MonotonicNs start = monotonic_ns();
        for (std::size_t done = 0; done < total; done += block) {
            lane.push(rows);
            lane.consume(scratch, Lane::NO_LIMIT, [&](auto records) { sum += look(records); });
        }
        const double seconds = seconds_since(start);
        if (sum == 1) std::puts("");  // the sum is needed: nothing may be left out
        return seconds;
    });
}

double two_threads(LanePolicy policy, std::size_t block, std::size_t total) {
    return best(total, [&] {
        Lane lane(65'536, policy);
        const std::vector<LaneRecord> rows = rows_of(block);
        std::atomic<bool> ready{false};
        std::thread worker([&] {
            std::vector<LaneRecord> scratch(4'096);
            std::int64_t sum = 0;
            ready = true;
            const auto offered = [&] {
                const LaneCounts counts = lane.counts();
                return counts.applied + counts.dropped_oldest + counts.dropped_newest;
            };
            while (true) {
                const std::size_t taken = lane.consume(
                    scratch, Lane::NO_LIMIT, [&](auto records) { sum += look(records); });
                if (taken == 0 && offered() >= total) break;
                if (taken == 0) spin_pause();
            }
            if (sum == 1) std::puts("");
        });
        while (!ready) spin_pause();
        const MonotonicNs start = monotonic_ns();
        for (std::size_t done = 0; done < total; done += block)
            lane.push(rows, NO_DEADLINE, [] {});
        worker.join();
        const double seconds = seconds_since(start);
        if (policy != LanePolicy::block) {
            const LaneCounts counts = lane.counts();
            std::printf("%*s(dropped %.1f %%)\n", 40, "",
                        100.0 * static_cast<double>(counts.dropped_newest +
                                                    counts.dropped_oldest) /
                            static_cast<double>(total));
        }
        return seconds;
    });
}

}  // namespace

int main() {
    std::printf("%-12s %8s %22s %22s\n", "policy", "block", "one thread, M rows/s",
                "two threads, M rows/s");
    for (const PolicyName& each : POLICIES) {
        for (const std::size_t block : {std::size_t{1}, std::size_t{64}, std::size_t{512},
                                        std::size_t{4'096}, std::size_t{65'536}}) {
            const std::size_t total = block == 1 ? 1U << 22U : 1U << 24U;
            const double one = round_trip(each.policy, block, total);
            const double two = two_threads(each.policy, block, total);
            std::printf("%-12s %8zu %22.1f %22.1f\n", each.name, block, one, two);
        }
    }
}
