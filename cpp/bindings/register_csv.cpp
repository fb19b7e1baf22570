// The CSV parser: bytes in, NumPy columns over the parser's own memory out.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gil.hpp"
#include "klineagg/csv.hpp"
#include "klineagg/error.hpp"
#include "register.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

CsvRole role_from(const std::string& name) {
    for (std::size_t i = 0; i < CSV_ROLE_COUNT; ++i) {
        const auto role = static_cast<CsvRole>(i);
        if (csv_role_name(role) == name) return role;
    }
    throw Error(ErrorCode::invalid_option, "'" + name + "' is no role of a CSV column",
                {{"option", "columns"}, {"value", name}});
}

CsvTimeUnit unit_from(const std::string& name) {
    if (name == "detect") return CsvTimeUnit::detect;
    if (name == "s") return CsvTimeUnit::seconds;
    if (name == "ms") return CsvTimeUnit::milliseconds;
    if (name == "us") return CsvTimeUnit::microseconds;
    if (name == "ns") return CsvTimeUnit::nanoseconds;
    if (name == "ms/us") return CsvTimeUnit::milli_or_micro;
    throw Error(ErrorCode::time_unit, "'" + name + "' is no unit of time",
                {{"option", "unit"}, {"value", name}});
}

CsvSideRule side_from(const std::string& name) {
    if (name == "taker") return CsvSideRule::taker;
    if (name == "maker") return CsvSideRule::buyer_is_maker;
    throw Error(ErrorCode::invalid_option, "side is 'taker' or 'maker', not '" + name + "'",
                {{"option", "side"}, {"value", name}});
}

/// Names as they stand in the file; bytes that are not UTF-8 are written as escapes, so that two
/// names never become the same.
py::str text_of(std::string_view bytes) {
    return py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(
        bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "backslashreplace"));
}

/// A column of the batch, which lives for as long as the array.
template <class T>
void add(py::dict& columns, CsvRole role, CsvBuffer<T>& buffer, std::size_t rows) {
    if (buffer.empty()) return;
    std::unique_ptr<T[]> owner = buffer.release();
    const py::capsule keep(owner.get(), [](void* data) { delete[] static_cast<T*>(data); });
    T* const data = owner.release();
    columns[text_of(csv_role_name(role))] =
        py::array_t<T>(static_cast<py::ssize_t>(rows), data, keep);
}

/// A parser that several Python threads may touch: one of them at a time gets through, and none
/// holds the interpreter while it parses.
class PyCsvParser {
public:
    explicit PyCsvParser(CsvOptions options) : parser_(std::move(options)) {}

    void feed(const py::buffer& data) {
        const py::buffer_info view = data.request();
        if (view.ndim != 1 || view.strides[0] != view.itemsize) {
            throw Error(ErrorCode::invalid_option, "feed() takes contiguous bytes",
                        {{"option", "data"}});
        }
        const auto size = static_cast<std::size_t>(view.size * view.itemsize);
        const std::string_view bytes(static_cast<const char*>(view.ptr), size);
        const GilReleased unlocked;
        const std::lock_guard<std::mutex> guard(mutex_);
        parser_.feed(bytes);
    }

    void finish() {
        const GilReleased unlocked;
        const std::lock_guard<std::mutex> guard(mutex_);
        parser_.finish();
    }

    py::tuple take() {
        CsvBatch batch;
        {
            const GilReleased unlocked;
            const std::lock_guard<std::mutex> guard(mutex_);
            batch = parser_.take();
        }
        py::dict columns;
        add(columns, CsvRole::time, batch.time, batch.rows);
        add(columns, CsvRole::price, batch.price, batch.rows);
        add(columns, CsvRole::quantity, batch.quantity, batch.rows);
        add(columns, CsvRole::side, batch.side, batch.rows);
        add(columns, CsvRole::trade_id, batch.trade_id, batch.rows);
        add(columns, CsvRole::last_trade_id, batch.last_trade_id, batch.rows);
        add(columns, CsvRole::symbol, batch.symbol, batch.rows);
        add(columns, CsvRole::flags, batch.flags, batch.rows);
        add(columns, CsvRole::conditions, batch.conditions, batch.rows);
        py::list steps;
        for (const CsvLineStep& step : batch.steps) {
            steps.append(py::make_tuple(step.row, step.skipped));
        }
        return py::make_tuple(batch.rows, columns, batch.first_line, steps);
    }

