// Symbols on their way from some workers to others.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "klineagg/engine/intake.hpp"
#include "klineagg/engine/lane_record.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

class Worker;

/// Made by a control thread before the cut, with all the memory that it takes. At the cut every
/// worker learns of its part and goes on with its other symbols: it gives and takes a few slots
/// between blocks. Trades of a slot that has not arrived yet are parked, in their order, so that
/// a worker that is behind holds up nobody but the symbols it gives away.
struct Transfer {
    /// What one worker has to do.
    struct Part {
        Worker* worker = nullptr;
        std::vector<SymbolSlot*> gives;
        std::vector<SymbolSlot*> takes;
        std::vector<std::shared_ptr<Intake>> lanes;  // instead of those it has
        bool changes_lanes = false;
        bool retires = false;             // it gives all it has, and ends
        std::vector<LaneRecord> parked;   // reserved: no more than that are ever parked
        std::size_t given = 0;
        std::size_t taken = 0;
        std::size_t applied = 0;          // of the parked ones
        bool has_given = false;
        std::vector<std::uint32_t> taking;  // indices of `takes`, in order

        [[nodiscard]] bool is_taking(std::int32_t slot) const noexcept {
            return std::binary_search(taking.begin(), taking.end(),
                                      static_cast<std::uint32_t>(slot));
        }
    };

    /// Enough for what arrives while another worker empties a full lane.
    static constexpr std::size_t PARKED_MAX = std::size_t{1} << 16U;

    std::vector<Part> parts;
    std::atomic<int> giving{0};  // parts that have not given everything
    std::atomic<int> left{0};    // parts that are not done

    void prepare() {
        giving.store(static_cast<int>(parts.size()));
        left.store(static_cast<int>(parts.size()));
        for (Part& part : parts) {
            if (!part.takes.empty()) part.parked.reserve(PARKED_MAX);
            for (const SymbolSlot* slot : part.takes) part.taking.push_back(slot->index);
            std::sort(part.taking.begin(), part.taking.end());
        }
    }
    [[nodiscard]] const Part* part_of(const Worker& worker) const noexcept {
        for (const Part& part : parts)
            if (part.worker == &worker) return &part;
        return nullptr;
    }
    [[nodiscard]] Part* part_of(const Worker& worker) noexcept {
        return const_cast<Part*>(std::as_const(*this).part_of(worker));
    }
    [[nodiscard]] bool is_done() const noexcept {
        return left.load(std::memory_order_acquire) <= 0;
    }
};

}  // namespace klineagg::engine
