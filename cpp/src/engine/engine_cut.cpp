// Cuts: commands that all workers run at one place in the order of all trades.
#include "klineagg/engine.hpp"

#include <algorithm>

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

}  // namespace

void Engine::run_on_workers(Command& command) { run_on(workers_, command); }

void Engine::run_on(const Workers& workers, Command& command) {
    if (state_.load() != EngineState::running) {
        core_->failure.check();
        for (const auto& worker : workers) command.run(*worker);  // no thread of its own has it
        for (const auto& worker : workers) worker->log().publish();
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
}

void Engine::cut(Command& command) {
    for (const auto& producer : producers_) producer->close_gates();
    run_on_workers(command);
}

void Engine::flush() {
    const std::lock_guard lock(control_);
    check_running();
    engine::Nothing command;
    cut(command);
}

TimeNs Engine::clock_watermark() const noexcept {
    const TimeNs now = core_->clock->now();
    return now == TIME_MIN ? TIME_NONE : now - core_->close_delay_ns.load();
}

void Engine::advance(TimeNs now) {
    auto* const clock = dynamic_cast<engine::SimulatedClock*>(core_->clock.get());
    if (clock == nullptr)
        throw Error(ErrorCode::engine_state, "advance needs an engine with a simulated clock");
    const std::lock_guard lock(control_);
    core_->failure.check();
    clock->advance(now);
    CloseUpTo command(clock_watermark());
    cut(command);
    highest_watermark_ = std::max(highest_watermark_, command.watermark);
}

}  // namespace klineagg
