// What is done on the workers' threads besides applying trades.
#pragma once

#include <atomic>
#include <cstdint>

namespace klineagg::engine {

class Worker;

/// Runs once on every worker's thread, when that worker has applied all that lies before the
/// cut and nothing behind it. It must not throw but for lack of memory, and should be short:
/// trades wait meanwhile.
class Command {
public:
    virtual ~Command() = default;
    virtual void run(Worker& worker) = 0;

    void expect(std::uint32_t workers) noexcept { waiting_.store(workers); }
    void finish_one() noexcept { waiting_.fetch_sub(1, std::memory_order_acq_rel); }
    [[nodiscard]] bool is_done() const noexcept {
        return waiting_.load(std::memory_order_acquire) == 0;
    }

private:
    std::atomic<std::uint32_t> waiting_{0};
};

}  // namespace klineagg::engine
