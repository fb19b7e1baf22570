// Snapshots: rows that a consumer is owed until it acknowledges them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "bar_arrays.hpp"
#include "engine_handles.hpp"
#include "gil.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {

void register_snapshot(py::module_& module) {
    py::class_<SnapshotHandle>(module, "Snapshot", "See klineagg.Snapshot.")
        .def("closed", [](const SnapshotHandle& self) { return bar_arrays_of(self->share_closed()); })
        .def("open", [](const SnapshotHandle& self) { return bar_arrays_of(self->share_open()); })
        .def_property_readonly("id",
                               [](const SnapshotHandle& self) {
                                   const SnapshotId id = self->id();
                                   return std::pair{id.epoch, id.number};
                               })
        .def_property_readonly("watermark",
                               [](const SnapshotHandle& self) { return self->watermark(); })
        .def_property_readonly("rows_lost",
                               [](const SnapshotHandle& self) { return self->rows_lost(); })
        .def("ack", [](SnapshotHandle& self) { self->ack(); }, ReleaseGil())
        .def("nack", [](SnapshotHandle& self) { self->nack(); }, ReleaseGil());
}

}  // namespace klineagg
