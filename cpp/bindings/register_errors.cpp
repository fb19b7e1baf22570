// Maps klineagg::Error to the exceptions of klineagg.errors, once, by the table.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <exception>
#include <string>
#include <utility>

#include "interpreter_exit.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

/// Messages quote what they are about, which may be cut within a character: a strict decoder would
/// turn the error into another one.
py::str text_of(const std::string& bytes) {
    auto text = py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(
        bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "backslashreplace"));
    if (!text) throw py::error_already_set();
    return text;
}

void raise_in_python(const Error& error) {
    if (error.code() == ErrorCode::engine_state && InterpreterExit::get().ends_this_thread()) {
        PyErr_SetNone(PyExc_SystemExit);
        return;
    }
    py::dict fields;
    for (const auto& [key, value] : error.fields()) fields[text_of(key)] = text_of(value);
    const py::object make = py::module_::import("klineagg.errors").attr("make");
    const py::object exception =
        make(std::string(error_info(error.code()).name), text_of(error.what()), **fields);
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
            if (pointer) std::rethrow_exception(std::move(pointer));
        } catch (const Error& error) {
            raise_in_python(error);
        }
    });
}

}  // namespace klineagg
