// What a worker and a producer do besides work: allocations, locks and system calls, counted on
// the worker's thread, and on that of the producer while it pushes.
//
// Allocation functions and pthread_mutex_lock are this program's own (the C library's behind a
// counter), and system calls are trapped by a seccomp filter that these threads are given.
#include "catch.hpp"

#if defined(__linux__) && defined(__x86_64__) && defined(__GLIBC__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <dlfcn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <thread>

#include "batch_run.hpp"
#include "klineagg/engine.hpp"
#include "wal/faulty_files.hpp"

namespace {

std::atomic<long> allocations{0};
std::atomic<long> locks{0};
std::atomic<long> system_calls{0};
std::atomic<int> last_call{-1};
std::atomic<bool> counting{false};
thread_local bool watched = false;  // the worker's thread, and the producer's in a push

void count(std::atomic<long>& counter) noexcept {
    if (watched && counting.load(std::memory_order_relaxed))
        counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t size) {
    count(allocations);
    return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
    count(allocations);
    return __libc_calloc(number, size);
}
void* realloc(void* memory, std::size_t size) {
    count(allocations);
    return __libc_realloc(memory, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
    count(allocations);
    return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    count(allocations);
    return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
    count(allocations);
    *memory = __libc_memalign(alignment, size);
    return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
    if (memory != nullptr) count(allocations);
    __libc_free(memory);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
    using Lock = int (*)(pthread_mutex_t*);
    static std::atomic<Lock> real{nullptr};
    Lock lock = real.load();
    if (lock == nullptr) {
        void* const found = dlsym(RTLD_NEXT, "pthread_mutex_lock");
        std::memcpy(&lock, &found, sizeof lock);
        real.store(lock);
    }
    count(locks);
    return lock(mutex);
}

// The one place from which the filter lets system calls of this thread through.
long path_test_call(long number, long a, long b, long c, long d, long e, long f);
extern const char path_test_call_end[];
}

asm(R"(
.text
.globl path_test_call
.type path_test_call, @function
path_test_call:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
.globl path_test_call_end
path_test_call_end:
    ret
.size path_test_call, .-path_test_call
)");

namespace {

using namespace klineagg;
using namespace klineagg::test;

/// Counts a trapped call, makes it, and gives its result back in the place of the trapped one.
void on_trap(int, siginfo_t*, void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    if (watched && counting.load(std::memory_order_relaxed)) {
        system_calls.fetch_add(1, std::memory_order_relaxed);
        last_call.store(static_cast<int>(registers[REG_RAX]));
    }
    registers[REG_RAX] =
        path_test_call(registers[REG_RAX], registers[REG_RDI], registers[REG_RSI],
                       registers[REG_RDX], registers[REG_R10], registers[REG_R8], registers[REG_R9]);
}

/// True when the calling thread's system calls are trapped from here on.
bool trap_system_calls() {
    struct sigaction action {};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (sigaction(SIGSYS, &action, nullptr) != 0) return false;
    const auto end = reinterpret_cast<std::uintptr_t>(path_test_call_end);
    const auto low = static_cast<std::uint32_t>(end);
    const auto high = static_cast<std::uint32_t>(end >> 32U);
    // A thread ends with signals blocked, where a trap would be deadly; its last calls pass. What
    // else calls madvise and munmap is an allocator, and these are counted above.
    const sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 7, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{sizeof code / sizeof code[0], const_cast<sock_filter*>(code)};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// Says its time like the system's, so that workers tick; the first look of a worker's thread is
/// the place to set the traps.
class WatchingClock final : public engine::Clock {
public:
    explicit WatchingClock(TimeNs start) : now_(start) {}
    [[nodiscard]] TimeNs now() const noexcept override {
        if (!watched) watch();
        return now_.load();
    }
    [[nodiscard]] bool simulated() const noexcept override { return false; }
    void advance(DurationNs by) noexcept { now_.fetch_add(by); }
    /// 0: not yet; 1: traps are set; -1: this system does not allow them.
    [[nodiscard]] int state() const noexcept { return state_.load(); }

private:
    void watch() const noexcept {
        char name[16] = "";
        pthread_getname_np(pthread_self(), name, sizeof name);
        if (std::strncmp(name, "kla-worker", 10) != 0) return;
        watched = true;
        state_.store(trap_system_calls() ? 1 : -1);
    }
    std::atomic<TimeNs> now_;
    mutable std::atomic<int> state_{0};
};

struct Outcome {
    long allocations = 0;
    long locks = 0;
    long system_calls = 0;
    int last_call = -1;
};

Outcome counted() { return {allocations.load(), locks.load(), system_calls.load(), last_call.load()}; }

/// Pushes on a thread of its own, which is watched meanwhile.
class PushThread {
public:
    explicit PushThread(Producer& producer)
        : thread_([this, &producer] { run(producer); }) {
        while (!ready_.load()) std::this_thread::yield();
    }
    ~PushThread() {
        over_.store(true);
        thread_.join();
    }
    PushThread(const PushThread&) = delete;
    PushThread& operator=(const PushThread&) = delete;

    std::size_t push(const TradeColumns& columns) {
        work_.store(&columns);
        while (work_.load() != nullptr) std::this_thread::yield();
        return queued_;
    }

private:
    void run(Producer& producer) {
        (void)trap_system_calls();  // the worker has told whether that can be
        ready_.store(true);
        while (!over_.load()) {
            const TradeColumns* const columns = work_.load();
            if (columns == nullptr) {
                std::this_thread::yield();
                continue;
            }
            watched = true;
            queued_ = producer.push(*columns).queued;
            watched = false;
            work_.store(nullptr);
        }
    }

    std::atomic<bool> ready_{false};
    std::atomic<bool> over_{false};
    std::atomic<const TradeColumns*> work_{nullptr};
    std::size_t queued_ = 0;
    std::thread thread_;
};

constexpr int SECONDS = 1'000;
constexpr int TRADES = 1'000;  // a second

/// A second's trades: a few busy symbols, and one that nobody has seen before.
Table second_of(int second, bool has_new_symbol = true) {
    Table table;
    const TimeNs begin = WEDNESDAY + second * NS_PER_SECOND;
    for (int i = 0; i < TRADES; ++i) {
        Trade trade;
        trade.time = begin + i * (NS_PER_SECOND / TRADES);
        trade.price = 100.0 + i % 13;
        trade.quantity = 0.5;
        trade.id = trade.last_id = second * TRADES + i;
        table.add(i == 500 ? 1'000 + (has_new_symbol ? second : 0) : i % 50, trade);
    }
    return table;
}

}  // namespace

namespace {

struct Attempt {
    Outcome outcome;
    bool trapped = false;
    std::uint64_t misses = 0;
};

/// Until all is applied that was pushed, and what the next second needs is ready: a turn of the
/// keeper that began after that has ended. However busy the machine is, nobody is short of memory.
void wait_for_workers(const Engine& engine, std::int64_t applied) {
    constexpr std::chrono::microseconds LOOK(50);
    while (engine.counts().applied < applied) std::this_thread::sleep_for(LOOK);
    const std::uint64_t turns = engine.stats().keeper_turns;
    while (engine.stats().keeper_turns < turns + 2) std::this_thread::sleep_for(LOOK);
}

constexpr std::chrono::microseconds PATIENT(-1);  // however busy the machine is; takes a minute

/// A million trades over a thousand boundaries, with new symbols and a snapshot every tenth.
Attempt run_attempt(std::chrono::microseconds pause, const std::shared_ptr<wal::Log>& log = {}) {
    Attempt attempt;
    auto clock = std::make_shared<WatchingClock>(WEDNESDAY);
    EngineOptions options;  // amending, gap runs: as live engines are
    options.wait = engine::WaitKind::spin;  // waiting is no part of it
    options.clock = clock;
    options.journal.log = log;
    std::vector<Interval> intervals;
    for (const char* name : {"1s", "5s", "15s", "1m", "5m", "15m", "1h", "1d"})
        intervals.push_back(Interval::parse(name));
    Engine engine(RollupPlan(intervals), options);
    engine.start();
    while (clock->state() == 0) std::this_thread::yield();
    attempt.trapped = clock->state() > 0;
    const auto producer = engine.producer("feed");
    engine.flush();
    if (log) {  // symbols that are new to the log are told to it by name, once
        (void)producer->push(second_of(0, false).view());
        engine.flush();
    }
    PushThread pushing(*producer);
    std::int64_t closed_rows = 0;
    const Outcome before = counted();
    counting.store(true);
    for (int second = log ? 1 : 0; second < SECONDS; ++second) {
        const Table table = second_of(second, log == nullptr);
        REQUIRE(pushing.push(table.view()) == TRADES);
        clock->advance(NS_PER_SECOND);
        if (pause == PATIENT) wait_for_workers(engine, std::int64_t{TRADES} * (second + 1));
        else std::this_thread::sleep_for(pause);
        if (second % 10 != 9) continue;
        Snapshot snapshot = engine.take("lake");
        closed_rows += snapshot.closed().rows();
        snapshot.ack();
    }
    engine.flush();
    counting.store(false);
    const Outcome after = counted();
    attempt.outcome = {after.allocations - before.allocations, after.locks - before.locks,
                       after.system_calls - before.system_calls, after.last_call};
    attempt.misses = engine.stats().memory_misses;
    REQUIRE(closed_rows > SECONDS * 50);
    REQUIRE(engine.counts().applied == SECONDS * TRADES);
    // These counters do count: the end of a thread takes calls and gives memory back.
    counting.store(true);
    engine.stop();
    counting.store(false);
    REQUIRE(counted().system_calls + counted().allocations >
            after.system_calls + after.allocations);
    return attempt;
}

/// Where the keeper gets too little time others help themselves: with more time, then.
template <class MakeLog>
Attempt run_attempts(const MakeLog& make_log) {
    Attempt attempt;
    for (const int pause : {500, 2'000, 6'000}) {
        attempt = run_attempt(std::chrono::microseconds(pause), make_log());
        if (attempt.misses == 0) return attempt;
    }
    return run_attempt(PATIENT, make_log());
}

}  // namespace

TEST_CASE("the trade path has no lock, no allocation and no system call",
          "[engine][path]") {
    const Attempt attempt = run_attempts([] { return nullptr; });
    INFO("last system call " << attempt.outcome.last_call);
    CHECK(attempt.misses == 0);
    CHECK(attempt.outcome.allocations == 0);
    CHECK(attempt.outcome.locks == 0);
    CHECK(attempt.outcome.system_calls == 0);
    if (!attempt.trapped) WARN("this system does not let a thread trap its system calls");
}

TEST_CASE("the trade path with a log has no allocation, and a lock at cuts only", "[engine][path]") {
    const auto log = [] {
        return std::make_shared<wal::Log>(std::make_shared<FaultyFiles>(), "log");
    };
    const Attempt attempt = run_attempts(log);
    CHECK(attempt.misses == 0);
    // The log's writer may sleep, and is woken up then: a system call for each block at most.
    CHECK(attempt.outcome.allocations == 0);
    CHECK(attempt.outcome.locks <= SECONDS / 10);
}

#endif
