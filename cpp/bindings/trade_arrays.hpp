// Trades from Python: a dictionary of arrays as columns, none of them copied.
#pragma once

#include <pybind11/pybind11.h>

#include "klineagg/trade_columns.hpp"

namespace klineagg {

/// Refers to the memory of the arrays, which must outlive it. Throws Error(column_type),
/// Error(column_length).
TradeColumns trade_columns_of(const pybind11::dict& chunk);

}  // namespace klineagg
