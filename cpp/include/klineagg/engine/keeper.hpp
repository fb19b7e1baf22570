// The thread that has memory ready before the workers need it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "klineagg/engine/clock.hpp"

namespace klineagg::engine {

/// Polls, because a worker that called for memory would make a system call to do it. While all
/// workers sleep it sleeps too, and a worker that wakes up wakes it.
class Keeper {
public:
    Keeper() = default;
    ~Keeper() { stop(); }
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;

    /// What it does in a turn, which any thread may do that the keeper does not run beside: true
    /// when there was something to do.
    void set_turn(std::function<bool()> turn) { turn_ = std::move(turn); }
    /// `after_turn` is its own; `is_idle` tells whether nobody can need memory before call();
    /// `failed` is told of an exception, and ends it.
    void start(std::function<void()> after_turn, std::function<bool()> is_idle,
               std::function<void(const char* cause)> failed);
    /// Ends the thread. Not at the same time as start().
    void stop();
    /// A worker works again. Cheap when the keeper is awake, but it takes a lock.
    void call() noexcept;
    /// Of a thread that waits for what the keeper does: a turn in its place, where no keeper runs
    /// or the system lets it wait. On a machine whose cores are all busy that took milliseconds,
    /// in which a worker at full rate could only wait too.
    void help();
    /// Turns that its thread has ended.
    [[nodiscard]] std::uint64_t turns() const noexcept { return turns_.load(); }

private:
    void run();
    bool turn();

    std::function<bool()> turn_;
    std::mutex turning_;
    std::atomic<MonotonicNs> turned_at_{0};
    std::function<void()> after_turn_;
    std::function<bool()> is_idle_;
    std::function<void(const char*)> failed_;
    std::atomic<std::uint64_t> turns_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
    bool running_ = false;
    bool stopping_ = false;
    bool asleep_ = false;  // for long
    std::thread thread_;
};

}  // namespace klineagg::engine
