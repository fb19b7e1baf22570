// From the captures of all workers to one table.
#pragma once

#include <cstddef>
#include <span>

#include "klineagg/bar_table.hpp"
#include "klineagg/engine/capture.hpp"

namespace klineagg::engine {

/// The rows of captures that are done: by interval, symbol and time. Throws std::bad_alloc.
BarTable open_table(std::span<const Capture* const> captures, std::size_t intervals,
                    ArenaKind memory = ArenaKind::own);

}  // namespace klineagg::engine
