// Cuts: commands that all workers run at one place in the order of all trades.
#include "klineagg/engine.hpp"

#include <algorithm>

#include "control.hpp"
#include "cut_wait.hpp"
#include "handover.hpp"
#include "pause.hpp"

namespace klineagg {

using engine::Command;
using engine::CutWait;
using engine::Worker;

namespace {

struct CloseUpTo final : Command {
    explicit CloseUpTo(TimeNs to) : watermark(to) {}
    void run(Worker& worker) override { worker.close_up_to(watermark); }
    TimeNs watermark;
};

engine::MonotonicNs deadline_of(std::optional<DurationNs> timeout) noexcept {
    return timeout ? engine::deadline_after(*timeout) : engine::NO_DEADLINE;
}

}  // namespace

void Engine::run_on_workers(Command& command) { run_on(workers_, command); }

void Engine::run_on(const Workers& workers, Command& command) {
    if (state_.load() != EngineState::running) {
        core_->failure.check();
        if (command.entry) write_entry(command);
        for (const auto& worker : workers) {  // no thread of its own has it
            if (core_->journal) worker->catch_up_journal();
            command.run(*worker);
        }
        for (const auto& worker : workers) worker->show_rows();
        return;
    }
    const CutWait waiting(*core_);
    command.expect(static_cast<std::uint32_t>(workers.size()));
    for (const auto& worker : workers) worker->post(command);
    engine::Pause pause;
    while (!command.is_done()) {
        core_->failure.check();
        pause();
    }
    if (!command.runs_halted) check_halted(command);
}

void Engine::cut(Command& command) {
    for (const auto& producer : producers_) producer->close_gates();
    run_on_workers(command);
}

Engine::Control::Control(Engine& engine, engine::MonotonicNs deadline)
    : lock_(engine.control_, std::defer_lock) {
    engine::Pause pause;
    if (deadline == engine::NO_DEADLINE) lock_.lock();
    // Not a timed lock: that of the system measures by a clock that may be set.
    while (!lock_.owns_lock() && !lock_.try_lock()) {
        if (engine::monotonic_ns() >= deadline) return;
        pause();
    }
    if (engine.pending_) {
        const CutWait waiting(*engine.core_);
        while (!engine.pending_->is_done() && !engine.core_->failure.is_set()) {
            if (engine::monotonic_ns() >= deadline) return;
            pause();
        }
        // After a failure nobody comes to it, but a worker may look at it still.
        if (engine.pending_->is_done()) engine.pending_.reset();
    }
    settled_ = true;
}

bool Engine::run_until(const std::shared_ptr<Command>& command, engine::MonotonicNs deadline) {
    if (state_.load() != EngineState::running) {
        run_on_workers(*command);
        return true;
    }
    const CutWait waiting(*core_);
    pending_ = command;
    command->expect(static_cast<std::uint32_t>(workers_.size()));
    for (const auto& worker : workers_) worker->post(*command);
    engine::Pause pause;
    while (!command->is_done()) {
        core_->failure.check();
        if (engine::monotonic_ns() >= deadline) return false;
        pause();
    }
    pending_.reset();
    return true;
}

bool Engine::cut_until(const std::shared_ptr<Command>& command, engine::MonotonicNs deadline) {
    for (const auto& producer : producers_) producer->close_gates();
    return run_until(command, deadline);
}

bool Engine::flush(std::optional<DurationNs> timeout) {
    const engine::MonotonicNs deadline = deadline_of(timeout);
    const Control lock(*this, deadline);
    if (!lock) return false;
    check_running();
    check_journal();
    const auto command = std::make_shared<engine::Nothing>();
    if (!cut_until(command, deadline)) return false;
    check_halted(*command);
    return true;
}

bool Engine::wait_responsive(DurationNs timeout) {
    const engine::MonotonicNs deadline = deadline_of(timeout);
    const Control lock(*this, deadline);
    if (!lock) return false;
    core_->failure.check();
    // Without gates: what waits in the lanes need not be applied for it.
    return run_until(std::make_shared<engine::Nothing>(), deadline);
}

TimeNs Engine::clock_watermark() const noexcept {
    const TimeNs now = core_->clock->now();
    return now == TIME_MIN ? TIME_NONE : now - core_->close_delay_ns.load();
}

bool Engine::advance(TimeNs now, std::optional<DurationNs> timeout) {
    auto* const clock = dynamic_cast<engine::SimulatedClock*>(core_->clock.get());
    if (clock == nullptr)
        throw Error(ErrorCode::engine_state, "advance needs an engine with a simulated clock",
                    {{"hint", "make it with clock=SimulatedClock()"}});
    const engine::MonotonicNs deadline = deadline_of(timeout);
    const Control lock(*this, deadline);
    if (!lock) return false;
    core_->failure.check();
    check_journal();
    clock->advance(now);
    const auto command = std::make_shared<CloseUpTo>(clock_watermark());
    highest_watermark_ = std::max(highest_watermark_, command->watermark);
    enter(*command, command->watermark);
    if (!cut_until(command, deadline)) return false;
    check_halted(*command);
    return true;
}

}  // namespace klineagg
