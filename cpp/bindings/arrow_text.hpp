// Columns of strings as dense codes.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "arrow_column.hpp"
#include "klineagg/factorize.hpp"

namespace klineagg {

/// Codes, int32, of a NumPy array of 'U', 'S' or Python objects; -1 where there is no value
/// (None, NaN, pandas' NA).
pybind11::array_t<std::int32_t> encode_numpy(Factorizer& factorizer, const pybind11::array& values);

/// Codes, int32, of an Arrow text or binary column; -1 for nulls.
pybind11::array_t<std::int32_t> encode_arrow(Factorizer& factorizer, const arrow::Column& column);

}  // namespace klineagg
