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
#include "engine_options.hpp"
#include "engine_stats.hpp"
#include "gil.hpp"
#include "interpreter_exit.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using engine::Clock;
using engine::LanePolicy;
using engine::SimulatedClock;
using engine::SystemClock;
using engine::WaitKind;

std::unique_ptr<EngineHandle> make_engine(const std::vector<Interval>& intervals,
                                          std::shared_ptr<Clock> clock, const py::dict& given) {
    EngineOptions options = engine_options_of(given);
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

py::list names_of(const EngineHandle& self) {
    py::list names;
    for (const Interval& interval : self->intervals()) names.append(interval.name());
    return names;
}

py::dict reconfigure(EngineHandle& self, const py::dict& given, DurationNs timeout_ns) {
    const ConfigChange change = config_change_of(given);
    ConfigReport report;
    Engine& engine = self.get();
    {
        const GilReleased released;
        report = engine.reconfigure(change, timeout_ns);
    }
    py::list changed;
    for (const ConfigReport::Value& value : report.changed)
        changed.append(py::make_tuple(value.option, value.before, value.after));
    py::dict out;
    out["changed"] = changed;
    out["added"] = report.added;
    out["removed"] = report.removed;
    out["has_new_base"] = report.has_new_base;
    return out;
}

py::dict bars(EngineHandle& self, std::int32_t symbol, int output) {
    std::shared_ptr<const BarTable> table;
    Engine& engine = self.get();
    {
        const GilReleased released;
        table = engine.bars(symbol, output);
    }
    return bar_arrays_of(std::move(table));
}

std::size_t warm_start(EngineHandle& self, const py::dict& columns, const py::tuple& series) {
    const BarTable table = bar_table_of(columns, series);
    Engine& engine = self.get();
    const GilReleased released;
    return engine.warm_start(table);
}

py::tuple view_of(EngineHandle& self) {
    View view;
    {
        const GilReleased released;
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
        .def("start", [](EngineHandle& self) { self->start(); }, ReleaseGil())
        .def("stop", [](EngineHandle& self) { self->stop(); }, ReleaseGil())
        .def("close", &close_engine, ReleaseGil(), "Stops it, unless in a forked child.")
        .def_property_readonly("state", &state_name)
        .def("producer",
             [](EngineHandle& self, const std::string& name, std::uint16_t source,
                DurationNs timeout_ns) {
                 return std::make_unique<ProducerHandle>(self->producer(name, source), timeout_ns);
             },
             py::arg("name"), py::arg("source"), py::arg("timeout_ns"), ReleaseGil())
        .def("flush", [](EngineHandle& self) { self->flush(); }, ReleaseGil())
        .def("advance", [](EngineHandle& self, TimeNs now) { self->advance(now); },
             py::arg("now"), ReleaseGil())
        .def("take",
             [](EngineHandle& self, const std::string& consumer,
                std::optional<DurationNs> lease_ns) {
                 return std::make_unique<SnapshotHandle>(
                     std::make_shared<Snapshot>(self->take(consumer, lease_ns)));
             },
             py::arg("consumer"), py::arg("lease_ns"), ReleaseGil())
        .def("view", &view_of, "(open bars, watermark)")
        .def("add_symbol",
             [](EngineHandle& self, std::int32_t symbol, std::optional<double> last_price,
                TimeNs start) { return self->add_symbol(symbol, last_price, start); },
             py::arg("symbol"), py::arg("last_price"), py::arg("start"), ReleaseGil())
        .def("move",
             [](EngineHandle& self, const std::vector<std::pair<std::int32_t, std::uint32_t>>& to,
                DurationNs timeout_ns) { return self->move(to, timeout_ns); },
             py::arg("symbols"), py::arg("timeout_ns"), ReleaseGil())
        .def("rebalance", [](EngineHandle& self) { return self->rebalance(); }, ReleaseGil())
        .def("resize",
             [](EngineHandle& self, int workers, DurationNs timeout_ns) {
                 self->resize(workers, timeout_ns);
             },
             py::arg("workers"), py::arg("timeout_ns"), ReleaseGil())
        .def("rebuild",
             [](EngineHandle& self, int worker, DurationNs timeout_ns) {
                 self->rebuild(worker, timeout_ns);
             },
             py::arg("worker"), py::arg("timeout_ns"), ReleaseGil())
        .def("remove_symbol", &remove_symbol, py::arg("symbol"), py::arg("open_bars_too"),
             py::arg("timeout_ns"), ReleaseGil(),
             "'removed', or why not: 'unknown', 'in_flight', 'open_bars'.")
        .def("worker_count", [](const EngineHandle& self) { return self->worker_count(); })
        .def("drain", [](EngineHandle& self) { self->drain(); }, ReleaseGil())
        .def("interval_names", &names_of, "By the numbers that rows name, all there ever were.")
        .def("reconfigure", &reconfigure, py::arg("change"), py::arg("timeout_ns"))
        .def("bars", &bars, py::arg("symbol"), py::arg("output"))
        .def("warm_start", &warm_start, py::arg("columns"), py::arg("series"))
        .def("stats",
             [](const EngineHandle& self) {
                 EngineStats stats;
                 const Engine& engine = self.get();
                 {
                     const GilReleased released;
                     stats = engine.stats();
                 }
                 py::dict out = stats_to_python(stats);
                 out["outside_sessions"] = engine.counts().outside;
                 py::dict sources;
                 for (const ProducerStats& producer : stats.producers)
                     sources[py::int_(producer.source)] = ids_to_python(engine.id_counts(producer.source));
                 out["sources"] = sources;
                 return out;
             })
        .def("closed_rows", [](const EngineHandle& self) { return self->closed_rows(); })
        .def("memory", [](const EngineHandle& self) { return memory_to_python(self->memory()); })
        .def("worker_loads", [](const EngineHandle& self) { return self->worker_loads(); });
    module.def("begin_exit", [] { InterpreterExit::get().begin(); },
               "Before engines are stopped at exit: other threads end with them.");
    module.attr("TIME_NONE") = TIME_NONE;
    module.attr("HORIZON_UNLIMITED") = HORIZON_UNLIMITED;
}

}  // namespace klineagg
