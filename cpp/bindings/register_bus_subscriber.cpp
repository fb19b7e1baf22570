// Subscribers of the bus: waiting without the GIL, batches as NumPy arrays.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "bus_handles.hpp"
#include "gil.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using Handle = BusSubscriberHandle;

std::unique_lock<std::mutex> turn_of(Handle& self) { return bus_turn(self.mutex); }

std::unique_ptr<Handle> make(const std::string& path, std::int64_t group, const std::string& topic,
                             const std::string& type, const std::string& name,
                             const std::string& wait, const std::string& start,
                             const std::map<std::string, std::uint64_t>& from) {
    return std::make_unique<Handle>(bus_folder(path, group), topic, bus::RecordType::parse(type),
                                    bus_subscriber_options(name, wait, start, from));
}

py::array receive(Handle& self, const py::dtype& dtype, std::size_t count_max) {
    const auto lock = turn_of(self);
    bus::Subscriber& subscriber = self.subscriber;
    if (dtype.itemsize() != static_cast<py::ssize_t>(subscriber.type().bytes()))
        throw Error(ErrorCode::record_mismatch, "the dtype has another size than the record");
    // A few more: some may come between this look and the copy.
    const std::uint64_t there = subscriber.available();
    const auto most = static_cast<std::size_t>(
        std::min<std::uint64_t>(count_max, std::max<std::uint64_t>(there, 16)));
    py::array records(dtype, static_cast<py::ssize_t>(most));
    auto* const data = static_cast<std::byte*>(records.mutable_data());
    std::size_t count = 0;
    if (most * subscriber.type().bytes() < BUS_SMALL_COPY_BYTES) {
        count = subscriber.receive(data, most);
    } else {
        const GilReleased released;
        count = subscriber.receive(data, most);
    }
    if (count == most) return records;
    return records[py::slice(0, static_cast<py::ssize_t>(count), 1)].cast<py::array>();
}

bool wait(Handle& self, std::optional<double> timeout_s) {
    return bus_wait_in_steps(self.mutex, timeout_s, [&](engine::MonotonicNs deadline) {
        return self.subscriber.wait(deadline);
    });
}

void delay(Handle& self, std::size_t batch_size, std::int64_t interval_ns,
           const std::string& key) {
    bus::DelayedOptions options;
    options.batch_size = batch_size;
    options.interval = interval_ns;
    options.key = key;
    self.delayed = std::make_unique<bus::Delayed>(self.subscriber, options);
}

py::object collect(Handle& self, const py::dtype& dtype, std::optional<double> timeout_s) {
    if (!self.delayed) throw Error(ErrorCode::internal, "this subscriber does not collect");
    const bool due = bus_wait_in_steps(self.mutex, timeout_s, [&](engine::MonotonicNs deadline) {
        return self.delayed->collect(deadline);
    });
    if (!due) return py::none();
    const auto lock = turn_of(self);
    py::array records(dtype, static_cast<py::ssize_t>(self.delayed->size()));
    std::memcpy(records.mutable_data(), self.delayed->batch().data(),
                self.delayed->batch().size());
    self.delayed->clear();
    return records;
}

/// Arrays over the ring, which lives as long as any of them.
py::tuple peek_arrays(Handle& self, const py::dtype& dtype, std::size_t count_max) {
    const auto lock = turn_of(self);
    auto peek = self.subscriber.peek(count_max);
    py::list arrays;
    auto keep = self.subscriber.memory_of(peek.source);
    for (const auto& piece : peek.view.pieces) {
        if (piece.empty()) continue;
        const py::capsule owner(new std::shared_ptr<const void>(keep), [](void* pointer) {
            delete static_cast<std::shared_ptr<const void>*>(pointer);
        });
        py::array array(dtype,
                        {static_cast<py::ssize_t>(piece.size()) / dtype.itemsize()},
                        {dtype.itemsize()}, piece.data(), owner);
        array.attr("setflags")(py::arg("write") = false);
        arrays.append(array);
    }
    return py::make_tuple(peek, arrays);
}

py::list sources(Handle& self) {
    const auto lock = turn_of(self);
    py::list out;
    for (const bus::SourceInfo& each : self.subscriber.sources()) {
        py::dict info;
        info["name"] = each.name;
        info["generation"] = each.generation;
        info["pid"] = each.pid;
        info["alive"] = each.alive;
        info["heartbeat_ns"] = each.heartbeat;
        info["next_sequence"] = each.next;
        info["behind"] = each.behind;
        info["received"] = each.received;
        info["lost"] = each.lost;
        out.append(info);
    }
    return out;
}

}  // namespace

void register_bus_subscriber(py::module_& module) {
    py::class_<bus::Subscriber::Peek>(module, "BusPeek", "Records lent by a ring.")
        .def_property_readonly("first_sequence",
                               [](const bus::Subscriber::Peek& self) { return self.view.first; });
    py::class_<Handle>(module, "BusSubscriber", "See klineagg.bus.Subscriber.")
        .def(py::init(&make), py::arg("path"), py::arg("group"), py::arg("topic"),
             py::arg("type"), py::arg("name"), py::arg("wait"), py::arg("start"), py::arg("from_"))
        .def("receive", &receive, py::arg("dtype"), py::arg("count_max"))
        .def("wait", &wait, py::arg("timeout_s"))
        .def("delay", &delay, py::arg("batch_size"), py::arg("interval_ns"), py::arg("key"))
        .def("collect", &collect, py::arg("dtype"), py::arg("timeout_s"))
        .def("conflated",
             [](const Handle& self) { return self.delayed ? self.delayed->conflated() : 0; })
        .def("peek", &peek_arrays, py::arg("dtype"), py::arg("count_max"))
        .def("still_valid",
             [](Handle& self, const bus::Subscriber::Peek& peek) {
                 const auto lock = turn_of(self);
                 return self.subscriber.still_valid(peek);
             },
             py::arg("peek"))
        .def("release_peek",
             [](Handle& self, const bus::Subscriber::Peek& peek) {
                 const auto lock = turn_of(self);
                 return self.subscriber.release_peek(peek);
             },
             py::arg("peek"))
        .def("close",
             [](Handle& self) {
                 const auto lock = turn_of(self);
                 self.subscriber.leave();
             })
        .def("sources", &sources)
        .def("positions",
             [](Handle& self) {
                 const auto lock = turn_of(self);
                 return self.subscriber.positions();
             })
        .def("refresh",
             [](Handle& self) {
                 const auto lock = turn_of(self);
                 self.subscriber.refresh();
             })
        .def("count_duplicates",
             [](Handle& self, std::uint64_t count) { self.subscriber.count_duplicates(count); },
             py::arg("count"))
        .def_property_readonly("received",
                               [](const Handle& self) { return self.subscriber.received(); })
        .def_property_readonly("lost", [](const Handle& self) { return self.subscriber.lost(); })
        .def_property_readonly("behind",
                               [](const Handle& self) { return self.subscriber.behind(); });
}

}  // namespace klineagg
