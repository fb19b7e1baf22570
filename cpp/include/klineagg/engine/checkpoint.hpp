// A whole engine as bytes: what surrounds its symbols.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "klineagg/engine/checkpoint_slot.hpp"

namespace klineagg::engine {

inline constexpr std::uint32_t CHECKPOINT_MAGIC = 0x50434C4BU;  // "KLCP"
inline constexpr std::uint16_t CHECKPOINT_VERSION = 2;
/// What lies before it says nothing of bars: magic, versions, and the epoch of the last snapshot.
inline constexpr std::size_t CHECKPOINT_STATE_BEGIN = 16;

struct CheckpointHead {
    struct Source {
        std::uint16_t number;
        IdCounts counts;
    };

    std::int64_t epoch = 0;          // of the last snapshot that was taken
    TimeNs watermark = TIME_NONE;    // the clock's
    TimeNs simulated = TIME_NONE;    // where a simulated clock stands
    std::int64_t applied = 0;
    std::int64_t late = 0;
    std::int64_t beyond_horizon = 0;
    std::int64_t outside = 0;
    std::int64_t duplicates = 0;
    std::vector<Source> sources;     // in order
};

void put_head(ByteWriter& to, const CheckpointHead& head, const PlanGeneration& generation);

/// A checkpoint that has been read as far as its symbols.
struct Checkpoint {
    /// Throws Error(checkpoint_format), Error(checkpoint_version), Error(checkpoint_mismatch).
    /// `bytes` stay as long as it is used.
    Checkpoint(std::span<const std::byte> bytes, const std::vector<Interval>& tables);

    CheckpointHead head;
    PlanGeneration plan;
    struct Symbol {
        SymbolName name;
        ByteReader state;
    };
    std::vector<Symbol> symbols;

    /// Reads one; see get_slot. Throws as the constructor does.
    void read(const Symbol& symbol, SymbolSlot& slot, BlockPool* pool) const;

private:
    explicit Checkpoint(ByteReader from, const std::vector<Interval>& tables);
    static CheckpointHead get_head(ByteReader& from);
};

/// The intervals and rules that are wanted, made of those of a checkpoint; outputs are numbered
/// as `outputs` are, which hold them. Throws as next_generation does.
PlanGeneration generation_after(const PlanGeneration& from, const std::vector<Interval>& wanted,
                                const std::vector<Interval>& outputs,
                                const AggregatorOptions& rules);

}  // namespace klineagg::engine
