// What the threads that append, the writer and those who wait share.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "klineagg/engine/wait.hpp"
#include "klineagg/wal/log.hpp"
#include "klineagg/wal/ring.hpp"

namespace klineagg::wal {

struct Log::Shared {
    Shared(std::shared_ptr<FileSystem> file_system, std::string path, LogOptions chosen,
           Sequence next)
        : files(std::move(file_system)),
          directory(std::move(path)),
          options(std::move(chosen)),
          ring(options.ring_bytes, next),
          waiter(engine::WaitKind::park) {}

    const std::shared_ptr<FileSystem> files;
    const std::string directory;
    const LogOptions options;
    Ring ring;
    engine::Waiter waiter;                 // the writer's
    std::unique_ptr<File> directory_lock;  // held for as long as it is open
    Uuid id{};
    std::uint64_t repaired_bytes = 0;
    std::vector<Damage> lost;
    std::mutex listening;
    Listener* listener = nullptr;  // under its mutex

    alignas(engine::LINE_BYTES) std::atomic<LogState> state{LogState::running};
    std::atomic<Sequence> written{0};
    std::atomic<Sequence> durable{0};
    alignas(engine::LINE_BYTES) std::atomic<Sequence> committed{0};
    std::atomic<Sequence> sync_wanted{0};
    std::atomic<std::uint64_t> size_max{0};
    std::atomic<DurationNs> age_max_ns{0};
    std::atomic<bool> retention_wanted{false};
    std::atomic<bool> resume_wanted{false};
    std::atomic<bool> closing{false};
    std::atomic<std::uint64_t> would_block{0};

    std::mutex close_mutex;
    mutable std::mutex mutex;
    std::condition_variable changed;
    std::atomic<int> waiting{0};
    std::optional<Error> failure;         // under the mutex
    std::optional<Error> resume_failure;  // of the last resume
    LogStats counts;                      // of the writer, under the mutex

    void publish(std::atomic<Sequence>& what, Sequence to) noexcept {
        what.store(to, std::memory_order_seq_cst);
        notify();
    }
    /// Of the writer, behind what changed.
    void notify() noexcept {
        {
            const std::lock_guard lock(listening);
            if (listener != nullptr) listener->log_moved();
        }
        if (waiting.load(std::memory_order_seq_cst) == 0) return;
        const std::lock_guard lock(mutex);
        changed.notify_all();
    }
    /// Waits for `done` until the deadline; returns it.
    template <class Done>
    bool wait(Done&& done, engine::MonotonicNs deadline) {
        if (done()) return true;
        waiting.fetch_add(1, std::memory_order_seq_cst);
        bool is_done = false;
        {
            std::unique_lock lock(mutex);
            while (!(is_done = done())) {
                const DurationNs left = deadline == engine::NO_DEADLINE
                                            ? NS_PER_SECOND
                                            : deadline - engine::monotonic_ns();
                if (left <= 0) break;
                changed.wait_for(lock, std::chrono::nanoseconds(std::min(left, NS_PER_SECOND)));
            }
        }
        waiting.fetch_sub(1, std::memory_order_relaxed);
        return is_done;
    }
    /// Throws the failure when the log has halted.
    void check_running() const {
        const LogState now = state.load(std::memory_order_acquire);
        if (now == LogState::running) return;
        if (now == LogState::closed) throw Error(ErrorCode::wal_closed, "the log is closed");
        const std::lock_guard lock(mutex);
        Error::Fields fields;
        std::string cause = "an unknown failure";
        if (failure) {
            fields = failure->fields();
            fields.emplace_back("cause", std::string(error_info(failure->code()).name));
            cause = failure->what();
        }
        const ErrorCode code = failure && failure->code() == ErrorCode::wal_full
                                   ? ErrorCode::wal_full
                                   : ErrorCode::wal_halted;
        throw Error(code, "the log accepts nothing since: " + cause, std::move(fields));
    }
};

}  // namespace klineagg::wal
