#include "bar_arrays.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "klineagg/error.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using Owner = std::shared_ptr<const BarTable>;

bool is_time(const std::string& name) { return name.size() > 5 && name.ends_with("_time"); }

py::array frozen(py::array array) {
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return array;
}

}  // namespace

py::dict bar_arrays_of(std::shared_ptr<const BarTable> table) {
    auto* const owner = new Owner(std::move(table));
    const py::capsule base(owner, [](void* held) { delete static_cast<Owner*>(held); });
    const BarTable& from = **owner;
    const auto rows = static_cast<py::ssize_t>(from.rows());
    py::dict columns;
    const auto add = [&](const char* name, auto* data) {
        using Value = std::remove_pointer_t<decltype(data)>;
        const py::dtype dtype =
            is_time(name) ? py::dtype("datetime64[ns]") : py::dtype::of<Value>();
        columns[name] = frozen(py::array(dtype, {rows}, {}, data, base));
    };
#define KLINEAGG_ADD(type, name) add(#name, from.columns().name);
    KLINEAGG_BAR_COLUMNS(KLINEAGG_ADD)
#undef KLINEAGG_ADD

    const std::vector<BarSeries>& series = from.series();
    static const BarSeries none{};
    const BarSeries& first = series.empty() ? none : series.front();
    // Over the list itself: a snapshot may have as many series as rows.
    const auto each = [&](auto BarSeries::* field) {
        using Value = std::remove_cvref_t<decltype(first.*field)>;
        return frozen(py::array(py::dtype::of<Value>(), {static_cast<py::ssize_t>(series.size())},
                                {static_cast<py::ssize_t>(sizeof(BarSeries))}, &(first.*field), base));
    };
    py::dict out;
    out["columns"] = columns;
    out["series"] = py::make_tuple(each(&BarSeries::symbol), each(&BarSeries::interval),
                                   each(&BarSeries::begin), each(&BarSeries::end));
    out["outside"] = from.outside_trades;
    out["partials"] = py::none();
    if (from.columns().partials != nullptr) {
        const py::dtype record("V" + std::to_string(sizeof(PartialBar)));
        out["partials"] = frozen(py::array(record, {rows}, {}, from.columns().partials, base));
    }
    return out;
}

BarTable bar_table_of(const py::dict& columns, const py::tuple& series) {
    using Symbols = py::array_t<std::int32_t, py::array::c_style>;
    using Intervals = py::array_t<std::int16_t, py::array::c_style>;
    using Rows = py::array_t<std::int64_t, py::array::c_style>;
    const auto symbol = py::cast<Symbols>(series[0]);
    const auto interval = py::cast<Intervals>(series[1]);
    const auto begin = py::cast<Rows>(series[2]);
    const auto end = py::cast<Rows>(series[3]);
    const auto rows = static_cast<std::int64_t>(py::len(columns["symbol"]));
    BarTable table(rows, false);
    const auto copy = [&](const char* name, auto* data) {
        const auto array = py::cast<py::array>(columns[name]);
        constexpr auto size = static_cast<py::ssize_t>(sizeof *data);
        if (array.itemsize() != size || array.ndim() != 1)
            throw Error(ErrorCode::column_type, std::string("column '") + name + "' has another type",
                        {{"column", name}});
        if (array.shape(0) != rows)
            throw Error(ErrorCode::column_length,
                        std::string("column '") + name + "' has another length", {{"column", name}});
        const auto* from = static_cast<const char*>(array.data());
        for (std::int64_t row = 0; row < rows; ++row, from += array.strides(0))
            std::memcpy(data + row, from, sizeof *data);
    };
#define KLINEAGG_COPY(type, name) copy(#name, table.columns().name);
    KLINEAGG_BAR_COLUMNS(KLINEAGG_COPY)
#undef KLINEAGG_COPY
    std::vector<BarSeries> list;
    for (py::ssize_t i = 0; i < symbol.shape(0); ++i)
        list.push_back({symbol.at(i), interval.at(i), begin.at(i), end.at(i)});
    table.set_series(std::move(list));
    return table;
}

}  // namespace klineagg
