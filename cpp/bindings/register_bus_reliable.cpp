// The bus: messages that must arrive, and what sequences tell.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bus_handles.hpp"
#include "fork_guard.hpp"
#include "gil.hpp"
#include "klineagg/bus/reliable.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"
#include "wal_options.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

const char* name_of(bus::Seen seen) noexcept {
    switch (seen) {
        case bus::Seen::in_order: return "in_order";
        case bus::Seen::gap: return "gap";
        case bus::Seen::out_of_order: return "out_of_order";
        case bus::Seen::duplicate: break;
    }
    return "duplicate";
}

py::array_t<bool> see_all(bus::SequenceTracker& self,
                          const py::array_t<std::uint64_t, py::array::c_style |
                                                               py::array::forcecast>& sequences) {
    py::array_t<bool> is_new(sequences.size());
    const auto from = sequences.unchecked<1>();
    auto to = is_new.mutable_unchecked<1>();
    for (py::ssize_t i = 0; i < sequences.size(); ++i)
        to(i) = self.see(from(i)) != bus::Seen::duplicate;
    return is_new;
}

/// The publisher's thread has no GIL: what became of messages is fetched by a thread that has.
struct Reliable {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<bus::Delivery> outcomes;
    bool closed = false;
    std::string topic;
    bus::ReliablePublisher publisher;  // the last one: its thread uses the others

    Reliable(const bus::Folder& folder, std::string topic_name, const std::string& name,
                   const bus::RecordType& type, bus::ReliableOptions options)
        : topic(std::move(topic_name)),
          publisher(folder, topic, name, type, std::move(options)) {}
    ~Reliable() {
        const GilReleased released;
        publisher.close();
    }
    Reliable(const Reliable&) = delete;
    Reliable& operator=(const Reliable&) = delete;

    void put(const bus::Delivery& delivery) {
        const std::lock_guard lock(mutex);
        outcomes.push_back(delivery);
        changed.notify_all();
    }
};
using ReliableHandle = ForkGuarded<Reliable>;

std::unique_ptr<ReliableHandle> make_publisher(
    const std::string& path, std::int64_t group, const std::string& topic, const std::string& name,
    const std::string& type, const std::set<std::string>& names, bool all, std::size_t acks,
    std::int64_t timeout_ns, int retries, std::size_t pending_max, std::optional<int> core,
    std::size_t ring_bytes, std::uint64_t first_sequence, std::int64_t orphan_after_ns,
    std::size_t publishers_max, const std::string& wal, const std::string& sync) {
    bus::ReliableOptions options;
    options.names = names;
    options.all = all;
    options.acks = acks;
    options.timeout_ns = timeout_ns;
    options.retries = retries;
    options.pending_max = pending_max;
    options.core = core;
    options.publisher.ring_bytes = ring_bytes;
    options.publisher.first_sequence = first_sequence;
    options.publisher.orphan_after = orphan_after_ns;
    options.publisher.publishers_max = publishers_max;
    options.wal = wal;
    options.log.sync = sync_mode(sync, "sync");
    return std::make_unique<ReliableHandle>(std::make_shared<Reliable>(
        bus_folder(path, group), topic, name, bus::RecordType::parse(type), std::move(options)));
}

std::uint64_t send(ReliableHandle& handle, const py::array& record) {
    Reliable& self = handle.get();
    if (record.size() != 1 ||
        record.itemsize() != static_cast<py::ssize_t>(self.publisher.type().bytes()))
        throw Error(ErrorCode::record_mismatch, "this is not one record of the topic");
    const auto* const data = static_cast<const std::byte*>(record.data());
    const GilReleased released;
    return self.publisher.send(data, [&self](const bus::Delivery& delivery) { self.put(delivery); });
}

/// Waits for some; none after the timeout, None when nothing more comes.
py::object outcomes(ReliableHandle& handle, double timeout_s) {
    Reliable& self = handle.get();
    std::deque<bus::Delivery> found;
    bool over = false;
    {
        const GilReleased released;
        std::unique_lock lock(self.mutex);
        self.changed.wait_for(lock, std::chrono::duration<double>(timeout_s),
                              [&] { return self.closed || !self.outcomes.empty(); });
        found.swap(self.outcomes);
        over = self.closed && found.empty();
    }
    if (over) return py::none();
    py::list out;
    for (const bus::Delivery& each : found) {
        out.append(py::make_tuple(each.sequence, each.delivered, py::cast(each.missing),
                                  py::cast(each.acknowledged), each.text(self.topic)));
    }
    return out;
}

void close_publisher(ReliableHandle& handle) {
    if (handle.is_foreign()) return;  // its thread is not here
    Reliable& self = handle.get();
    const GilReleased released;
    self.publisher.close();
    const std::lock_guard lock(self.mutex);
    self.closed = true;
    self.changed.notify_all();
}

bool flush(ReliableHandle& handle, double timeout_s) {
    Reliable& self = handle.get();
    const GilReleased released;
    return self.publisher.flush(bus_deadline(timeout_s));
}

struct ReceiverHandle {
    std::mutex mutex;
    bus::ReliableSubscriber subscriber;

    ReceiverHandle(const bus::Folder& folder, const std::string& topic,
                   const bus::RecordType& type, bus::ReliableSubscriberOptions options)
        : subscriber(folder, topic, type, std::move(options)) {}
};

