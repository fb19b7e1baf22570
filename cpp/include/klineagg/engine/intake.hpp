// One lane from a producer to a worker, with the gate that holds records back behind a cut.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "klineagg/engine/cut_board.hpp"
#include "klineagg/engine/lane.hpp"

namespace klineagg::engine {

class Intake {
public:
    static constexpr std::uint64_t OPEN = std::numeric_limits<std::uint64_t>::max();

    Intake(const CutBoard& board, std::size_t worker, std::size_t capacity, LanePolicy policy,
           std::uint16_t source)
        : lane(capacity, policy), board_(&board), worker_(worker), source_(source) {}

    /// Of the worker: the position behind the last record that it may apply now.
    [[nodiscard]] std::uint64_t limit() const noexcept {
        // The gate is read behind the commit: a control thread that found the producer at the
        // same commit before and after it closed the gate knows that no worker is past it.
        const std::uint64_t committed = board_->position(worker_);
        const std::uint64_t gate = gate_.load(std::memory_order_seq_cst);
        // Looked at behind the commit, which may be of the lane that came after this one.
        if (sealed_.load(std::memory_order_seq_cst)) [[unlikely]] return gate;
        return committed < gate ? committed : gate;
    }
    /// Of the worker, while the gate is closed.
    [[nodiscard]] bool at_gate() const noexcept {
        const std::uint64_t gate = gate_.load(std::memory_order_seq_cst);
        return gate == OPEN || lane.applied() >= gate;
    }
    /// The same of an engine with a log: everything before the gate is in the log or on its way.
    [[nodiscard]] bool is_taken_to_gate() const noexcept {
        const std::uint64_t gate = gate_.load(std::memory_order_seq_cst);
        return gate == OPEN || lane.taken() >= gate;
    }
    [[nodiscard]] bool is_gated() const noexcept {
        return gate_.load(std::memory_order_seq_cst) != OPEN;
    }
    void open() noexcept { gate_.store(OPEN, std::memory_order_seq_cst); }
    /// Of the control thread.
    void close_at(std::uint64_t position) noexcept {
        gate_.store(position, std::memory_order_seq_cst);
    }
    /// Of the control thread: nothing comes behind the gate any more, and the place on the board
    /// is another lane's. Of a producer that is held, with its gates closed.
    void seal() noexcept { sealed_.store(true, std::memory_order_seq_cst); }
    [[nodiscard]] bool is_sealed() const noexcept {
        return sealed_.load(std::memory_order_seq_cst);
    }
    /// Of the worker: there are holes that it can see to now.
    [[nodiscard]] bool has_holes() const noexcept {
        return !are_holes_waiting && (holes != nullptr || lane.hole_position() != Lane::NO_LIMIT);
    }
    [[nodiscard]] std::uint16_t source() const noexcept { return source_; }
    /// The place of the worker at its other end.
    [[nodiscard]] std::size_t worker() const noexcept { return worker_; }

    Lane lane;
    // Of a worker with a log.
    std::size_t waiting = 0;         // blocks that the log has not accepted yet
    HoleTable* holes = nullptr;      // on their way into the log
    bool are_holes_waiting = false;  // they are one of the blocks

private:
    const CutBoard* board_;
    std::size_t worker_;
    std::uint16_t source_;
    alignas(128) std::atomic<std::uint64_t> gate_{OPEN};
    std::atomic<bool> sealed_{false};
};

}  // namespace klineagg::engine
