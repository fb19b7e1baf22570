#include "trade_arrays.hpp"

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>

#include "klineagg/error.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

[[noreturn]] void wrong_column(const char* name, const std::string& reason) {
    throw Error(ErrorCode::column_type, std::string("column '") + name + "' " + reason,
                {{"column", name}});
}

/// `kinds`: the NumPy kinds that fit ('b' bool, 'i' signed, 'u' unsigned, 'f' float).
StridedColumn column_of(const py::handle& value, const char* name, const std::string& kinds,
                        py::ssize_t itemsize, std::size_t& rows) {
    if (value.is_none()) return {};
    const auto array = py::cast<py::array>(value);
    const py::dtype dtype = array.dtype();
    if (kinds.find(dtype.kind()) == std::string::npos || dtype.itemsize() != itemsize)
        wrong_column(name, "has dtype " + py::cast<std::string>(py::str(dtype)));
    if (array.ndim() != 1) wrong_column(name, "is not one-dimensional");
    const auto size = static_cast<std::size_t>(array.shape(0));
    if (rows != size && rows != SIZE_MAX) {
        throw Error(ErrorCode::column_length,
                    std::string("column '") + name + "' has " + std::to_string(size) +
                        " rows, others have " + std::to_string(rows),
                    {{"column", name}});
    }
    rows = size;
    return {static_cast<const char*>(array.data()), array.strides(0)};
}

}  // namespace

TradeColumns trade_columns_of(const py::dict& chunk) {
    TradeColumns columns;
    std::size_t rows = SIZE_MAX;
    const auto column = [&](const char* name, const char* kinds, py::ssize_t itemsize) {
        return column_of(chunk[name], name, kinds, itemsize, rows);
    };
    columns.symbol = column("symbol", "i", 4);
    columns.time = column("time", "i", 8);
    columns.price = column("price", "f", 8);
    columns.quantity = column("quantity", "f", 8);
    columns.side = column("side", "biu", 1);
    columns.trade_id = column("trade_id", "i", 8);
    columns.last_trade_id = column("last_trade_id", "i", 8);
    columns.flags = column("flags", "u", 1);
    if (columns.last_trade_id.present() && !columns.trade_id.present())
        wrong_column("last_trade_id", "needs the first id in 'trade_id'");
    columns.size = rows;
    columns.time_scale_ns = py::cast<std::int64_t>(chunk["time_scale"]);
    if (columns.time_scale_ns < 1) wrong_column("time", "has no positive unit");
    columns.side_is_maker = py::cast<bool>(chunk["side_is_maker"]);
    return columns;
}

}  // namespace klineagg
