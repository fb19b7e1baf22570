// Options of an engine from Python, by name.
#pragma once

#include <pybind11/pybind11.h>

#include "klineagg/engine/options.hpp"
#include "klineagg/engine/reconfigure.hpp"

namespace klineagg {

/// The names are those of EngineOptions and of ConfigChange; what is not named stays as it is.
EngineOptions engine_options_of(const pybind11::dict& given);
ConfigChange config_change_of(const pybind11::dict& given);

}  // namespace klineagg
