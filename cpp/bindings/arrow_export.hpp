// NumPy columns as Arrow PyCapsules, over the same memory.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace klineagg::arrow {

/// An "arrow_array_stream" capsule over `columns`, a list of tuples
/// (name, format, data, dictionary or None, valid or None).
/// `batch_rows` limits the rows of a batch; 0: one batch.
pybind11::capsule export_stream(const pybind11::list& columns, std::int64_t n_rows,
                                std::int64_t batch_rows);

/// An "arrow_schema" capsule for `columns`, a list of tuples (name, format, has a dictionary).
pybind11::capsule export_schema(const pybind11::list& columns);

}  // namespace klineagg::arrow
