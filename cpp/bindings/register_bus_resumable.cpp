// Resumable subscribers, over logs or over a history written in Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bus_handles.hpp"
#include "gil.hpp"
#include "klineagg/bus/resumable.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

/// An object of Python in the hands of those who do not have the GIL.
class Held {
public:
    explicit Held(py::object object) : object_(std::move(object)) {}
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
        const GilTaken gil;
        if (!gil.held()) (void)object_.release();
        object_ = py::object();
    }
    [[nodiscard]] const py::object& get() const noexcept { return object_; }

private:
    py::object object_;
};

/// For calls into Python by those who do not have the GIL.
class GilWanted {
public:
    GilWanted() {
        if (!taken_.held()) throw Error(ErrorCode::bus_closed, "the interpreter ends");
    }

private:
    GilTaken taken_;
};

/// Records that an iterator gives as arrays, in runs that follow each other.
class IteratedReading final : public bus::RecordReading {
public:
    IteratedReading(const py::object& arrays, std::size_t record_bytes)
        : arrays_(py::iter(arrays)), record_bytes_(record_bytes) {}

    bool next(std::vector<std::byte>& to) override {
        while (at_ == records_.size()) {
            if (!fill()) return false;
        }
        std::size_t end = at_;
        const std::uint64_t first = sequence_at(at_);
        for (std::uint64_t next = first; end != records_.size() && sequence_at(end) == next; ++next)
            end += record_bytes_;
        const auto from = records_.begin();
        to.insert(to.end(), from + static_cast<std::ptrdiff_t>(at_),
                  from + static_cast<std::ptrdiff_t>(end));
        at_ = end;
        return true;
    }

private:
    bool fill() {
        const GilWanted gil;
        const auto item = py::reinterpret_steal<py::object>(PyIter_Next(arrays_.get().ptr()));
        if (PyErr_Occurred() != nullptr) throw py::error_already_set();
        if (!item) return false;
        const py::array array =
            py::module_::import("numpy").attr("ascontiguousarray")(item).cast<py::array>();
        if (array.itemsize() != static_cast<py::ssize_t>(record_bytes_))
            throw Error(ErrorCode::record_mismatch, "the history has other records than the topic");
        records_.resize(static_cast<std::size_t>(array.size()) * record_bytes_);
        std::memcpy(records_.data(), array.data(), records_.size());
        at_ = 0;
        return true;
    }
    [[nodiscard]] std::uint64_t sequence_at(std::size_t at) const noexcept {
        bus::MessageHeader header;
        std::memcpy(&header, records_.data() + at, sizeof header);
        return header.sequence;
    }

    Held arrays_;
    std::size_t record_bytes_;
    std::vector<std::byte> records_;
    std::size_t at_ = 0;
};

/// A klineagg.bus.History.
class PythonHistory final : public bus::RecordHistory {
public:
    PythonHistory(py::object history, std::size_t record_bytes)
        : history_(std::move(history)), record_bytes_(record_bytes) {}

    [[nodiscard]] std::vector<std::string> publishers() const override {
        const GilWanted gil;
        return history_.get().attr("publishers")().cast<std::vector<std::string>>();
    }
    [[nodiscard]] std::unique_ptr<bus::RecordReading> read(const std::string& publisher,
                                                           std::uint64_t first,
                                                           std::uint64_t end) const override {
        const GilWanted gil;
        const py::object last = end == TO_THE_END ? py::object(py::none()) : py::int_(end);
        return std::make_unique<IteratedReading>(
            history_.get().attr("read")(publisher, first, last), record_bytes_);
    }

private:
    Held history_;
    std::size_t record_bytes_;
};

/// As BusSubscriberHandle. Where it is can be asked for while another thread waits in receive().
class Handle {
public:
    struct State {
        bus::Positions positions;
        bus::Positions seen;
        std::uint64_t replayed = 0;
        std::uint64_t repeated = 0;
    };

    Handle(const bus::Folder& folder, const std::string& topic, const bus::RecordType& type,
           std::unique_ptr<bus::RecordHistory> history, const bus::ResumableOptions& options)
        : subscriber_(folder, topic, type, std::move(history), options) {
        note();
    }
    /// The collector comes at any time: what it wrote could replace a later position, of one who
    /// has gone on from there.
    ~Handle() { subscriber_.abandon(); }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    std::mutex mutex;  // of use()

