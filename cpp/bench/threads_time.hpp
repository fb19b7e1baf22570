// The processor time of single threads of this process.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

namespace klineagg::bench {

inline std::int64_t own_time_ns() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

/// Of all threads whose names begin so, those that run now; 0 where the system does not tell.
inline std::int64_t thread_time_ns(const std::string& name) {
    std::int64_t total = 0;
    std::error_code none;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", none)) {
        std::string comm;
        std::getline(std::ifstream(task.path() / "comm"), comm);
        if (comm.compare(0, name.size(), name) != 0) continue;
        std::int64_t ns = 0;
        std::ifstream(task.path() / "schedstat") >> ns;
        total += ns;
    }
    return total;
}

}  // namespace klineagg::bench
