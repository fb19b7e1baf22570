// What is done on the workers' threads besides applying trades.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "klineagg/engine/journal_records.hpp"

namespace klineagg::engine {

class Worker;

/// What a command is in the log: all workers run it at this very place.
struct CommandEntry {
    ClockRecord clock;              // without `record`: the clock is raised, and this is a cut
    std::vector<std::byte> record;
    TimeNs time = 0;
    std::atomic<std::uint32_t> to_come{0};     // workers that are not at their gates yet
    std::atomic<std::uint64_t> position{0};    // 0: not decided yet
    std::atomic<bool> is_refused{false};       // the log has halted: `position` is its bound
};

/// Runs once on every worker's thread, when that worker has applied all that lies before the
/// cut and nothing behind it. It must not throw but for lack of memory, and should be short:
/// trades wait meanwhile.
class Command {
public:
    virtual ~Command() = default;
    virtual void run(Worker& worker) = 0;

    void expect(std::uint32_t workers) noexcept {
        waiting_.store(workers);
        if (entry) entry->to_come.store(workers);
    }
    void finish_one() noexcept { waiting_.fetch_sub(1, std::memory_order_acq_rel); }
    [[nodiscard]] bool is_done() const noexcept {
        return waiting_.load(std::memory_order_acquire) == 0;
    }

    std::unique_ptr<CommandEntry> entry;  // none: the log has nothing of it
    /// Whether it may run while the log has halted, with what is accepted so far. Otherwise no
    /// symbol may be in the middle of anything.
    bool runs_halted = true;
    /// Whether holes of rows before the cut must be known, too: slots change hands, and a hole that
    /// came later would be another one's. A producer that is stopped while it drops is waited for.
    bool waits_for_holes = false;
    std::atomic<bool> has_halted{false};  // it ran like that

private:
    std::atomic<std::uint32_t> waiting_{0};
};

}  // namespace klineagg::engine
