// The live engine. The GIL is released in everything that may wait for a worker.
#include "klineagg/engine.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bar_arrays.hpp"
#include "engine_handles.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using engine::Clock;
using engine::LanePolicy;
using engine::SimulatedClock;
using engine::SystemClock;
using engine::WaitKind;
using Release = py::call_guard<py::gil_scoped_release>;

/// Options by name, where the names are those of EngineOptions.
class OptionReader {
public:
    explicit OptionReader(const py::dict& options) : options_(options) {}

    template <class T>
    void read(const char* name, T& to) {
        if (!options_.contains(name)) return;
        to = py::cast<T>(options_[name]);
        ++read_;
    }
    void check_all_read() const {
        if (read_ != options_.size())
            throw Error(ErrorCode::internal, "the core does not know all of the engine's options");
    }

private:
    const py::dict& options_;
    std::size_t read_ = 0;
};

EngineOptions options_of(const py::dict& given) {
    EngineOptions options;
    OptionReader reader(given);
    reader.read("lateness_ns", options.aggregator.lateness_ns);
    reader.read("late", options.aggregator.late);
    reader.read("amend_horizon_ns", options.aggregator.amend_horizon_ns);
    reader.read("gaps", options.aggregator.gaps);
    reader.read("coverage_start", options.aggregator.coverage_start);
    reader.read("workers", options.workers);
    reader.read("cores", options.cores);
    reader.read("wait", options.wait);
    reader.read("policy", options.policy);
    reader.read("lane_capacity", options.lane_capacity);
    reader.read("block_timeout_ns", options.block_timeout_ns);
    reader.read("close_delay_ns", options.close_delay_ns);
    reader.read("max_ahead_ns", options.max_ahead_ns);
    reader.read("lease_ns", options.lease_ns);
    reader.read("admit_unknown", options.admit_unknown);
    reader.read("allow_nonpositive_prices", options.allow_nonpositive_prices);
    reader.read("unacknowledged_rows_max", options.unacknowledged_rows_max);
    reader.read("on_bound", options.on_bound);
    reader.read("last_prices", options.last_prices);
    reader.check_all_read();
    return options;
}

std::unique_ptr<EngineHandle> make_engine(const std::vector<Interval>& intervals,
                                          std::shared_ptr<Clock> clock, const py::dict& given) {
    EngineOptions options = options_of(given);
    options.clock = std::move(clock);
    return std::make_unique<EngineHandle>(
        std::make_shared<Engine>(RollupPlan(intervals), std::move(options)));
}

const char* state_name(const EngineHandle& self) {
    if (self.is_foreign()) return "forked";
    switch (self->state()) {
        case EngineState::created: return "created";
        case EngineState::running: return "running";
        case EngineState::draining: return "draining";
        case EngineState::stopped: return "stopped";
        case EngineState::failed: break;
    }
    return "failed";
}

std::string remove_symbol(EngineHandle& self, std::int32_t symbol, bool open_bars_too,
                          DurationNs timeout_ns) {
    switch (self->remove_symbol(symbol, open_bars_too, timeout_ns)) {
        case RemovedSymbol::removed: return "removed";
        case RemovedSymbol::unknown: return "unknown";
        case RemovedSymbol::in_flight: return "in_flight";
        case RemovedSymbol::open_bars: break;
    }
    return "open_bars";
}

/// Nothing in a forked child: the workers are not there, and nobody else hears of it.
void close_engine(EngineHandle& self) {
    if (!self.is_foreign()) self->stop();
}

py::dict counts_of(const EngineHandle& self) {
    const EngineCounts counts = self->counts();
    py::dict out;
    out["applied"] = counts.applied;
    out["late"] = counts.late;
    out["beyond_horizon"] = counts.beyond_horizon;
    out["outside"] = counts.outside;
    out["log_waits"] = counts.log_waits;
    return out;
}

py::tuple view_of(EngineHandle& self) {
    View view;
    {
        const py::gil_scoped_release release;
        view = self->view();
    }
    return py::make_tuple(bar_arrays_of(std::move(view.open)), view.watermark);
}

