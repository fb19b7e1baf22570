#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "heartbeat.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/engine/thread.hpp"

namespace klineagg::bus {
namespace {

class Heart {
public:
    explicit Heart(std::uint32_t process) : process_(process) {}
    [[nodiscard]] std::uint32_t process() const noexcept { return process_; }

    void add(RingHeader& header) {
        const std::lock_guard turn(changing_);
        beat(header);
        {
            const std::lock_guard lock(mutex_);
            headers_.push_back(&header);
            stopping_ = false;
        }
        if (!thread_.joinable()) thread_ = engine::Thread("kla-heartbeat", {}, [this] { run(); });
    }
    void remove(RingHeader& header) {
        const std::lock_guard turn(changing_);
        {
            const std::lock_guard lock(mutex_);
            std::erase(headers_, &header);
            stopping_ = headers_.empty();
        }
        if (stopping_ && thread_.joinable()) {
            wake_.notify_all();
            thread_.join();
            thread_ = engine::Thread();
        }
    }

private:
    static void beat(RingHeader& header) noexcept {
        header.heartbeat_time.store(utc_now(), std::memory_order_relaxed);
        header.heartbeat_count.fetch_add(1, std::memory_order_relaxed);
    }
    void run() {
        std::unique_lock lock(mutex_);
        while (!stopping_) {
            for (RingHeader* header : headers_) beat(*header);
            wake_.wait_for(lock, std::chrono::nanoseconds(HEARTBEAT_NS));
        }
    }

    const std::uint32_t process_;
    std::mutex changing_;  // of the thread
    std::mutex mutex_;     // of the list
    std::condition_variable wake_;
    std::vector<RingHeader*> headers_;
    bool stopping_ = false;
    engine::Thread thread_;
};

std::atomic<Heart*> the_heart{nullptr};

/// A forked child gets a new one: the parent's thread is not there, its mutexes may be locked.
Heart& heart() {
    Heart* current = the_heart.load(std::memory_order_acquire);
    while (current == nullptr || current->process() != process_generation()) {
        auto* const made = new Heart(process_generation());  // one a process, never destroyed
        if (the_heart.compare_exchange_strong(current, made, std::memory_order_acq_rel))
            return *made;
        delete made;
    }
    return *current;
}

}  // namespace

void heartbeat_start(RingHeader& header) { heart().add(header); }
void heartbeat_stop(RingHeader& header) noexcept { heart().remove(header); }

}  // namespace klineagg::bus
