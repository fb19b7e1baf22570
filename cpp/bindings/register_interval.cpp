// Intervals: parsing, lookups, and the tables that Python computes for time zones and sessions.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "klineagg/error.hpp"
#include "klineagg/interval.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using TimeArray = py::array_t<std::int64_t, py::array::c_style>;

Interval make_table(std::string name, const TimeArray& opens, const TimeArray& closes,
                    DurationNs grid_ns) {
    if (opens.ndim() != 1 || closes.ndim() != 1 || opens.shape(0) != closes.shape(0)) {
        throw Error(ErrorCode::invalid_session_table,
                    "sessions '" + name +
                        "': opens and closes must be one-dimensional and "
                        "equally long",
                    {{"name", name}, {"reason", "shape"}});
    }
    const auto open = opens.unchecked<1>();
    const auto close = closes.unchecked<1>();
    std::vector<Span> spans(static_cast<std::size_t>(opens.shape(0)));
    for (py::ssize_t row = 0; row < opens.shape(0); ++row) {
        spans[static_cast<std::size_t>(row)] = {open(row), close(row)};
    }
    return Interval::table(std::move(name), std::move(spans), grid_ns);
}

std::pair<TimeArray, TimeArray> table_arrays(const Interval& interval) {
    const auto size = static_cast<py::ssize_t>(interval.spans().size());
    std::pair<TimeArray, TimeArray> arrays{TimeArray(size), TimeArray(size)};
    std::int64_t* open = arrays.first.mutable_data();
    std::int64_t* close = arrays.second.mutable_data();
    for (const Span& span : interval.spans()) {
        *open++ = span.open;
        *close++ = span.close;
    }
    return arrays;
}

// The core leaves times outside its range unchecked, since it looks up accepted trades only.
void check_time(TimeNs time) {
    if (time >= TIME_MIN && time <= TIME_MAX) return;
    throw Error(ErrorCode::invalid_option, "the time is outside 1900 to 2200",
                {{"option", "time"}, {"value", std::to_string(time)}});
}

std::tuple<bool, TimeNs, TimeNs> locate(const Interval& interval, TimeNs time) {
    check_time(time);
    Span span;
    const bool inside = interval.locate(time, span);
    return {inside, span.open, span.close};
}

const char* kind_name(const Interval& interval) {
    switch (interval.kind()) {
        case IntervalKind::fixed: return "fixed";
        case IntervalKind::month: return "month";
        case IntervalKind::table: break;
    }
    return "table";
}

}  // namespace

void register_interval(py::module_& module) {
    py::class_<Interval>(module, "Interval",
                         "A partition of time into spans [open, close); times are int64 ns UTC.")
        .def_static("parse", &Interval::parse, py::arg("text"),
                    "The interval of a text such as '1m', '3d', '1w-1d' or '3M'.")
        .def_static("fixed", &Interval::fixed, py::arg("name"), py::arg("period_ns"),
                    py::arg("phase_ns") = 0, "Spans of one length, counted from the epoch.")
        .def_static("months", &Interval::months, py::arg("name"), py::arg("count"),
                    py::arg("phase_ns") = 0, py::arg("month_phase") = 0,
                    "Spans of `count` calendar months in UTC.")
        .def_static("table", &make_table, py::arg("name"), py::arg("opens"), py::arg("closes"),
                    py::arg("grid_ns") = 0,
                    "Sorted, disjoint spans on whole seconds; longer tables keep to the grid.")
        .def_property_readonly("name", &Interval::name)
        .def_property_readonly("kind", &kind_name, "'fixed', 'month' or 'table'.")
        .def_property_readonly("period", &Interval::period,
                               "Nanoseconds (fixed), a number of months (month), 0 (table).")
        .def_property_readonly("phase", &Interval::phase, "Nanoseconds.")
        .def_property_readonly("month_phase", &Interval::month_phase)
        .def("locate", &locate, py::arg("time"),
             "(True, open, close) of the span, or (False, open, close) of the hole around `time`.")
        .def(
            "next",
            [](const Interval& interval, TimeNs time) {
                check_time(time);
                const Span span = interval.next(time);
                return std::pair{span.open, span.close};
            },
            py::arg("time"), "The first span that opens at `time` or later.")
        .def(
            "count",
            [](const Interval& interval, TimeNs from, TimeNs to) {
                check_time(from);
                check_time(to);
                return interval.count(from, to);
            },
            py::arg("start"), py::arg("end"), "How many spans open in [start, end).")
        .def("refines", &Interval::refines, py::arg("coarse"))
        .def(
            "grid",
            [](const Interval& interval) {
                return std::pair{interval.grid().period, interval.grid().phase};
            },
            "(period, phase) of the coarsest fixed grid that holds every boundary.")
        .def("same_spans", &Interval::same_spans, py::arg("other"))
        .def("spans", &table_arrays, "(opens, closes) of a table, int64; empty for other kinds.")
        // Equality is same_spans plus the name; a hash by name alone agrees with it.
        .def(
            "__eq__", [](const Interval& a, const Interval& b) { return a == b; },
            py::is_operator())
        .def("__hash__",
             [](const Interval& interval) { return py::hash(py::str(interval.name())); })
        .def("__repr__", [](const Interval& interval) {
            return "<klineagg._core.Interval '" + interval.name() + "' " + kind_name(interval) +
                   ">";
        });
}

}  // namespace klineagg
