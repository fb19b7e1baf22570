#include "klineagg/engine/thread.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <pthread.h>
#include <sched.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::engine;
using klineagg::test::error_of;
using klineagg::test::field_of;

namespace {

/// What the system says of the caller itself.
std::vector<int> own_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<int> cores;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
    for (int core = 0; core < CPU_SETSIZE; ++core)
        if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.push_back(core);
    return cores;
}

}  // namespace

TEST_CASE("a thread has its name, cut to what the system shows", "[engine][thread]") {
    std::string name;
    Thread("kla-worker-0", std::nullopt, [&] { name = current_thread_name(); }).join();
    CHECK(name == "kla-worker-0");
    Thread("kla-worker-1234567", std::nullopt, [&] { name = current_thread_name(); }).join();
    CHECK(name == "kla-worker-1234");
}

TEST_CASE("a pinned thread runs on its core", "[engine][thread]") {
    const std::vector<int> cores = allowed_cores();
    CHECK(std::is_sorted(cores.begin(), cores.end()));
    for (const int core : cores) {
        int there = -2;
        std::vector<int> own;
        Thread thread("pinned", core, [&] {
            there = current_core();
            own = own_cores();
        });
        thread.join();
        CHECK(there == core);
        CHECK(own == std::vector<int>{core});
    }
    CHECK(own_cores() == cores);  // the caller stays where it may be
}

TEST_CASE("what a pinned thread starts has the cores that it had before", "[engine][thread]") {
    const std::vector<int> cores = allowed_cores();
    if (cores.size() < 2) return;
    // A heartbeat, or an engine's workers, would otherwise share the one core with their maker.
    std::vector<int> of_child;
    std::vector<int> of_pinned_child;
    std::vector<int> after;
    Thread("pinned", cores[0], [&] {
        Thread("child", std::nullopt, [&] { of_child = own_cores(); }).join();
        Thread("other", cores[1], [&] {
            of_pinned_child = own_cores();
            pin_current_thread(cores[0]);
        }).join();
        pin_current_thread(cores[1]);
        after = own_cores();
    }).join();
    CHECK(of_child == cores);
    CHECK(of_pinned_child == std::vector<int>{cores[1]});
    CHECK(after == std::vector<int>{cores[1]});
}

TEST_CASE("a core that is not there is refused with those that are", "[engine][thread]") {
    const std::vector<int> cores = allowed_cores();
    const int missing = GENERATE(-1, 100'000, 1'000'000'000);
    bool ran = false;
    const Error error = error_of([&] { Thread("nowhere", missing, [&] { ran = true; }); });
    CHECK(error.code() == ErrorCode::core_unavailable);
    CHECK(field_of(error, "core") == std::to_string(missing));
    std::string list;
    for (const int core : cores) list += (list.empty() ? "" : ",") + std::to_string(core);
    CHECK(field_of(error, "allowed") == list);
    if (!list.empty())
        CHECK_THAT(std::string(error.what()), Catch::Matchers::ContainsSubstring(list));
    CHECK_FALSE(ran);
}

TEST_CASE("a core of the machine that the process may not use is refused", "[engine][thread]") {
    const std::vector<int> cores = allowed_cores();
    if (cores.size() < 2) return;
    ErrorCode code = ErrorCode::internal;
    std::string allowed;
    std::thread([&] {
        cpu_set_t narrow;  // as `taskset` leaves a process: nothing here has pinned it
        CPU_ZERO(&narrow);
        CPU_SET(static_cast<std::size_t>(cores.back()), &narrow);
        pthread_setaffinity_np(pthread_self(), sizeof narrow, &narrow);
        const Error error = error_of([&] { check_core(cores[0]); });
        code = error.code();
        allowed = field_of(error, "allowed");
    }).join();
    CHECK(code == ErrorCode::core_unavailable);
    CHECK(allowed == std::to_string(cores.back()));
}

TEST_CASE("a thread is joined when it goes", "[engine][thread]") {
    std::atomic<int> ended{0};
    {
        Thread first("first", std::nullopt, [&] { ++ended; });
        Thread second("second", std::nullopt, [&] { ++ended; });
        first = std::move(second);  // joins what it had
        CHECK(ended >= 1);
        CHECK_FALSE(second.joinable());
    }
    CHECK(ended == 2);
    Thread none;
    none.join();
}

TEST_CASE("signals of the process go to its other threads", "[engine][thread]") {
    sigset_t mask;
    sigemptyset(&mask);
    Thread("deaf", std::nullopt, [&] { pthread_sigmask(SIG_SETMASK, nullptr, &mask); }).join();
    CHECK(sigismember(&mask, SIGINT) == 1);
    CHECK(sigismember(&mask, SIGTERM) == 1);
    CHECK(sigismember(&mask, SIGSEGV) == 0);
    sigset_t own;
    pthread_sigmask(SIG_SETMASK, nullptr, &own);
    CHECK(sigismember(&own, SIGINT) == 0);
}
