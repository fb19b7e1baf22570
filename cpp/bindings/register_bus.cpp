// The bus: record types, topics, publishers.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bus_handles.hpp"
#include "gil.hpp"
#include "klineagg/bus/cleanup.hpp"
#include "klineagg/bus/record_type.hpp"
#include "klineagg/bus/topic.hpp"
#include "klineagg/engine/thread.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using bus::Publisher;
using bus::Topic;

bus::PublisherOptions options_of(std::size_t ring_bytes, std::uint64_t first_sequence,
                                 std::int64_t orphan_after, std::size_t publishers_max,
                                 bool keep_headers, std::uint64_t skip_to) {
    bus::PublisherOptions options;
    options.ring_bytes = ring_bytes;
    options.first_sequence = first_sequence;
    options.orphan_after = orphan_after;
    options.publishers_max = publishers_max;
    options.keep_headers = keep_headers;
    options.skip_to = skip_to;
    return options;
}

// An array, not a buffer: NumPy does not lend buffers of records that have times in them.
std::uint64_t publish(Publisher& self, const py::array& records) {
    if (records.itemsize() != static_cast<py::ssize_t>(self.type().bytes()) ||
        (records.flags() & py::array::c_style) == 0) {
        throw Error(ErrorCode::record_mismatch,
                    "records of " + std::to_string(records.itemsize()) + " bytes for the topic " +
                        self.topic().name() + ", whose " + self.type().name() + " has " +
                        std::to_string(self.type().bytes()));
    }
    const auto* const data = static_cast<const std::byte*>(records.data());
    const auto count = static_cast<std::size_t>(records.size());
    if (count * self.type().bytes() < BUS_SMALL_COPY_BYTES) return self.publish(data, count);
    const GilReleased released;
    return self.publish(data, count);
}

/// What the arrays of a loan hold on to: it keeps the publisher, and so the mapping, alive, and
/// gives back a loan that nobody can write to any more.
struct LoanKeeper {
    py::object publisher;
    std::uint64_t number;
};

py::tuple loan(const py::object& self, std::size_t count) {
    const Publisher::Loan loan = self.cast<Publisher&>().loan(count);
    const py::capsule owner(new LoanKeeper{self, loan.number}, [](void* pointer) {
        const std::unique_ptr<LoanKeeper> keeper(static_cast<LoanKeeper*>(pointer));
        keeper->publisher.cast<Publisher&>().drop_loan(keeper->number);
    });
    py::list pieces;
    for (const auto& piece : loan.pieces) {
        if (piece.empty()) continue;
        pieces.append(py::array(py::dtype::of<std::uint8_t>(),
                                {static_cast<py::ssize_t>(piece.size())}, {1},
                                reinterpret_cast<std::uint8_t*>(piece.data()), owner));
    }
    return py::make_tuple(loan.first, pieces);
}

py::dict publisher_info(const Topic& topic, const std::string& name) {
    py::dict out;
    const std::string path = topic.ring_path(name);
    const auto file = bus::MappedFile::open(path, false);
    if (!file) return out;
    const bus::RingMemory ring = bus::RingMemory::open(file->data(), file->size());
    const bus::RingHeader& header = ring.header();
    out["name"] = name;
    out["damaged"] = "";
    out["type"] = ring.type().text();
    out["alive"] = bus::FileLock::is_locked(path);
    out["state"] = header.state.load();
    out["pid"] = header.pid.load();
    out["generation"] = header.generation.load();
    out["next_sequence"] = header.tail.load();
    out["first_sequence"] = header.first_sequence;
    out["heartbeat_ns"] = header.heartbeat_time.load();
    out["capacity"] = ring.capacity();
    out["record_bytes"] = ring.record_bytes();
    out["bytes"] = file->size();
    out["wakes"] = header.wake_count.load();
    return out;
}

/// Nothing that such a file says is worth anything, but that it is there.
py::dict damaged_info(const std::string& name, const Error& error) {
    py::dict out;
    out["name"] = name;
    out["damaged"] = error.what();
    out["type"] = "";
    out["alive"] = false;
    for (const char* const key : {"state", "pid", "generation", "next_sequence", "first_sequence",
                                  "heartbeat_ns", "capacity", "record_bytes", "bytes", "wakes"})
        out[key] = 0;
    return out;
}

py::list publishers_of(const Topic& topic) {
    py::list out;
    for (const std::string& name : topic.publishers()) {
        // One that is damaged must not hide the others.
        py::dict info;
        try {
            info = publisher_info(topic, name);
        } catch (const Error& error) {
            info = damaged_info(name, error);
        }
        if (!info.empty()) out.append(info);
    }
    return out;
}

