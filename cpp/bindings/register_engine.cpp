// The live engine. The GIL is released in everything that may wait for a worker.
#include "klineagg/engine.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bar_arrays.hpp"
#include "engine_handles.hpp"
#include "engine_options.hpp"
#include "engine_stats.hpp"
#include "in_pieces.hpp"
#include "interpreter_exit.hpp"
#include "klineagg/engine/recovered_tail.hpp"
#include "register.hpp"
#include "trade_arrays.hpp"
#include "wal_handle.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using engine::Clock;
using engine::LanePolicy;
using engine::SimulatedClock;
using engine::SystemClock;
using engine::WaitKind;

std::unique_ptr<EngineHandle> make_engine(const std::vector<Interval>& intervals,
                                          std::shared_ptr<Clock> clock, const py::dict& given,
                                          const WalHandle* wal,
                                          const std::optional<py::bytes>& checkpoint) {
    EngineOptions options = engine_options_of(given);
    options.clock = std::move(clock);
    if (wal != nullptr) {
        const std::shared_ptr<LogState> log = wal->state.share();
        options.journal.log = std::shared_ptr<wal::Log>(log, &log->log);
    }
    if (checkpoint) {
        const std::string_view text = *checkpoint;
        const auto* const begin = reinterpret_cast<const std::byte*>(text.data());
        options.journal.checkpoint =
            std::make_shared<const std::vector<std::byte>>(begin, begin + text.size());
    }
    std::shared_ptr<Engine> engine;
    {
        const GilReleased released;  // what is in the log may be much
        engine = std::make_shared<Engine>(RollupPlan(intervals), std::move(options));
    }
    return std::make_unique<EngineHandle>(std::move(engine));
}

py::dict recovery_of(const EngineHandle& self) {
    const Recovery& found = self->recovery();
    py::dict out;
    out["checkpoint"] = found.checkpoint;
    out["position"] = found.position;
    out["trades"] = found.trades;
    out["records"] = found.records;
    out["symbols"] = found.symbols;
    out["note"] = found.note ? py::object(bytes_of(*found.note)) : py::object(py::none());
    out["has_whole_tail"] = found.has_whole_tail;
    out["took_ns"] = found.took_ns;
    out["missing"] = found.missing;
    return out;
}

