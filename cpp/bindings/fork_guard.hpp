// What must not be touched in a forked child: the threads of an engine do not exist there.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg {

/// Rises in every forked child. A load, where asking for the process id is a system call.
inline std::atomic<std::uint32_t>& fork_generation() noexcept {
    static std::atomic<std::uint32_t> generation{0};
    static const int registered = pthread_atfork(nullptr, nullptr, [] {
        fork_generation().fetch_add(1, std::memory_order_relaxed);
    });
    (void)registered;
    return generation;
}

/// Owns something of an engine, in the process that made it. A forked child that only drops it
/// leaves it alone: its locks may be held by threads that are not there, and joining them would
/// never end.
template <class T>
class ForkGuarded {
public:
    explicit ForkGuarded(std::shared_ptr<T> value)
        : value_(std::move(value)),
          generation_(fork_generation().load(std::memory_order_relaxed)) {}
    ~ForkGuarded() {
        if (!is_foreign()) return;
        // Never destroyed; without memory for that the child ends here, which is as good.
        // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new)
        (void)new std::shared_ptr<T>(std::move(value_));
    }
    ForkGuarded(const ForkGuarded&) = delete;
    ForkGuarded& operator=(const ForkGuarded&) = delete;

    [[nodiscard]] bool is_foreign() const noexcept {
        return fork_generation().load(std::memory_order_relaxed) != generation_;
    }
    /// Throws Error(forked).
    [[nodiscard]] T& get() const {
        if (is_foreign()) [[unlikely]]
            throw Error(ErrorCode::forked, "this was made before the process was forked");
        return *value_;
    }
    /// As get(), for who keeps it.
    [[nodiscard]] std::shared_ptr<T> share() const {
        (void)get();
        return value_;
    }
    T* operator->() const { return &get(); }

private:
    std::shared_ptr<T> value_;
    std::uint32_t generation_;
};

}  // namespace klineagg
