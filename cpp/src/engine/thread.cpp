#include "klineagg/engine/thread.hpp"

#include <pthread.h>
#include <signal.h>

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

#include "klineagg/detail/fork_lock.hpp"
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

#if defined(__linux__)

cpu_set_t own_cores() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_ZERO(&set);
    return set;
}

/// What threads might use before they were pinned here. A new thread has its maker's cores: without
/// this, what a pinned thread starts could never get a core of its own, and all that it does not
/// pin, heartbeats and workers, would share the one core with it.
class BeforePinning {
public:
    void enter(int core, const cpu_set_t& before) {
        const std::lock_guard lock(mutex_);
        if (!is_pinned(before)) before_ = before;
        ++threads_[static_cast<std::size_t>(core)];
    }
    void leave(int core) {
        const std::lock_guard lock(mutex_);
        --threads_[static_cast<std::size_t>(core)];
    }
    [[nodiscard]] cpu_set_t of(const cpu_set_t& cores) const {
        const std::lock_guard lock(mutex_);
        return is_pinned(cores) ? before_ : cores;
    }
    std::mutex& mutex() noexcept { return mutex_; }

private:
    /// One core, on which a living thread was pinned: the caller is that thread or comes from it.
    /// Whoever was narrowed by others, as by `taskset`, stays so.
    [[nodiscard]] bool is_pinned(const cpu_set_t& cores) const noexcept {
        if (CPU_COUNT(&cores) != 1) return false;
        std::size_t core = 0;
        while (!CPU_ISSET(core, &cores)) ++core;
        return threads_[core] > 0;
    }

    mutable std::mutex mutex_;
    cpu_set_t before_{};
    std::array<int, CPU_SETSIZE> threads_{};
};

BeforePinning before_pinning;

std::mutex& pinning_lock() noexcept { return before_pinning.mutex(); }
[[maybe_unused]] const bool forks = detail::free_in_children<pinning_lock>();

/// For as long as the thread lives.
class OwnPin {
public:
    ~OwnPin() { set(-1, {}); }
    void set(int core, const cpu_set_t& before) {
        if (core >= 0) before_pinning.enter(core, before);
        if (core_ >= 0) before_pinning.leave(core_);
        core_ = core;
    }

private:
    int core_ = -1;
};

thread_local OwnPin own_pin;

bool pin(std::thread::native_handle_type thread, int core) noexcept {
    // The core is one of the allowed ones, so it fits the set.
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

/// A thread that nobody wants on one core, made by one that is kept there.
void unpin(std::thread::native_handle_type thread) noexcept {
    const cpu_set_t own = own_cores();
    const cpu_set_t all = before_pinning.of(own);
    if (!CPU_EQUAL(&own, &all)) pthread_setaffinity_np(thread, sizeof all, &all);
}

#else

struct cpu_set_t {};
struct OwnPin {
    void set(int, const cpu_set_t&) noexcept {}
} own_pin;
cpu_set_t own_cores() noexcept { return {}; }
bool pin(std::thread::native_handle_type, int) noexcept { return false; }
void unpin(std::thread::native_handle_type) noexcept {}

#endif

enum Start : int { WAITING, GO, CANCELLED };

}  // namespace

std::vector<int> allowed_cores() {
    std::vector<int> cores;
#if defined(__linux__)
    const cpu_set_t set = before_pinning.of(own_cores());
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
    const cpu_set_t before = own_cores();
    if (!pin(pthread_self(), core)) refuse_core(core);
    own_pin.set(core, before);
}

Thread::Thread(const std::string& name, std::optional<int> core, std::function<void()> body) {
    if (core) check_core(*core);
    const auto start = std::make_shared<std::atomic<int>>(WAITING);
    {
        const BlockedSignals blocked;
        thread_ = std::thread(
            [start, short_name = name.substr(0, THREAD_NAME_MAX), run = std::move(body), core,
             before = own_cores()] {
                name_current(short_name);
                start->wait(WAITING);
                if (start->load() != GO) return;
                if (core) own_pin.set(*core, before);
                run();
            });
    }
    // From outside and before its body, so that nothing of it ever ran or allocated elsewhere.
    if (!core) unpin(thread_.native_handle());
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
