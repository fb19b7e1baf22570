// Maps klineagg::Error to the exceptions of klineagg.errors, once, by the table.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <exception>

#include "klineagg/error.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

void raise_in_python(const Error& error) {
    py::dict fields;
    for (const auto& [key, value] : error.fields()) fields[py::str(key)] = value;
    const py::object make = py::module_::import("klineagg.errors").attr("make");
    const py::object exception =
        make(std::string(error_info(error.code()).name), std::string(error.what()), **fields);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
}

}  // namespace

void register_errors(py::module_& module) {
    module.def(
        "error_table",
        [] {
            py::list rows;
            for (const ErrorInfo& info : error_table()) {
                rows.append(py::make_tuple(static_cast<int>(info.code), std::string(info.name),
                                           std::string(info.python_class), std::string(info.hint)));
            }
            return rows;
        },
        "Every error as (number, name, Python class, hint).");

    py::register_local_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const Error& error) {
            raise_in_python(error);
        }
    });
}

}  // namespace klineagg
