// What an engine tells about itself, as dictionaries; the names are those of the C++ structures.
#pragma once

#include <pybind11/pybind11.h>

#include "klineagg/engine/duplicates.hpp"
#include "klineagg/engine/stats.hpp"

namespace klineagg {

pybind11::dict stats_to_python(const EngineStats& stats);
pybind11::dict stats_to_python(const ProducerStats& stats);
pybind11::dict ids_to_python(const engine::IdCounts& counts);
pybind11::dict memory_to_python(const EngineMemory& memory);

}  // namespace klineagg
