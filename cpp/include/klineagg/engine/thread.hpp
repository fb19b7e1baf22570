// Threads with a name and, if asked for, a core of their own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace klineagg::engine {

/// What the system shows of a thread's name.
inline constexpr std::size_t THREAD_NAME_MAX = 15;

/// The cores that the caller may use, rising; for a thread that was pinned here, those that it
/// might use before. Empty where the system does not say.
[[nodiscard]] std::vector<int> allowed_cores();

/// Throws core_unavailable, with the allowed cores in its text and in the field "allowed", unless
/// `core` is one of them. Systems that cannot pin a thread refuse every core.
void check_core(int core);

/// Keeps the caller's thread on that core from now on. Throws core_unavailable.
void pin_current_thread(int core);

/// Starts when it is made and is joined when it is destroyed.
class Thread {
public:
    Thread() = default;
    /// `body` must not throw: nobody would hear of it, so the process ends. The name is cut to
    /// THREAD_NAME_MAX bytes. The thread runs on `core` from its first instruction of `body` on.
    /// Without a core it may use all that its maker might before it was pinned.
    /// Signals of the process are left to its other threads (Python's main thread wants them).
    /// Throws core_unavailable, and then `body` never runs.
    Thread(const std::string& name, std::optional<int> core, std::function<void()> body);
    Thread(Thread&&) noexcept = default;
    Thread& operator=(Thread&& other) noexcept;
    ~Thread() { join(); }

    [[nodiscard]] bool joinable() const noexcept { return thread_.joinable(); }
    void join();

private:
    std::thread thread_;
};

/// The core that the caller runs on right now, -1 where the system does not say.
[[nodiscard]] int current_core() noexcept;
/// The caller's name as the system has it.
[[nodiscard]] std::string current_thread_name();

}  // namespace klineagg::engine
