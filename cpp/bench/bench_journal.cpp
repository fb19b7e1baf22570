// What a log costs the engine: the rate with it beside the rate without, bytes of a trade, what the
// disk writes by itself, and how long it takes to go on from the log.
//
//   bench_journal DIRECTORY FOLDER [rows]
//
// DIRECTORY as for bench_push; FOLDER is on the disk that is to be measured, and is made and removed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "klineagg/engine.hpp"
#include "npy.hpp"
#include "threads_time.hpp"

using namespace klineagg;

namespace {

constexpr std::size_t BATCH = 65'536;

double seconds_since(engine::MonotonicNs begin) {
    return static_cast<double>(engine::monotonic_ns() - begin) / 1e9;
}

EngineOptions options_with(std::shared_ptr<wal::Log> log) {
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = TIME_MAX;
    options.unacknowledged_rows_max = std::uint64_t{1} << 18U;
    options.journal.log = std::move(log);
    return options;
}

std::shared_ptr<wal::Log> open_log(const std::string& folder, wal::SyncMode sync) {
    wal::LogOptions options;
    options.sync = sync;
    return std::make_shared<wal::Log>(real_files(), folder, options);
}

/// Pushes all of it, and waits until it is accepted.
void push(const char* name, const bench::Trades& trades, std::size_t rows,
          const std::shared_ptr<wal::Log>& log) {
    Engine engine{RollupPlan({Interval::parse("1s")}), options_with(log)};
    engine.start();
    const auto producer = engine.producer("bench");
    const auto begin = engine::monotonic_ns();
    for (std::size_t from = 0; from < rows; from += BATCH)
        (void)producer->push(trades.slice(from, std::min(BATCH, rows - from)));
    engine.flush();
    const double seconds = seconds_since(begin);
    const auto count = static_cast<double>(rows);
    const double worker = static_cast<double>(bench::thread_time_ns("kla-worker-0")) / count;
    std::printf("%-28s %8.2f M trades/s, worker %5.1f ns a trade", name, count / seconds / 1e6, worker);
    if (log != nullptr) {
        const wal::LogStats stats = log->stats();
        const auto bytes = static_cast<double>(stats.bytes);
        std::printf(", %5.2f bytes a trade, %6.1f MB/s, %llu syncs, longest %.1f ms", bytes / count,
                    bytes / seconds / 1e6, static_cast<unsigned long long>(stats.syncs),
                    static_cast<double>(stats.sync_ns_max) / 1e6);
    }
    std::puts(engine.counts().applied == static_cast<std::int64_t>(rows) ? "" : " ROWS ARE MISSING");
}

void write_disk(const std::string& folder) {
    std::filesystem::create_directories(folder);
    const std::vector<std::byte> block(std::size_t{1} << 20U, std::byte{1});
    const auto file = real_files()->open(folder + "/disk", OpenMode::create);
    constexpr std::uint64_t BLOCKS = 256;
    file->allocate(BLOCKS * block.size());
    const auto begin = engine::monotonic_ns();
    for (std::uint64_t i = 0; i < BLOCKS; ++i) {
        file->write(i * block.size(), block);
        if (i % 16 == 15) file->sync();
    }
    const double seconds = seconds_since(begin);
    std::printf("%-28s %8.1f MB/s\n", "the disk, 16 MiB a sync", BLOCKS * 1.048576 / seconds);
}

void recover(const std::string& folder, int workers) {
    EngineOptions options = options_with(open_log(folder, wal::SyncMode::interval));
    options.workers = workers;
    const auto begin = engine::monotonic_ns();
    const Engine engine{RollupPlan({Interval::parse("1s")}), options};
    const double seconds = seconds_since(begin);
    const auto trades = static_cast<double>(engine.recovery().trades);
    std::printf("recovery, %d worker(s)       %8.2f s for %.1f M trades: %.2f s for 10 M\n", workers,
                seconds, trades / 1e6, seconds / trades * 1e7);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fputs("bench_journal DIRECTORY FOLDER [rows]\n", stderr);
        return 2;
    }
    const bench::Trades trades(argv[1]);
    const std::string folder = argv[2];
    const std::size_t rows =
        argc > 3 ? std::min(trades.time.rows, std::strtoul(argv[3], nullptr, 10)) : trades.time.rows;
    for (int round = 0; round < 3; ++round) {
        write_disk(folder);
        push("without a log", trades, rows, nullptr);
        for (const auto& [name, sync] : {std::pair{"with a log, none", wal::SyncMode::none},
                                         std::pair{"with a log, interval", wal::SyncMode::interval},
                                         std::pair{"with a log, always", wal::SyncMode::always}}) {
            std::filesystem::remove_all(folder);
            push(name, trades, rows, open_log(folder, sync));
        }
        recover(folder, 1);
        recover(folder, 2);
        std::filesystem::remove_all(folder);
    }
}
