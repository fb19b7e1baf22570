// Commands that the files of the engine share.
#pragma once

#include "klineagg/engine/command.hpp"
#include "klineagg/engine/transfer.hpp"
#include "klineagg/engine/worker.hpp"

namespace klineagg::engine {

/// To get through all lanes and do no more.
struct Nothing final : Command {
    void run(Worker&) override {}
};

/// The cut at which symbols change hands. It lives as long as any worker may look at it.
struct Handover final : Command {
    Handover() {
        runs_halted = false;
        waits_for_holes = true;
    }
    void run(Worker& worker) override { worker.begin_transfer(transfer); }
    /// While no producer is inside a block, before trades go by the new routes.
    void announce() noexcept {
        for (const Transfer::Part& part : transfer.parts) part.worker->announce(transfer);
    }
    Transfer transfer;
};

}  // namespace klineagg::engine
