// What the engine writes into its log beside trades.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "klineagg/engine/checkpoint_slot.hpp"
#include "klineagg/engine/correction.hpp"
#include "klineagg/time.hpp"
#include "klineagg/wal/format.hpp"

namespace klineagg::engine {

/// The flag of every frame that is the engine's own: others may write into the same log.
inline constexpr std::uint8_t JOURNAL_FRAME = 1;
/// The frame's time is the system's: the engine's clock had not been set. To the engine it has none.
inline constexpr std::uint8_t JOURNAL_NO_CLOCK = 2;
inline constexpr std::uint16_t JOURNAL_SCHEMA = 1;

/// By the engine's clock; 0 while that had not been set.
[[nodiscard]] inline TimeNs clock_time(const wal::FrameHeader& header) noexcept {
    return (header.flags & JOURNAL_NO_CLOCK) != 0 ? 0 : header.time;
}

/// The clock's watermark is raised; a cut of all workers may lie here.
struct ClockRecord {
    TimeNs watermark = TIME_NONE;
    TimeNs simulated = TIME_NONE;  // where a simulated clock stands
};
inline constexpr std::size_t CLOCK_RECORD_BYTES = 16;

enum class JournalKind : std::uint8_t {
    begin = 1, symbol = 2, removed = 3, hole = 4, rules = 5, note = 6, corrected = 7
};

/// An engine begins to write, behind what it has recovered.
struct BeginRecord {
    std::int64_t epoch = 0;  // of its snapshots
};
/// A symbol becomes known before its first trade.
struct SymbolRecord {
    SymbolName name;
    std::optional<double> price;  // that seeds it
    TimeNs start = TIME_NONE;
};
struct RemovedRecord {
    SymbolName name;
    bool open_bars_too = false;
};
/// Trades were dropped.
struct HoleRecord {
    TimeNs time_min = 0;
    TimeNs time_max = 0;
    std::vector<SymbolName> symbols;
};
/// The intervals and rules from here on.
struct RulesRecord {
    std::vector<Interval> intervals;
    DurationNs lateness_ns = 0;
    DurationNs amend_horizon_ns = 0;
    std::uint8_t gaps = 0;
    /// Intervals that come with it came behind this record already: they were new to an engine
    /// that went on from there, and had what the log held. None: they come here.
    std::optional<std::uint64_t> since = {};
};

/// Bars of a symbol get other content, if they hold what is expected.
struct CorrectedRecord {
    SymbolName name;
    Replacements all;
};

void put_clock(std::byte* to, const ClockRecord& record) noexcept;  // CLOCK_RECORD_BYTES
void put_record(ByteWriter& to, const BeginRecord& record);
void put_record(ByteWriter& to, const SymbolRecord& record);
void put_record(ByteWriter& to, const RemovedRecord& record);
void put_record(ByteWriter& to, const HoleRecord& record);
void put_record(ByteWriter& to, const RulesRecord& record);
void put_record(ByteWriter& to, const CorrectedRecord& record);

// Each throws Error(checkpoint_format) for bytes that are no such record.
ClockRecord get_clock(ByteReader& from);
BeginRecord get_begin(ByteReader& from);
SymbolRecord get_symbol(ByteReader& from);
RemovedRecord get_removed(ByteReader& from);
HoleRecord get_hole(ByteReader& from);
/// `tables`: where time zones and sessions are looked for, by name.
RulesRecord get_rules_record(ByteReader& from, const std::vector<Interval>& tables);

CorrectedRecord get_corrected(ByteReader& from, const std::vector<Interval>& tables);

/// A checkpoint with its place in a log around it, under a CRC.
struct Placed {
    std::array<std::byte, 16> log{};
    std::uint64_t position = 0;  // of the last record that is in it
    std::span<const std::byte> checkpoint;
};
[[nodiscard]] std::vector<std::byte> put_placed(const Placed& placed);
/// None for a checkpoint without a place. Throws Error(checkpoint_format).
[[nodiscard]] std::optional<Placed> get_placed(std::span<const std::byte> bytes);

}  // namespace klineagg::engine
