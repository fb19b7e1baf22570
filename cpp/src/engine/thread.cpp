#include "klineagg/engine/thread.hpp"

#include <pthread.h>
#include <signal.h>

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::engine {
namespace {

/// Without the signals that a thread raises by its own fault, and a profiler's.
sigset_t signals_of_others() noexcept {
    sigset_t set;
    sigfillset(&set);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF})
        sigdelset(&set, own);
    return set;
}

/// A new thread has its maker's mask from its first instruction on.
class BlockedSignals {
public:
    BlockedSignals() noexcept {
        const sigset_t set = signals_of_others();
        pthread_sigmask(SIG_BLOCK, &set, &before_);
    }
    ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;

private:
    sigset_t before_{};
};

void name_current(const std::string& name) noexcept {
#if defined(__APPLE__)
    pthread_setname_np(name.c_str());
#else
    pthread_setname_np(pthread_self(), name.c_str());
#endif
}

[[noreturn]] void refuse_core(int core) {
    std::string allowed;
    for (const int each : allowed_cores()) {
        if (!allowed.empty()) allowed += ',';
        allowed += std::to_string(each);
    }
    std::string what = "core " + std::to_string(core) + ": ";
    what += allowed.empty() ? "this system cannot pin a thread to a core"
                            : "the allowed cores are ";
    what += allowed;
    throw Error(ErrorCode::core_unavailable, what,
                {{"core", std::to_string(core)}, {"allowed", allowed}});
}

bool pin(std::thread::native_handle_type thread, int core) noexcept {
#if defined(__linux__)
    // The core is one of the allowed ones, so it fits the set.
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
#else
    static_cast<void>(thread);
    static_cast<void>(core);
    return false;
#endif
}

enum Start : int { WAITING, GO, CANCELLED };

}  // namespace

std::vector<int> allowed_cores() {
    std::vector<int> cores;
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
    for (int core = 0; core < CPU_SETSIZE; ++core)
        if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.push_back(core);
#endif
    return cores;
}

void check_core(int core) {
    const std::vector<int> allowed = allowed_cores();
    if (!std::binary_search(allowed.begin(), allowed.end(), core)) refuse_core(core);
}

void pin_current_thread(int core) {
    check_core(core);
    if (!pin(pthread_self(), core)) refuse_core(core);
}

Thread::Thread(const std::string& name, std::optional<int> core, std::function<void()> body) {
    if (core) check_core(*core);
    const auto start = std::make_shared<std::atomic<int>>(WAITING);
    {
        const BlockedSignals blocked;
        thread_ = std::thread(
            [start, short_name = name.substr(0, THREAD_NAME_MAX), run = std::move(body)] {
                name_current(short_name);
                start->wait(WAITING);
                if (start->load() == GO) run();
            });
    }
    // From outside and before its body, so that nothing of it ever ran or allocated elsewhere.
    const bool placed = !core || pin(thread_.native_handle(), *core);
    start->store(placed ? GO : CANCELLED);
    start->notify_one();
    if (!placed) {  // the allowed cores have changed just now
        thread_.join();
        refuse_core(*core);
    }
}

Thread& Thread::operator=(Thread&& other) noexcept {
    if (this != &other) {
        join();
        thread_ = std::move(other.thread_);
    }
    return *this;
}

void Thread::join() {
    if (thread_.joinable()) thread_.join();
}

int current_core() noexcept {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

std::string current_thread_name() {
    char name[64] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    return name;
}

}  // namespace klineagg::engine
