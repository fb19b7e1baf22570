// Snapshots: rows that a consumer is owed until it acknowledges them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <utility>

#include "bar_arrays.hpp"
#include "engine_handles.hpp"
#include "gil.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

/// Where another process that is handed the file finds the columns.
py::object shared_of(const SnapshotHandle& self, bool open) {
    const BarTable& table = open ? self->open() : self->closed();
    const Arena& memory = table.memory();
    if (memory.file() < 0 || table.rows() == 0) return py::none();
    py::dict offsets;
#define KLINEAGG_ADD(type, name) \
    offsets[#name] = reinterpret_cast<const std::byte*>(table.columns().name) - memory.data();
    KLINEAGG_BAR_COLUMNS(KLINEAGG_ADD)
#undef KLINEAGG_ADD
    return py::make_tuple(memory.file(), memory.size(), offsets);
}

}  // namespace

void register_snapshot(py::module_& module) {
    py::class_<SnapshotHandle>(module, "Snapshot", "See klineagg.Snapshot.")
        .def("closed", [](const SnapshotHandle& self) { return bar_arrays_of(self->share_closed()); })
        .def("shared", &shared_of, py::arg("open"),
             "(file, bytes, {column: offset}) of the open or the closed bars; None: none shared.")
        .def("open", [](const SnapshotHandle& self) { return bar_arrays_of(self->share_open()); })
        .def("checkpoint",
             [](const SnapshotHandle& self) -> py::object {
                 const auto bytes = self->checkpoint();
                 if (bytes == nullptr) return py::none();
                 return bytes_of(*bytes);
             })
        .def_property_readonly("id",
                               [](const SnapshotHandle& self) {
                                   const SnapshotId id = self->id();
                                   return std::pair{id.epoch, id.number};
                               })
        .def_property_readonly("watermark",
                               [](const SnapshotHandle& self) { return self->watermark(); })
        .def_property_readonly("position",
                               [](const SnapshotHandle& self) { return self->position(); })
        .def_property_readonly("rows_lost",
                               [](const SnapshotHandle& self) { return self->rows_lost(); })
        .def("ack", [](SnapshotHandle& self) { self->ack(); }, ReleaseGil())
        .def("nack", [](SnapshotHandle& self) { self->nack(); }, ReleaseGil());
}

}  // namespace klineagg