    /// Without the GIL.
    template <class Call>
    auto use(Call&& call) {
        struct Note {
            Handle& self;
            ~Note() { self.note(); }  // also where it throws
        } const after{*this};
        return call(subscriber_);
    }
    [[nodiscard]] State state() const {
        const std::lock_guard lock(noting_);
        return state_;
    }

private:
    void note() {
        const std::lock_guard lock(noting_);
        state_ = {subscriber_.positions(), subscriber_.seen(), subscriber_.replayed(),
                  subscriber_.repeated()};
    }

    bus::Resumable subscriber_;
    mutable std::mutex noting_;
    State state_;
};

/// `history`: (root, topic) of logs, or a History.
std::unique_ptr<bus::RecordHistory> history_of(const py::object& history,
                                               const bus::RecordType& type) {
    if (!py::isinstance<py::tuple>(history))
        return std::make_unique<PythonHistory>(history, type.bytes());
    const auto [root, topic] = history.cast<std::pair<std::string, std::string>>();
    return std::make_unique<bus::LogHistory>(root, topic, type);
}

std::unique_ptr<Handle> make(const std::string& path, std::int64_t group, const std::string& topic,
                             const std::string& text, const std::string& name,
                             const std::string& wait, const py::object& history,
                             const std::optional<std::string>& checkpoint,
                             const bus::Positions& positions, std::uint64_t every) {
    const bus::RecordType type = bus::RecordType::parse(text);
    bus::ResumableOptions options;
    options.checkpoint = checkpoint.value_or("");
    options.every = every;
    options.live = bus_subscriber_options(name, wait, "oldest", positions);
    return std::make_unique<Handle>(bus_folder(path, group), topic, type,
                                    history_of(history, type), options);
}

py::object receive(Handle& self, const py::dtype& dtype, std::optional<double> timeout_s) {
    std::vector<std::byte> bytes;
    const bool came = bus_wait_in_steps(self.mutex, timeout_s, [&](engine::MonotonicNs deadline) {
        return self.use([&](bus::Resumable& subscriber) {
            const auto batch = subscriber.receive(deadline);
            // It is valid until the next call, which may be another thread's.
            if (batch) bytes.assign(batch->bytes.begin(), batch->bytes.end());
            return batch.has_value();
        });
    });
    if (!came) return py::none();
    py::array records(dtype, static_cast<py::ssize_t>(bytes.size()) / dtype.itemsize());
    std::memcpy(records.mutable_data(), bytes.data(), bytes.size());
    return records;
}

template <class Call>
void alone(Handle& self, Call&& call) {
    const GilReleased released;
    const std::lock_guard lock(self.mutex);
    self.use(call);
}

void put_back(Handle& self, std::size_t count, bool seen) {
    alone(self, [&](bus::Resumable& subscriber) { subscriber.put_back(count, seen); });
}

void checkpoint(Handle& self) {
    alone(self, [](bus::Resumable& subscriber) { subscriber.checkpoint(); });
}

void close(Handle& self) {
    alone(self, [](bus::Resumable& subscriber) { subscriber.close(); });
}

}  // namespace

void register_bus_resumable(py::module_& module) {
    py::class_<bus::Checkpoint>(module, "BusCheckpoint", "See klineagg.bus.Checkpoint.")
        .def(py::init<std::string>(), py::arg("path"))
        .def("load", &bus::Checkpoint::load, ReleaseGil())
        .def("save", &bus::Checkpoint::save, py::arg("positions"), ReleaseGil())
        .def("load_seen", &bus::Checkpoint::load_seen, ReleaseGil())
        .def("save_seen", &bus::Checkpoint::save_seen, py::arg("positions"), ReleaseGil());
    py::class_<Handle>(module, "BusResumable", "See klineagg.bus.ResumableSubscriber.")
        .def(py::init(&make), py::arg("path"), py::arg("group"), py::arg("topic"),
             py::arg("type"), py::arg("name"), py::arg("wait"), py::arg("history"),
             py::arg("checkpoint"), py::arg("positions"), py::arg("every"))
        .def("receive", &receive, py::arg("dtype"), py::arg("timeout_s"))
        .def("put_back", &put_back, py::arg("count"), py::arg("seen"))
        .def("checkpoint", &checkpoint)
        .def("close", &close)
        .def("positions", [](const Handle& self) { return self.state().positions; })
        .def("seen", [](const Handle& self) { return self.state().seen; })
        .def_property_readonly("replayed",
                               [](const Handle& self) { return self.state().replayed; })
        .def_property_readonly("repeated",
                               [](const Handle& self) { return self.state().repeated; });
}

}  // namespace klineagg