void register_clocks(py::module_& module) {
    py::class_<Clock, std::shared_ptr<Clock>>(module, "Clock")
        .def("now", &Clock::now, "Nanoseconds UTC.")
        .def_property_readonly("simulated", &Clock::simulated);
    py::class_<SystemClock, Clock, std::shared_ptr<SystemClock>>(module, "SystemClock")
        .def(py::init<>());
    py::class_<SimulatedClock, Clock, std::shared_ptr<SimulatedClock>>(module, "SimulatedClock")
        .def(py::init<TimeNs>(), py::arg("start") = TIME_MIN)
        .def("advance", &SimulatedClock::advance, py::arg("time"));
}

}  // namespace

void register_engine(py::module_& module) {
    py::enum_<WaitKind>(module, "WaitKind")
        .value("spin", WaitKind::spin)
        .value("backoff", WaitKind::backoff)
        .value("park", WaitKind::park);
    py::enum_<LanePolicy>(module, "LanePolicy")
        .value("block", LanePolicy::block)
        .value("drop_newest", LanePolicy::drop_newest)
        .value("drop_oldest", LanePolicy::drop_oldest);
    py::enum_<BoundPolicy>(module, "BoundPolicy")
        .value("lose", BoundPolicy::lose)
        .value("block", BoundPolicy::block);
    register_clocks(module);

    py::class_<EngineHandle>(module, "Engine", "See klineagg.Engine.")
        .def(py::init(&make_engine), py::arg("intervals"), py::arg("clock"), py::arg("options"))
        .def("start", [](EngineHandle& self) { self->start(); }, Release())
        .def("stop", [](EngineHandle& self) { self->stop(); }, Release())
        .def("close", &close_engine, Release(), "Stops it, unless in a forked child.")
        .def_property_readonly("state", &state_name)
        .def("producer",
             [](EngineHandle& self, const std::string& name, std::uint16_t source) {
                 return std::make_unique<ProducerHandle>(self->producer(name, source));
             },
             py::arg("name"), py::arg("source"), Release())
        .def("flush", [](EngineHandle& self) { self->flush(); }, Release())
        .def("advance", [](EngineHandle& self, TimeNs now) { self->advance(now); },
             py::arg("now"), Release())
        .def("take",
             [](EngineHandle& self, const std::string& consumer,
                std::optional<DurationNs> lease_ns) {
                 return std::make_unique<SnapshotHandle>(
                     std::make_shared<Snapshot>(self->take(consumer, lease_ns)));
             },
             py::arg("consumer"), py::arg("lease_ns"), Release())
        .def("view", &view_of, "(open bars, watermark)")
        .def("add_symbol",
             [](EngineHandle& self, std::int32_t symbol, std::optional<double> last_price,
                TimeNs start) { return self->add_symbol(symbol, last_price, start); },
             py::arg("symbol"), py::arg("last_price"), py::arg("start"), Release())
        .def("move",
             [](EngineHandle& self, const std::vector<std::pair<std::int32_t, std::uint32_t>>& to,
                DurationNs timeout_ns) { return self->move(to, timeout_ns); },
             py::arg("symbols"), py::arg("timeout_ns"), Release())
        .def("rebalance", [](EngineHandle& self) { return self->rebalance(); }, Release())
        .def("resize",
             [](EngineHandle& self, int workers, DurationNs timeout_ns) {
                 self->resize(workers, timeout_ns);
             },
             py::arg("workers"), py::arg("timeout_ns"), Release())
        .def("rebuild",
             [](EngineHandle& self, int worker, DurationNs timeout_ns) {
                 self->rebuild(worker, timeout_ns);
             },
             py::arg("worker"), py::arg("timeout_ns"), Release())
        .def("remove_symbol", &remove_symbol, py::arg("symbol"), py::arg("open_bars_too"),
             py::arg("timeout_ns"), Release(),
             "'removed', or why not: 'unknown', 'in_flight', 'open_bars'.")
        .def("worker_count", [](const EngineHandle& self) { return self->worker_count(); })
        .def("counts", &counts_of)
        .def("worker_loads", [](const EngineHandle& self) { return self->worker_loads(); });
    module.attr("TIME_NONE") = TIME_NONE;
    module.attr("HORIZON_UNLIMITED") = HORIZON_UNLIMITED;
}

}  // namespace klineagg
