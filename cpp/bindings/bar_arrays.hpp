// Tables of bars to Python: read-only arrays over the table's own memory.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "klineagg/bar_table.hpp"

namespace klineagg {

/// {columns, series, outside, partials}: the table lives as long as any of the arrays, whatever
/// becomes of the engine that made it.
pybind11::dict bar_arrays_of(std::shared_ptr<const BarTable> table);

}  // namespace klineagg
