// What becomes of threads that use an engine when the interpreter ends.
#pragma once

#include <pthread.h>

#include <atomic>

namespace klineagg {

/// Set when the engines are stopped at exit, by the thread that does it.
struct InterpreterExit {
    std::atomic<bool> has_begun{false};
    pthread_t thread{};

    static InterpreterExit& get() noexcept {
        static InterpreterExit exit;
        return exit;
    }
    void begin() noexcept {
        thread = pthread_self();
        has_begun.store(true, std::memory_order_release);
    }
    /// Only daemon threads are left then. That the engine has stopped is no error of theirs: they
    /// end as by SystemExit, without a traceback.
    [[nodiscard]] bool ends_this_thread() const noexcept {
        return has_begun.load(std::memory_order_acquire) &&
               pthread_equal(thread, pthread_self()) == 0;
    }
};

}  // namespace klineagg