    py::list symbols(std::size_t from) { return texts(&CsvParser::symbols, from); }
    py::list conditions(std::size_t from) { return texts(&CsvParser::conditions, from); }

    py::dict faults() {
        const std::lock_guard<std::mutex> guard(mutex_);
        py::dict counts;
        for (std::size_t i = 0; i < CSV_FAULT_COUNT; ++i) {
            const auto fault = static_cast<CsvFault>(i);
            if (parser_.faults(fault) == 0) continue;
            counts[text_of(csv_fault_name(fault))] = parser_.faults(fault);
        }
        return counts;
    }

    py::list samples() {
        const std::lock_guard<std::mutex> guard(mutex_);
        py::list rows;
        for (const CsvFaultSample& sample : parser_.samples()) {
            rows.append(py::make_tuple(text_of(csv_fault_name(sample.fault)), sample.line,
                                       sample.column, sample.excerpt));
        }
        return rows;
    }

    std::uint64_t rows() {
        const std::lock_guard<std::mutex> guard(mutex_);
        return parser_.rows();
    }

private:
    py::list texts(const std::vector<std::string>& (CsvParser::*of)() const noexcept,
                   std::size_t from) {
        const std::lock_guard<std::mutex> guard(mutex_);
        const std::vector<std::string>& all = (parser_.*of)();
        py::list out;
        for (std::size_t i = from; i < all.size(); ++i) out.append(text_of(all[i]));
        return out;
    }

    std::mutex mutex_;
    CsvParser parser_;
};

std::unique_ptr<PyCsvParser> make_parser(const std::vector<std::pair<std::size_t, std::string>>& columns,
                                         std::size_t field_count, char delimiter, bool header,
                                         const std::string& unit, const std::string& side,
                                         bool count_faults, std::size_t line_bytes_max) {
    CsvOptions options;
    for (const auto& [index, name] : columns) options.columns.push_back({index, role_from(name)});
    options.field_count = field_count;
    options.delimiter = delimiter;
    options.header = header;
    options.unit = unit_from(unit);
    options.side = side_from(side);
    options.count_faults = count_faults;
    options.line_bytes_max = line_bytes_max;
    return std::make_unique<PyCsvParser>(std::move(options));
}

}  // namespace

void register_csv(py::module_& module) {
    py::class_<PyCsvParser>(module, "CsvParser",
                            "Reads one CSV stream of trades: feed() bytes, take() columns.")
        .def(py::init(&make_parser), py::arg("columns"), py::kw_only(), py::arg("field_count"),
             py::arg("delimiter") = ',', py::arg("header") = false, py::arg("unit") = "detect",
             py::arg("side") = "taker", py::arg("count_faults") = false,
             py::arg("line_bytes_max") = CSV_LINE_BYTES_MAX)
        .def("feed", &PyCsvParser::feed, py::arg("data"), "The next bytes of the stream.")
        .def("finish", &PyCsvParser::finish, "The stream ends here.")
        .def("take", &PyCsvParser::take,
             "(rows, columns, line of row 0, [(row, lines skipped before it)]) since the last "
             "take; columns by role: time int64 ns, price and quantity float64, side int8, ids "
             "int64 (-1: none), symbol int32 (position in symbols()), flags uint8, conditions "
             "int32 (position in conditions()).")
        .def("symbols", &PyCsvParser::symbols, py::arg("start") = 0,
             "Names of the symbols so far, from position `start` on.")
        .def("conditions", &PyCsvParser::conditions, py::arg("start") = 0,
             "Texts of the conditions so far, from position `start` on.")
        .def("faults", &PyCsvParser::faults, "Number of skipped records by reason.")
        .def("samples", &PyCsvParser::samples,
             "The first of them, each as (reason, line, column, excerpt).")
        .def("rows", &PyCsvParser::rows, "Number of good rows so far.");
    module.def(
        "parse_iso_time",
        [](const std::string& text) -> py::object {
            TimeNs time = 0;
            if (!detail::parse_iso_time(text, time)) return py::none();
            return py::int_(time);
        },
        py::arg("text"), "Nanoseconds of an ISO 8601 stamp, UTC without an offset; else None.");
}

}  // namespace klineagg