std::uint64_t note(EngineHandle& self, const py::bytes& data) {
    const std::string_view text = data;
    Engine& engine = self.get();
    const GilReleased released;
    return engine.note({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

/// Which rows of a chunk are not in the log already; these are asked for once.
py::array_t<bool> keep_rows(engine::RecoveredTail& self, const py::dict& chunk) {
    const TradeColumns columns = trade_columns_of(chunk);
    py::array_t<bool> keep(static_cast<py::ssize_t>(columns.size));
    bool* const to = keep.mutable_data();
    const GilReleased released;
    const AnyRows rows(columns);
    for (std::size_t row = 0; row < columns.size; ++row) {
        // One that cannot be a trade is in no log: push says what is wrong with it.
        const bool good = judge_row(columns, row, true) == RejectReason::none;
        to[row] = !good || !self.take(rows.symbol(row), rows.trade(row));
    }
    return keep;
}

/// None without a log.
py::object journal_of(const EngineHandle& self) {
    const std::optional<engine::JournalStats> found = self->journal_stats();
    if (!found) return py::none();
    py::dict out;
    out["accepted"] = found->accepted;
    out["next"] = found->log.next;
    out["written"] = found->log.written;
    out["durable"] = found->log.durable;
    out["committed"] = found->committed;
    out["halted"] = found->halted;
    out["cause"] = found->cause;
    out["halts"] = found->log.halts;
    out["bytes"] = found->log.bytes;
    out["syncs"] = found->log.syncs;
    out["segment_bytes"] = found->log.segment_bytes;
    out["would_block"] = found->log.would_block;
    out["checkpoint_failures"] = found->checkpoint_failures;
    return out;
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

bool is_at_work(const Engine& engine) {
    return engine.state() == EngineState::running || engine.state() == EngineState::draining;
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

void replace_tables(EngineHandle& self, const std::vector<Interval>& tables, TimeNs open,
                    TimeNs close) {
    self->replace_tables(tables, {open, close});
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

// --- Calls that may wait, in pieces that Ctrl-C ends

bool flush(EngineHandle& self, std::optional<DurationNs> timeout_ns) {
    Engine& engine = self.get();
    return in_pieces(timeout_ns, [&](DurationNs piece_ns) { return engine.flush(piece_ns); });
}

void advance(EngineHandle& self, TimeNs now) {
    Engine& engine = self.get();
    in_pieces({}, [&](DurationNs piece_ns) { return engine.advance(now, piece_ns); });
}

/// A take or a view that has begun cannot be ended; what it would wait for can be waited for.
bool wait_responsive(Engine& engine, std::optional<DurationNs> timeout_ns = {}) {
    return in_pieces(timeout_ns, [&](DurationNs piece_ns) { return engine.wait_responsive(piece_ns); });
}

void wait_closed(EngineHandle& self, const std::string& consumer) {
    Engine& engine = self.get();
    in_pieces({}, [&](DurationNs piece_ns) {
        return engine.wait_closed(consumer, piece_ns) || !is_at_work(engine);
    });
}

std::unique_ptr<SnapshotHandle> take(EngineHandle& self, const std::string& consumer,
                                     std::optional<DurationNs> lease_ns, bool with_checkpoint,
                                     std::optional<DurationNs> timeout_ns) {
    Engine& engine = self.get();
    if (!wait_responsive(engine, timeout_ns))
        throw Error(ErrorCode::take_timeout, "the workers did not come to it in time",
                    {{"consumer", consumer}});
    const GilReleased released;
    return std::make_unique<SnapshotHandle>(
        std::make_shared<Snapshot>(engine.take(consumer, lease_ns, with_checkpoint)));
}

py::tuple view_of(EngineHandle& self) {
    Engine& engine = self.get();
    wait_responsive(engine);
    View view;
    {
        const GilReleased released;
        view = engine.view();
    }
    return py::make_tuple(bar_arrays_of(std::move(view.open)), view.watermark, view.position);
}

py::bytes checkpoint(EngineHandle& self) {
    Engine& engine = self.get();
    wait_responsive(engine);
    std::vector<std::byte> bytes;
    {
        const GilReleased released;
        bytes = engine.checkpoint();
    }
    return bytes_of(bytes);
}

std::size_t restore(EngineHandle& self, const py::buffer& checkpoint) {
    const py::buffer_info info = checkpoint.request();
    if (info.ndim != 1 || info.itemsize != 1 || info.strides[0] != 1)
        throw py::type_error("a checkpoint is one run of bytes");
    const std::span bytes(static_cast<const std::byte*>(info.ptr),
                          static_cast<std::size_t>(info.size));
    Engine& engine = self.get();
    const GilReleased released;
    return engine.restore(bytes);
}

py::list consumers_of(const EngineHandle& self) {
    py::list out;
    for (const ConsumerStats& each : self->consumers())
        out.append(py::make_tuple(each.name, each.rows_behind, each.outstanding, each.expires,
                                  each.rows_lost));
    return out;
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

void register_policies(py::module_& module) {
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
        .value("block", BoundPolicy::block)
        .value("evict", BoundPolicy::evict);
}

py::dict stats_of(const EngineHandle& self) {
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
}

void register_handle(py::module_& module) {
    py::class_<EngineHandle>(module, "Engine", "See klineagg.Engine.")
        .def(py::init(&make_engine), py::arg("intervals"), py::arg("clock"), py::arg("options"),
             py::arg("wal") = nullptr, py::arg("checkpoint") = std::nullopt)
        .def("start", [](EngineHandle& self) { self->start(); }, ReleaseGil())
        .def("stop", [](EngineHandle& self) { self->stop(); }, ReleaseGil())
        .def("close", &close_engine, ReleaseGil(), "Stops it, unless in a forked child.")
        .def_property_readonly("state", &state_name)
        .def("producer",
             [](EngineHandle& self, const std::string& name, std::uint16_t source,
                DurationNs timeout_ns) {
                 std::shared_ptr<Producer> made;
                 {
                     const GilReleased released;
                     made = self->producer(name, source);
                 }
                 // With the GIL: the handle refers to objects of Python.
                 return std::make_unique<ProducerHandle>(std::move(made), timeout_ns);
             },
             py::arg("name"), py::arg("source"), py::arg("timeout_ns"))
        .def("flush", &flush, py::arg("timeout_ns"), "False when the timeout is over first.")
        .def("advance", &advance, py::arg("now"))
        .def("take", &take, py::arg("consumer"), py::arg("lease_ns"), py::arg("with_checkpoint"),
             py::arg("timeout_ns") = std::nullopt)
        .def("checkpoint", &checkpoint)
        .def("recovery", &recovery_of)
        .def("note", &note, py::arg("data"))
        .def("take_recovered_tail",
             [](EngineHandle& self) {
                 return std::make_unique<engine::RecoveredTail>(self->take_recovered_tail());
             },
             ReleaseGil())
        .def("journal", &journal_of)
        .def("accepted_position",
             [](const EngineHandle& self) { return self->accepted_position(); })
        .def("resume", [](EngineHandle& self) { self->resume(); }, ReleaseGil())
        .def("restore", &restore, py::arg("checkpoint"), "How many symbols it knows by it.")
        .def("wait_closed", &wait_closed, py::arg("consumer"),
             "Until there are rows that it has not acknowledged, or the engine does not run.")
        .def("consumers", &consumers_of, "(name, rows behind, outstanding, expires, rows lost)")
        .def("remove_consumer",
             [](EngineHandle& self, const std::string& consumer) {
                 return self->remove_consumer(consumer);
             },
             py::arg("consumer"), ReleaseGil())
        .def("view", &view_of, "(open bars, watermark, position)")
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
        .def("replace_tables", &replace_tables, py::arg("tables"), py::arg("open"),
             py::arg("close"), ReleaseGil())
        .def("bars", &bars, py::arg("symbol"), py::arg("output"))
        .def("warm_start", &warm_start, py::arg("columns"), py::arg("series"))
        .def("stats", &stats_of)
        .def("closed_rows", [](const EngineHandle& self) { return self->closed_rows(); })
        .def("memory", [](const EngineHandle& self) { return memory_to_python(self->memory()); })
        .def("worker_loads", [](const EngineHandle& self) { return self->worker_loads(); });
}

}  // namespace

void register_engine(py::module_& module) {
    register_policies(module);
    register_clocks(module);
    py::class_<engine::RecoveredTail>(module, "RecoveredTail")
        .def_property_readonly("left", &engine::RecoveredTail::left)
        .def("keep", &keep_rows, py::arg("chunk"));
    register_handle(module);
    module.def(
        "checkpoint_place",
        [](const py::bytes& data) -> py::object {
            const std::string_view text = data;
            const auto place = engine::get_placed(
                {reinterpret_cast<const std::byte*>(text.data()), text.size()});
            if (!place) return py::none();
            return py::make_tuple(wal::to_text(place->log), place->position);
        },
        py::arg("checkpoint"), "(id of the log, position); None of an engine without one.");
    module.def("begin_exit", [] { InterpreterExit::get().begin(); },
               "Before engines are stopped at exit: other threads end with them.");
    module.attr("TIME_NONE") = TIME_NONE;
    module.attr("HORIZON_UNLIMITED") = HORIZON_UNLIMITED;
}

}  // namespace klineagg
