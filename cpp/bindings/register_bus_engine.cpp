// The engine on the bus: what it publishes, and trades of the bus as what it takes.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bus_handles.hpp"
#include "gil.hpp"
#include "klineagg/bus/engine_feed.hpp"
#include "klineagg/bus/trade_columns.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"
#include "wal_options.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

std::shared_ptr<bus::EngineFeed> make_feed(const std::string& path, std::int64_t group,
                                           const std::string& name, const std::string& trades,
                                           const std::string& bars, const std::string& open_bars,
                                           DurationNs open_interval_ns, int publishers,
                                           std::size_t ring_bytes, const std::string& log_root,
                                           const std::string& sync, std::uint64_t log_bytes_max) {
    bus::EngineFeedOptions options;
    options.name = name;
    options.trades = trades;
    options.bars = bars;
    options.open_bars = open_bars;
    options.open_interval_ns = open_interval_ns;
    options.publishers = publishers;
    options.ring_bytes = ring_bytes;
    options.log_root = log_root;
    options.log.sync = sync_mode(sync, "sync");
    options.log.size_max = log_bytes_max;
    // They are there for who reads the topics: the engine's own log is what it goes on from.
    options.log.keep_uncommitted = false;
    const GilReleased released;
    return std::make_shared<bus::EngineFeed>(bus_folder(path, group), std::move(options));
}

py::dict counts_of(const bus::EngineFeed& self) {
    const bus::EngineFeedCounts counts = self.counts();
    py::dict out;
    out["trades"] = counts.trades;
    out["bars"] = counts.bars;
    out["open_bars"] = counts.open_bars;
    out["unnamed"] = counts.unnamed;
    return out;
}

/// The vector's memory as an array, without a copy.
template <class T>
py::array_t<T> array_of(std::vector<T>&& values) {
    auto* const kept = new std::vector<T>(std::move(values));
    const py::capsule owner(kept, [](void* vector) { delete static_cast<std::vector<T>*>(vector); });
    return py::array_t<T>(static_cast<py::ssize_t>(kept->size()), kept->data(), owner);
}

py::dict trade_columns(const py::array& events) {
    if (events.itemsize() != static_cast<py::ssize_t>(sizeof(bus::TradeEvent)) ||
        (events.flags() & py::array::c_style) == 0)
        throw Error(ErrorCode::record_mismatch, "these are no records of the type TradeEvent");
    bus::EventColumns columns;
    {
        const auto* const data = static_cast<const std::byte*>(events.data());
        const auto count = static_cast<std::size_t>(events.size());
        const GilReleased released;
        columns = bus::event_columns(data, count);
    }
    py::dict out;
    out["symbol"] = array_of(std::move(columns.symbol));
    out["time"] = array_of(std::move(columns.time));
    out["price"] = array_of(std::move(columns.price));
    out["quantity"] = array_of(std::move(columns.quantity));
    out["side"] = array_of(std::move(columns.side));
    out["first_trade_id"] = array_of(std::move(columns.trade_id));
    out["last_trade_id"] = array_of(std::move(columns.last_trade_id));
    out["flags"] = array_of(std::move(columns.flags));
    return out;
}

}  // namespace

void register_bus_engine(py::module_& module) {
    py::class_<bus::EngineFeed, std::shared_ptr<bus::EngineFeed>>(module, "BusEngineFeed",
                                                                  "See klineagg.bus.EngineFeed.")
        .def(py::init(&make_feed), py::arg("path"), py::arg("group"), py::arg("name"),
             py::arg("trades"), py::arg("bars"), py::arg("open_bars"),
             py::arg("open_interval_ns"), py::arg("publishers"), py::arg("ring_bytes"),
             py::arg("log_root"), py::arg("sync"), py::arg("log_bytes_max"))
        .def("counts", &counts_of)
        .def("next_sequences", &bus::EngineFeed::next_sequences,
             "(topic, publisher) by the next sequence, the two as 'topic@publisher'.")
        .def("stopped", &bus::EngineFeed::stopped, py::call_guard<GilReleased>());
    module.def("bus_trade_columns", &trade_columns, py::arg("events"),
               "Columns of an array of TradeEvent, as an engine takes them.");
}

}  // namespace klineagg
