// The right to control an engine.
#pragma once

#include <mutex>

#include "klineagg/engine.hpp"

namespace klineagg {

/// One call at a time, and none before the workers are done with what an earlier one left behind
/// when its time was over: they would open the gates that were closed for this one.
class Engine::Control {
public:
    explicit Control(Engine& engine) : Control(engine, engine::NO_DEADLINE) {}
    Control(Engine& engine, engine::MonotonicNs deadline);
    /// False when the deadline came first; always true without one.
    [[nodiscard]] explicit operator bool() const noexcept { return settled_; }

private:
    std::unique_lock<std::mutex> lock_;
    bool settled_ = false;
};

}  // namespace klineagg