py::list subscribers_of(const Topic& topic) {
    py::list out;
    for (const bus::SubscriberInfo& each : topic.subscribers()) {
        py::dict info;
        info["name"] = each.name;
        info["pid"] = each.pid;
        info["joined_ns"] = each.joined;
        info["seen_ns"] = each.seen;
        info["received"] = each.received;
        info["lost"] = each.lost;
        info["behind"] = each.behind;
        info["fill"] = each.fill;
        info["duplicates"] = each.duplicates;
        out.append(info);
    }
    return out;
}

py::list types() {
    py::list out;
    for (const bus::RecordType& type : bus::builtin_types()) out.append(type.text());
    return out;
}

py::tuple parse(const std::string& text) {
    const bus::RecordType type = bus::RecordType::parse(text);
    py::list fields;
    for (const bus::Field& field : type.fields()) {
        fields.append(py::make_tuple(field.name, std::string(1, field.kind), field.bytes,
                                     field.count, field.offset));
    }
    return py::make_tuple(type.name(), type.version(), type.bytes(), type.hash(), fields);
}

py::list default_topics() {
    py::list out;
    for (const bus::DefaultTopic& each : bus::DEFAULT_TOPICS)
        out.append(py::make_tuple(std::string(each.topic), std::string(each.type),
                                  each.ring_bytes));
    return out;
}

void register_topic(py::module_& module) {
    module.def("bus_record_types", &types, "The texts of the built-in records.");
    module.def("bus_parse_type", &parse, py::arg("text"),
               "(name, version, bytes, hash, fields) of a record type's text.");
    module.def("bus_default_topics", &default_topics, "(topic, record type, ring bytes).");
    module.def("bus_default_path", &bus::Folder::default_path);
    module.def("bus_check_topic", &bus::check_topic, py::arg("name"));
    module.def("bus_check_name", &bus::check_name, py::arg("name"));
    module.def("pin_thread", &engine::pin_current_thread, py::arg("core"),
               "Keeps the calling thread on this core.");
    module.def("check_core", &engine::check_core, py::arg("core"));
    module.def(
        "bus_topics",
        [](const std::string& path, std::int64_t group) {
            return bus_folder(path, group).topics();
        },
        py::arg("path"), py::arg("group"));
    module.def(
        "bus_clean",
        [](const std::string& path, std::int64_t group, std::int64_t orphan_after_ns) {
            return bus::clean_folder(bus_folder(path, group), orphan_after_ns);
        },
        py::arg("path"), py::arg("group"), py::arg("orphan_after_ns"));
    module.def(
        "bus_forget",
        [](const std::string& path, std::int64_t group, std::int64_t older_than_ns) {
            return bus::forget_sequences(bus_folder(path, group), older_than_ns);
        },
        py::arg("path"), py::arg("group"), py::arg("older_than_ns"));
    py::class_<Topic>(module, "BusTopic", "What a topic's segments say.")
        .def(py::init([](const std::string& path, std::int64_t group, const std::string& name) {
                 return Topic(bus_folder(path, group), name);
             }),
             py::arg("path"), py::arg("group"), py::arg("name"))
        .def("publishers", &publishers_of)
        .def("subscribers", &subscribers_of)
        .def("remove_orphans", &bus::remove_orphans, py::arg("orphan_after_ns"));
}

}  // namespace

void register_bus(py::module_& module) {
    register_topic(module);
    py::class_<Publisher>(module, "BusPublisher", "See klineagg.bus.Publisher.")
        .def(py::init([](const std::string& path, std::int64_t group, const std::string& topic,
                         const std::string& name, const std::string& type,
                         std::size_t ring_bytes, std::uint64_t first_sequence,
                         std::int64_t orphan_after_ns, std::size_t publishers_max,
                         bool keep_headers, std::uint64_t skip_to) {
                 return std::make_unique<Publisher>(
                     bus_folder(path, group), topic, name, bus::RecordType::parse(type),
                     options_of(ring_bytes, first_sequence, orphan_after_ns, publishers_max,
                                keep_headers, skip_to));
             }),
             py::arg("path"), py::arg("group"), py::arg("topic"), py::arg("name"),
             py::arg("type"), py::arg("ring_bytes"), py::arg("first_sequence"),
             py::arg("orphan_after_ns"), py::arg("publishers_max"), py::arg("keep_headers"),
             py::arg("skip_to"))
        .def("publish", &publish, py::arg("records"))
        .def("loan", &loan, py::arg("count"))
        .def("commit_loan", &Publisher::commit_loan, py::arg("count"))
        .def("close", &Publisher::close)
        .def_property_readonly("is_open", &Publisher::is_open)
        .def_property_readonly("capacity", &Publisher::capacity)
        .def_property_readonly("batch_max", &Publisher::batch_max)
        .def_property_readonly("generation", &Publisher::generation)
        .def_property_readonly("next_sequence", &Publisher::next_sequence)
        .def_property_readonly("wake_count", &Publisher::wake_count);
}

}  // namespace klineagg
