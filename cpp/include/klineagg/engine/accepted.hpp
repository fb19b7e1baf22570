// Who wants to hear of the trades that are accepted.
#pragma once

#include <cstdint>
#include <span>

#include "klineagg/engine/lane_record.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

/// Told on the workers' threads, by several at a time: it must not wait, and should be short.
class AcceptObserver {
public:
    AcceptObserver() = default;
    AcceptObserver(const AcceptObserver&) = delete;
    AcceptObserver& operator=(const AcceptObserver&) = delete;
    virtual ~AcceptObserver() = default;

    /// These rows have the numbers [first, first + rows.size()) in the log, which has them by its
    /// mode, and are in their bars. `symbol` of a row is the index of a slot. The numbers rise for
    /// each worker; those that no worker tells are other records.
    virtual void accepted(std::uint32_t worker, std::span<const LaneRecord> rows,
                          std::uint64_t first, const SlotTable& slots) noexcept = 0;
};

}  // namespace klineagg::engine