std::unique_ptr<ReceiverHandle> make_subscriber(
    const std::string& path, std::int64_t group, const std::string& topic, const std::string& type,
    const std::string& name, const std::string& wait, const std::string& start,
    const std::map<std::string, std::uint64_t>& from, bool at_once,
    std::function<bool(std::uint64_t)> drop) {
    bus::ReliableSubscriberOptions options;
    options.subscriber = bus_subscriber_options(name, wait, start, from);
    options.at_once = at_once;
    options.drop = std::move(drop);
    return std::make_unique<ReceiverHandle>(bus_folder(path, group), topic,
                                            bus::RecordType::parse(type), std::move(options));
}

py::array receive(ReceiverHandle& self, const py::dtype& dtype, std::size_t count_max) {
    const auto lock = bus_turn(self.mutex);
    py::array records(dtype, static_cast<py::ssize_t>(count_max));
    // With the GIL: `drop` may be Python.
    const std::size_t count =
        self.subscriber.receive(static_cast<std::byte*>(records.mutable_data()), count_max);
    return records[py::slice(0, static_cast<py::ssize_t>(count), 1)].cast<py::array>();
}

bool wait(ReceiverHandle& self, double timeout_s) {
    const GilReleased released;
    const std::lock_guard lock(self.mutex);
    return self.subscriber.wait(bus_deadline(timeout_s));
}

/// `kept`: records that were received and are not done with.
template <void (bus::ReliableSubscriber::*Act)(const std::byte*, std::size_t)>
void settle(ReceiverHandle& self, const py::array& kept) {
    if (kept.itemsize() != static_cast<py::ssize_t>(self.subscriber.type().bytes()) ||
        (kept.flags() & py::array::c_style) == 0)
        throw Error(ErrorCode::record_mismatch, "these are not the records of the topic");
    const auto lock = bus_turn(self.mutex);
    (self.subscriber.*Act)(static_cast<const std::byte*>(kept.data()),
                           static_cast<std::size_t>(kept.size()));
}

template <class Act>
auto locked(ReceiverHandle& self, Act&& act) {
    const auto lock = bus_turn(self.mutex);
    return act(self.subscriber);
}

void register_tracker(py::module_& module) {
    using Tracker = bus::SequenceTracker;
    py::class_<Tracker>(module, "BusTracker", "See klineagg.bus.SequenceTracker.")
        .def(py::init<std::optional<std::uint64_t>>(), py::arg("next_sequence"))
        .def("see", [](Tracker& self, std::uint64_t n) { return name_of(self.see(n)); },
             py::arg("sequence"))
        .def("see_all", &see_all, py::arg("sequences"))
        .def_property_readonly("next_sequence", &Tracker::next)
        .def_property_readonly("missing",
                               [](const Tracker& self) {
                                   return std::vector<Tracker::Range>(self.missing().begin(),
                                                                      self.missing().end());
                               })
        .def_property_readonly("missing_count", &Tracker::missing_count)
        .def_property_readonly("complete_below", &Tracker::complete_below)
        .def_property_readonly("duplicates", &Tracker::duplicates)
        .def_property_readonly("out_of_order", &Tracker::out_of_order);
}

}  // namespace

void register_bus_reliable(py::module_& module) {
    register_tracker(module);
    py::class_<ReliableHandle>(module, "BusReliablePublisher",
                               "See klineagg.bus.ReliablePublisher.")
        .def(py::init(&make_publisher), py::arg("path"), py::arg("group"), py::arg("topic"),
             py::arg("name"), py::arg("type"), py::kw_only(), py::arg("names"), py::arg("all"),
             py::arg("acks"), py::arg("timeout_ns"), py::arg("retries"), py::arg("pending_max"),
             py::arg("core"), py::arg("ring_bytes"), py::arg("first_sequence"),
             py::arg("orphan_after_ns"), py::arg("publishers_max"), py::arg("wal"),
             py::arg("sync"))
        .def("send", &send, py::arg("record"))
        .def("outcomes", &outcomes, py::arg("timeout_s"),
             "(sequence, delivered, missing, acknowledged, text); None: nothing more comes.")
        .def("flush", &flush, py::arg("timeout_s"))
        .def("close", &close_publisher)
        .def_property_readonly("pending",
                               [](const ReliableHandle& self) { return self->publisher.pending(); })
        .def_property_readonly(
            "delivered", [](const ReliableHandle& self) { return self->publisher.delivered(); })
        .def_property_readonly("failed",
                               [](const ReliableHandle& self) { return self->publisher.failed(); })
        .def_property_readonly(
            "repeated", [](const ReliableHandle& self) { return self->publisher.repeated(); });
    using Subscriber = bus::ReliableSubscriber;
    py::class_<ReceiverHandle>(module, "BusReliableSubscriber",
                               "See klineagg.bus.ReliableSubscriber.")
        .def(py::init(&make_subscriber), py::arg("path"), py::arg("group"), py::arg("topic"),
             py::arg("type"), py::arg("name"), py::arg("wait"), py::arg("start"),
             py::arg("positions"), py::arg("at_once"), py::arg("drop"))
        .def("receive", &receive, py::arg("dtype"), py::arg("count_max"))
        .def("wait", &wait, py::arg("timeout_s"))
        .def("acknowledge", &settle<&Subscriber::acknowledge>, py::arg("kept"))
        .def("close", &settle<&Subscriber::close>, py::arg("kept"))
        .def_property_readonly("duplicates",
                               [](ReceiverHandle& self) {
                                   return locked(self, [](Subscriber& s) { return s.duplicates(); });
                               })
        .def_property_readonly("missing", [](ReceiverHandle& self) {
            return locked(self, [](Subscriber& s) { return s.missing(); });
        });
}

}  // namespace klineagg
