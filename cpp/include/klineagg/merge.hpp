// Results that were made apart (threads, processes, machines, days) become one, exactly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "klineagg/bar_table.hpp"

namespace klineagg {

/// One result: parallel arrays, in any order of rows.
struct PartialRows {
    std::size_t size = 0;
    const std::int32_t* symbol = nullptr;
    const std::int16_t* interval = nullptr;  // the same numbering in all results
    const PartialBar* bars = nullptr;
};

/// Bars of the same symbol, interval and opening are merged, in the order of the results: trades
/// with equal keys keep that order. A bar is closed when it was so in a result, or when a later
/// trade of its symbol is anywhere. Throws Error(record_version), Error(merge_mismatch).
BarTable merge_results(std::span<const PartialRows> results);

}  // namespace klineagg
