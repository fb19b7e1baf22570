// Tables of bars to Python: read-only arrays over the table's own memory.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "klineagg/bar_table.hpp"

namespace klineagg {

/// {columns, series, outside, partials}: the table lives as long as any of the arrays, whatever
/// becomes of the engine that made it.
pybind11::dict bar_arrays_of(std::shared_ptr<const BarTable> table);

/// The way back, with a copy: `columns` by name, `series` as (symbol, interval, begin, end). Throws
/// Error(column_type), Error(column_length), Error(missing_column).
BarTable bar_table_of(const pybind11::dict& columns, const pybind11::tuple& series);

}  // namespace klineagg
