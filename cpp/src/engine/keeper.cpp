#include "klineagg/engine/keeper.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

namespace klineagg::engine {

namespace {

constexpr auto SHORTEST = std::chrono::microseconds(200);
constexpr DurationNs LATE_NS = 50'000;  // from one turn to the next, while somebody waits
constexpr auto LONGEST = std::chrono::microseconds(20'000);
// Only for what nobody calls for, such as the memory of snapshots that were dropped meanwhile.
constexpr auto ASLEEP = std::chrono::seconds(10);

}  // namespace

void Keeper::start(std::function<void()> after_turn, std::function<bool()> is_idle,
                   std::function<void(const char*)> failed) {
    after_turn_ = std::move(after_turn);
    is_idle_ = std::move(is_idle);
    failed_ = std::move(failed);
    const std::lock_guard lock(mutex_);
    stopping_ = false;
    running_ = true;
    thread_ = std::thread([this] { run(); });
}

void Keeper::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        changed_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
    const std::lock_guard lock(mutex_);
    running_ = false;
}

void Keeper::call() noexcept {
    const std::lock_guard lock(mutex_);
    if (std::exchange(asleep_, false)) changed_.notify_one();
}

bool Keeper::turn() {
    const bool busy = turn_();
    turned_at_.store(monotonic_ns(), std::memory_order_relaxed);
    return busy;
}

void Keeper::help() {
    bool late = monotonic_ns() - turned_at_.load(std::memory_order_relaxed) > LATE_NS;
    if (!late) {
        const std::lock_guard lock(mutex_);
        late = !running_;
    }
    if (!late || !turn_) return;
    const std::unique_lock lock(turning_, std::try_to_lock);
    if (lock) (void)turn();
}

void Keeper::run() {
    std::chrono::microseconds pause = SHORTEST;
    while (true) {
        bool busy = false;
        try {
            {
                const std::lock_guard lock(turning_);
                busy = turn();
            }
            after_turn_();
            turns_.fetch_add(1);
        } catch (const std::exception& error) {
            failed_(error.what());
            return;
        }
        pause = busy ? SHORTEST : std::min(LONGEST, pause * 2);
        std::unique_lock lock(mutex_);
        if (stopping_) return;
        // A worker wakes up before it calls, and a call that comes before the look below is no
        // loss: the look is taken under the lock of the call.
        asleep_ = pause == LONGEST && is_idle_();
        if (!asleep_) changed_.wait_for(lock, pause, [this] { return stopping_; });
        else changed_.wait_for(lock, ASLEEP, [this] { return stopping_ || !asleep_; });
        asleep_ = false;
        if (stopping_) return;
    }
}

}  // namespace klineagg::engine
