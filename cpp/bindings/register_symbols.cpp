// The process-wide table of symbol names.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "klineagg/symbol_table.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {

void register_symbols(py::module_& module) {
    module.def(
        "intern_symbol", [](const std::string& name) { return symbol_table().intern(name); },
        py::arg("name"), "The id of a name; new names get the next id.");
    module.def(
        "find_symbol", [](const std::string& name) { return symbol_table().find(name); },
        py::arg("name"), "The id of a name, None for one never interned.");
    module.def(
        "symbol_name", [](std::int32_t id) { return symbol_table().name(id); }, py::arg("id"),
        "The name of an id, '' for one never given out.");
    module.def(
        "symbol_count", [] { return symbol_table().size(); }, "How many names are interned.");
}

}  // namespace klineagg
