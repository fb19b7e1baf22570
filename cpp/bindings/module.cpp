// klineagg._core: wires the categories together, nothing else.
#include <pybind11/pybind11.h>

#include "register.hpp"

PYBIND11_MODULE(_core, module) {
    module.doc() = "The C++ core of klineagg. Use the package klineagg: this module may change.";
    module.attr("__version__") = KLINEAGG_VERSION;
    klineagg::register_all(module);
}
