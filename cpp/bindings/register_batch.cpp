// Aggregation of batches: arrays in, columns out, neither copied.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bar_arrays.hpp"
#include "gil.hpp"
#include "klineagg/activity.hpp"
#include "klineagg/batch.hpp"
#include "klineagg/merge.hpp"
#include "klineagg/roll_rows.hpp"
#include "register.hpp"
#include "trade_arrays.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

py::dict to_python(BarTable&& result) {
    return bar_arrays_of(std::make_shared<const BarTable>(std::move(result)));
}

py::dict report_of(const BatchReport& report) {
    py::dict rejected;
    for (std::size_t i = 0; i < REJECT_REASONS; ++i) {
        if (report.rejected[i] == 0) continue;
        rejected[py::str(std::string(reason_name(static_cast<RejectReason>(i))))] =
            report.rejected[i];
    }
    py::dict out;
    out["offered"] = report.offered;
    out["accepted"] = report.accepted;
    out["late"] = report.late;
    out["beyond_horizon"] = report.beyond_horizon;
    out["rejected"] = rejected;
    return out;
}

template <class Aggregator>
py::dict run(Aggregator& aggregator, const std::vector<py::dict>& chunks, bool finish) {
    std::vector<TradeColumns> batches;
    batches.reserve(chunks.size());
    for (const py::dict& chunk : chunks) batches.push_back(trade_columns_of(chunk));
    BarTable table;
    {
        const GilReleased released;
        table = aggregator.run(batches, finish);
    }
    return to_python(std::move(table));
}

py::dict merge_python(const std::vector<py::tuple>& results) {
    std::vector<PartialRows> parts;
    std::vector<py::array> held;  // a conversion makes a copy that nobody else would keep
    for (const py::tuple& result : results) {
        const auto symbol = py::cast<py::array_t<std::int32_t, py::array::c_style>>(result[0]);
        const auto interval = py::cast<py::array_t<std::int16_t, py::array::c_style>>(result[1]);
        const auto bars = py::cast<py::array>(result[2]);
        if (bars.dtype().itemsize() != static_cast<py::ssize_t>(sizeof(PartialBar)) ||
            bars.ndim() != 1 || bars.strides(0) != bars.itemsize() ||
            reinterpret_cast<std::uintptr_t>(bars.data()) % alignof(PartialBar) != 0 ||
            symbol.shape(0) != bars.shape(0) || interval.shape(0) != bars.shape(0)) {
            throw Error(ErrorCode::record_version, "the partial bars are not records of this version");
        }
        held.insert(held.end(), {symbol, interval, bars});
        parts.push_back({static_cast<std::size_t>(bars.shape(0)), symbol.data(), interval.data(),
                         static_cast<const PartialBar*>(bars.data())});
    }
    BarTable table;
    {
        const GilReleased released;
        table = merge_results(parts);
    }
    return to_python(std::move(table));
}

py::dict roll_python(const py::dict& columns,
                     const py::array_t<std::int64_t, py::array::c_style>& opens,
                     const py::array_t<std::int64_t, py::array::c_style>& closes) {
    if (opens.ndim() != 1 || closes.ndim() != 1 || opens.shape(0) != closes.shape(0))
        throw Error(ErrorCode::column_length, "each span has an open and a close");
    std::vector<Span> spans;
    for (py::ssize_t i = 0; i < opens.shape(0); ++i) spans.push_back({opens.at(i), closes.at(i)});
    const py::array_t<std::int64_t> none(0);
    const BarTable finer = bar_table_of(
        columns, py::make_tuple(py::array_t<std::int32_t>(0), py::array_t<std::int16_t>(0), none, none));
    BarTable table;
    {
        const GilReleased released;
        table = roll_rows(finer, spans);
    }
    return to_python(std::move(table));
}

}  // namespace

