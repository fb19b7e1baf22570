// A clock at which workers can be stopped.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "klineagg/engine/clock.hpp"

namespace klineagg::test {

/// Says one time, like a clock of the system; a worker that looks at it while the gate is closed
/// stays there.
class GatedClock final : public engine::Clock {
public:
    explicit GatedClock(TimeNs now) : now_(now) {}
    [[nodiscard]] TimeNs now() const noexcept override {
        if (closed_.load() && is_worker()) {
            waiting_.fetch_add(1);
            while (closed_.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
            waiting_.fetch_sub(1);
        }
        return now_;
    }
    [[nodiscard]] bool simulated() const noexcept override { return false; }
    void open() noexcept { closed_.store(false); }
    void close() noexcept { closed_.store(true); }
    [[nodiscard]] int waiting() const noexcept { return waiting_.load(); }

private:
    static bool is_worker() noexcept {
        char name[16] = "";
        pthread_getname_np(pthread_self(), name, sizeof name);
        return std::strncmp(name, "kla-worker", 10) == 0;
    }
    TimeNs now_;
    std::atomic<bool> closed_{false};
    mutable std::atomic<int> waiting_{0};
};

}  // namespace klineagg::test
