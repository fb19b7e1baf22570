// Bars and rows as they stand in a checkpoint.
#pragma once

#include <string>

#include "klineagg/bar.hpp"
#include "klineagg/engine/bar_row.hpp"
#include "klineagg/engine/checkpoint_bytes.hpp"
#include "klineagg/interval.hpp"

namespace klineagg::engine {

/// In its canonical form, without the words that are as in an empty bar.
void put_bar(ByteWriter& to, const PartialBar& bar);
/// Its times are within reach and in order; everything else that a bar may hold, it may.
PartialBar get_bar(ByteReader& from);

/// The symbol and the interval are said elsewhere.
void put_row(ByteWriter& to, const BarRow& row);
BarRow get_row(ByteReader& from);

/// In the place of a table (time zone, sessions) that nobody wants any more: it has to be something
/// until it is left out.
Interval unwanted_table(const std::string& name);
[[nodiscard]] bool is_unwanted(const Interval& interval) noexcept;

/// TIME_NONE, or a time that intervals can be asked for.
TimeNs get_time(ByteReader& from);

}  // namespace klineagg::engine
