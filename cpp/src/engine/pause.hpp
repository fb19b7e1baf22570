// Waiting without the other side's help.
#pragma once

#include <chrono>
#include <thread>

namespace klineagg::engine {

/// Polls ever more slowly, so that workers make no system call to end somebody's wait.
class Pause {
public:
    void operator()() {
        if (++turns_ < 64) return;
        if (turns_ < 256) std::this_thread::yield();
        else std::this_thread::sleep_for(std::chrono::microseconds(50));
    }

private:
    int turns_ = 0;
};

}  // namespace klineagg::engine
