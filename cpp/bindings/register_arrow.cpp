// Arrow data in and out, and strings as codes.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "arrow_column.hpp"
#include "arrow_export.hpp"
#include "arrow_reader.hpp"
#include "arrow_text.hpp"
#include "klineagg/error.hpp"
#include "klineagg/factorize.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

py::list factorizer_names(const Factorizer& factorizer, std::size_t start) {
    py::list names;
    for (std::size_t code = start; code < factorizer.size(); ++code) {
        const std::string& name = factorizer.name(code);
        PyObject* text =
            PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), nullptr);
        if (text == nullptr) {
            PyErr_Clear();
            throw Error(ErrorCode::column_type, "the column holds bytes that are not UTF-8 text",
                        {{"reason", "utf8"}});
        }
        names.append(py::reinterpret_steal<py::str>(text));
    }
    return names;
}

void register_column(py::module_& module) {
    using arrow::Column;
    py::class_<Column>(module, "ArrowColumn", "A column of an Arrow batch; its memory is shared.")
        .def_property_readonly("name", &Column::name)
        .def_property_readonly("type", &Column::type, "The Arrow type, for messages.")
        .def_property_readonly(
            "kind", &Column::kind,
            "null, bool, int, float, decimal, text, date, time, timestamp, duration, list, "
            "dictionary or other.")
        .def_property_readonly("unit", &Column::unit, "D, s, ms, us or ns of a kind of time.")
        .def_property_readonly(
            "dtype", &Column::dtype,
            "The NumPy type of values() when that is a view of the memory, else ''.")
        .def_property_readonly("null_count", &Column::null_count)
        .def_property_readonly("token", &Column::token,
                               "The same for two slices of one array while either is alive.")
        .def("__len__", &Column::length)
        .def("slice", &Column::slice, py::arg("start"), py::arg("stop"),
             "Rows start ... stop - 1; nothing is copied.")
        .def("values", &Column::values,
             "Numbers as a read-only view; bits are unpacked, decimals become the nearest "
             "float64. What stands in a row without a value is undefined.")
        .def("valid", &Column::valid, "bool (n,), False where there is no value; None: all have.")
        .def("indices", &Column::indices, "Codes of a dictionary column, a read-only view.")
        .def("dictionary", &Column::dictionary, "The values that the codes refer to.")
        .def("offsets", &Column::offsets,
             "int64 (n + 1,): row i of a list column is items()[offsets[i]:offsets[i + 1]].")
        .def("items", &Column::items, "The elements of all rows of a list column.");
}

void register_reader(py::module_& module) {
    using arrow::Reader;
    py::class_<Reader>(module, "ArrowReader", "Iterates over batches: lists of ArrowColumn.")
        .def_property_readonly("is_table", &Reader::is_table,
                               "False: the data has no columns of its own, a batch is one column.")
        .def_property_readonly("names", &Reader::names, "The names of the columns of a table.")
        .def_property_readonly("type", &Reader::type, "The Arrow type, for messages.")
        .def("__iter__", [](py::object self) { return self; })
        .def("__next__", [](Reader& reader) {
            auto batch = reader.next();
            if (!batch) throw py::stop_iteration();
            return std::move(*batch);
        });
    module.def("read_arrow", &Reader::open, py::arg("source"),
               "Reads what __arrow_c_stream__ (a capsule) or __arrow_c_array__ (two) returned.");
}

}  // namespace

void register_arrow(py::module_& module) {
    register_column(module);
    register_reader(module);
    py::class_<Factorizer>(module, "Factorizer",
                           "Distinct strings as codes 0, 1, ... in the order of appearance.")
        .def(py::init<>())
        .def("encode", &encode_arrow, py::arg("values"))
        .def("encode", &encode_numpy, py::arg("values"),
             "Codes, int32 (n,), of text: an ArrowColumn, or an array of dtype U, S or O in "
             "native byte order. -1 where there is no value.")
        .def("__len__", &Factorizer::size)
        .def("names", &factorizer_names, py::arg("start") = 0,
             "The strings of the codes from `start` on.");
    module.def("arrow_stream", &arrow::export_stream, py::arg("columns"), py::arg("n_rows"),
               py::arg("batch_rows") = 0,
               "A capsule 'arrow_array_stream' over columns (name, format, data, dictionary, "
               "valid); nothing is copied but bool columns and masks.");
    module.def("arrow_schema", &arrow::export_schema, py::arg("columns"),
               "A capsule 'arrow_schema' for columns (name, format, has a dictionary).");
}

}  // namespace klineagg