void register_batch(py::module_& module) {
    py::enum_<GapMode>(module, "GapMode")
        .value("none", GapMode::none)
        .value("runs", GapMode::runs)
        .value("flat", GapMode::flat);
    py::enum_<LatePolicy>(module, "LatePolicy")
        .value("raise_", LatePolicy::raise)
        .value("drop", LatePolicy::drop)
        .value("amend", LatePolicy::amend);
    py::enum_<BadRows>(module, "BadRows")
        .value("raise_", BadRows::raise)
        .value("count", BadRows::count);
    py::enum_<ActivityKind>(module, "ActivityKind")
        .value("tick", ActivityKind::tick)
        .value("volume", ActivityKind::volume)
        .value("value", ActivityKind::value);

    py::class_<BatchAggregator>(module, "BatchAggregator", "Bars by time; see klineagg.Aggregator.")
        .def(py::init([](const std::vector<Interval>& intervals, DurationNs lateness_ns,
                         LatePolicy late, DurationNs amend_horizon_ns, GapMode gaps,
                         bool include_open, TimeNs coverage_start, TimeNs coverage_end, BadRows on_bad, bool allow_nonpositive_prices,
                         bool with_partials, int threads,
                         const std::map<std::int32_t, double>& last_prices) {
                 BatchOptions options;
                 options.aggregator = {lateness_ns,  late,           amend_horizon_ns, gaps,
                                       include_open, coverage_start, coverage_end};
                 options.on_bad = on_bad;
                 options.allow_nonpositive_prices = allow_nonpositive_prices;
                 options.with_partials = with_partials;
                 options.threads = threads;
                 options.last_prices = last_prices;
                 return std::make_unique<BatchAggregator>(RollupPlan(intervals), options);
             }),
             py::arg("intervals"), py::kw_only(), py::arg("lateness_ns") = STRICT_ORDER,
             py::arg("late") = LatePolicy::raise,
             py::arg("amend_horizon_ns") = HORIZON_UNLIMITED, py::arg("gaps") = GapMode::none,
             py::arg("include_open") = true, py::arg("coverage_start") = TIME_NONE,
             py::arg("coverage_end") = TIME_NONE, py::arg("on_bad") = BadRows::raise,
             py::arg("allow_nonpositive_prices") = false, py::arg("with_partials") = false,
             py::arg("threads") = 1, py::arg("last_prices") = std::map<std::int32_t, double>())
        .def("run", &run<BatchAggregator>, py::arg("chunks"), py::arg("finish"),
             "The bars closed by these chunks; with `finish`, the open ones too.")
        .def("replace_tables", &BatchAggregator::replace_tables, py::arg("intervals"))
        .def("cancel", &BatchAggregator::cancel, "Asks a running `run` to stop soon.")
        .def_property_readonly("rows_passed", &BatchAggregator::rows_passed)
        .def_property_readonly("report",
                               [](const BatchAggregator& self) { return report_of(self.report()); });

    py::class_<ActivityAggregator>(module, "ActivityAggregator", "Bars by activity.")
        .def(py::init([](ActivityKind kind, double threshold, BadRows on_bad,
                         bool allow_nonpositive_prices, bool include_open) {
                 return std::make_unique<ActivityAggregator>(ActivityOptions{
                     kind, threshold, on_bad, allow_nonpositive_prices, include_open});
             }),
             py::arg("kind"), py::arg("threshold"), py::kw_only(),
             py::arg("on_bad") = BadRows::raise, py::arg("allow_nonpositive_prices") = false,
             py::arg("include_open") = true)
        .def("run", &run<ActivityAggregator>, py::arg("chunks"), py::arg("finish"))
        .def("cancel", &ActivityAggregator::cancel)
        .def_property_readonly("rows_passed", &ActivityAggregator::rows_passed)
        .def_property_readonly(
            "report", [](const ActivityAggregator& self) { return report_of(self.report()); });

    module.def("merge_results", &merge_python, py::arg("results"),
               "Merges (symbol, interval, partial records) of several results.");
    module.def("roll_rows", &roll_python, py::arg("columns"), py::arg("opens"), py::arg("closes"),
               "The bars over these spans, made of the rows of one finer series.");
    module.def("trim_cache", &trim_arena_cache, "Gives memory kept for the next result back.");
    module.def("cache_bytes", &arena_cache_bytes, "Bytes kept for the next result.");
    module.attr("PARTIAL_BAR_VERSION") = PARTIAL_BAR_VERSION;
    module.attr("PARTIAL_BAR_SIZE") = sizeof(PartialBar);
    py::register_local_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(std::move(pointer));
        } catch (const BatchAggregator::Cancelled&) {
            PyErr_SetNone(PyExc_KeyboardInterrupt);
        }
    });
}

}  // namespace klineagg
