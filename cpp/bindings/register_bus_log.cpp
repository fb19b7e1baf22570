// Publishers with a write-ahead log, and the replay of their records.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bus_handles.hpp"
#include "gil.hpp"
#include "klineagg/bus/logged.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"
#include "wal_options.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

/// Threads take turns, without the GIL.
struct LoggedHandle {
    std::mutex mutex;
    bus::LoggedPublisher publisher;

    LoggedHandle(const bus::Folder& folder, const std::string& topic, const std::string& name,
                 const bus::RecordType& type, const std::string& root,
                 const bus::PublisherOptions& options, const wal::LogOptions& log_options)
        : publisher(folder, topic, name, type, root, options, log_options) {}
};

std::unique_ptr<LoggedHandle> make(const std::string& path, std::int64_t group,
                                   const std::string& topic, const std::string& name,
                                   const std::string& type, std::size_t ring_bytes,
                                   std::int64_t orphan_after_ns, std::size_t publishers_max,
                                   const std::string& root, const std::string& sync) {
    bus::PublisherOptions options;
    options.ring_bytes = ring_bytes;
    options.orphan_after = orphan_after_ns;
    options.publishers_max = publishers_max;
    wal::LogOptions log_options;
    log_options.sync = sync_mode(sync, "sync");
    const GilReleased released;
    return std::make_unique<LoggedHandle>(bus_folder(path, group), topic, name,
                                          bus::RecordType::parse(type), root, options,
                                          log_options);
}

std::uint64_t publish(LoggedHandle& self, const py::array& records) {
    const std::size_t bytes = self.publisher.publisher().type().bytes();
    if (records.itemsize() != static_cast<py::ssize_t>(bytes) ||
        (records.flags() & py::array::c_style) == 0)
        throw Error(ErrorCode::record_mismatch, "these are not the records of the topic");
    const auto* const data = static_cast<const std::byte*>(records.data());
    const auto count = static_cast<std::size_t>(records.size());
    const GilReleased released;
    const std::lock_guard lock(self.mutex);
    return self.publisher.publish(data, count);
}

void close(LoggedHandle& self) {
    const GilReleased released;
    const std::lock_guard lock(self.mutex);
    self.publisher.close();
}

bus::LogReplay replay(const std::string& root, const std::string& topic,
                      const std::string& publisher, const std::string& type, std::uint64_t first,
                      std::optional<std::uint64_t> end, std::optional<TimeNs> start_time,
                      std::optional<TimeNs> end_time) {
    bus::ReplayRange range;
    range.first = first;
    range.end = end.value_or(range.end);
    range.start_time = start_time.value_or(range.start_time);
    range.end_time = end_time.value_or(range.end_time);
    return {bus::log_directory(root, topic, publisher), bus::RecordType::parse(type), range};
}

py::object next(bus::LogReplay& self, const py::dtype& dtype) {
    std::vector<std::byte> bytes;
    bool more = false;
    {
        const GilReleased released;
        more = self.next(bytes);
    }
    if (!more) return py::none();
    py::array records(dtype, static_cast<py::ssize_t>(bytes.size()) / dtype.itemsize());
    std::memcpy(records.mutable_data(), bytes.data(), bytes.size());
    return records;
}

}  // namespace

void register_bus_log(py::module_& module) {
    module.def("bus_logged_publishers", &bus::logged_publishers, py::arg("root"),
               py::arg("topic"), "Names that have a log of the topic.");
    py::class_<bus::LogReplay>(module, "BusLogReplay", "Records out of a publisher's log.")
        .def(py::init(&replay), py::arg("root"), py::arg("topic"), py::arg("publisher"),
             py::arg("type"), py::arg("first"), py::arg("end"), py::arg("start_time"),
             py::arg("end_time"))
        .def("next", &next, py::arg("dtype"));
    py::class_<LoggedHandle>(module, "BusLoggedPublisher", "See klineagg.bus.LoggedPublisher.")
        .def(py::init(&make), py::arg("path"), py::arg("group"), py::arg("topic"),
             py::arg("name"), py::arg("type"), py::arg("ring_bytes"), py::arg("orphan_after_ns"),
             py::arg("publishers_max"), py::arg("root"), py::arg("sync"))
        .def("publish", &publish, py::arg("records"))
        .def("close", &close)
        .def_property_readonly(
            "is_open", [](LoggedHandle& self) { return self.publisher.publisher().is_open(); })
        .def_property_readonly(
            "capacity", [](LoggedHandle& self) { return self.publisher.publisher().capacity(); })
        .def_property_readonly(
            "batch_max", [](LoggedHandle& self) { return self.publisher.publisher().batch_max(); })
        .def_property_readonly(
            "generation", [](LoggedHandle& self) { return self.publisher.publisher().generation(); })
        .def_property_readonly(
            "next_sequence", [](LoggedHandle& self) { return self.publisher.publisher().next_sequence(); })
        .def_property_readonly(
            "durable", [](LoggedHandle& self) { return self.publisher.log().durable(); });
}

}  // namespace klineagg
