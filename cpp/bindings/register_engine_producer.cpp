// Producers: batches with the GIL released, single trades at the price of a bare C call.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine_handles.hpp"
#include "engine_stats.hpp"
#include "in_pieces.hpp"
#include "register.hpp"
#include "trade_arrays.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

// Some 30 ms of work between two looks for Ctrl-C.
constexpr std::size_t PIECE_ROWS = std::size_t{1} << 20U;

py::dict result_of(const PushResult& result, const std::vector<RejectedRow>* rejected) {
    py::dict out;
    out["offered"] = result.offered;
    out["queued"] = result.queued;
    out["rejected"] = result.rejected;
    out["dropped"] = result.dropped;
    out["left"] = result.timed_out_rows;
    out["rows"] = py::none();
    out["reasons"] = py::none();
    if (rejected == nullptr) return out;
    const auto count = static_cast<py::ssize_t>(rejected->size());
    py::array_t<std::int64_t> rows(count);
    py::array_t<std::uint8_t> reasons(count);
    for (py::ssize_t i = 0; i < count; ++i) {
        const RejectedRow& each = (*rejected)[static_cast<std::size_t>(i)];
        rows.mutable_at(i) = static_cast<std::int64_t>(each.row);
        reasons.mutable_at(i) = each.reason;
    }
    out["rows"] = rows;
    out["reasons"] = reasons;
    return out;
}

StridedColumn behind(const StridedColumn& column, std::size_t rows) {
    if (!column.present()) return column;
    return {column.data + static_cast<std::ptrdiff_t>(rows) * column.stride, column.stride};
}

TradeColumns slice_of(const TradeColumns& columns, std::size_t begin, std::size_t rows) {
    TradeColumns slice = columns;
    slice.size = rows;
    for (StridedColumn* const column :
         {&slice.symbol, &slice.time, &slice.price, &slice.quantity, &slice.side, &slice.trade_id,
          &slice.last_trade_id, &slice.flags}) {
        *column = behind(*column, begin);
    }
    return slice;
}

/// A push that takes the GIL now and then, so that Ctrl-C ends it: between blocks of rows. The
/// rows of `result` are then those that were taken.
class PushInPieces {
public:
    PushInPieces(Producer& producer, const TradeColumns& columns,
                 std::vector<RejectedRow>* rejected, DurationNs timeout_ns)
        : producer_(&producer), columns_(&columns), rejected_(rejected), timeout_ns_(timeout_ns) {}

    PushResult run() {
        // The timeout is for each wait: it begins again when some rows were taken.
        while (settled_ < columns_->size && wait_for_some()) continue;
        total_.offered = columns_->size;
        total_.timed_out_rows = columns_->size - settled_;
        return total_;
    }

private:
    bool wait_for_some() {
        return in_pieces(timeout_ns_, [this](DurationNs piece_ns) { return push_some(piece_ns); });
    }
    bool push_some(DurationNs timeout_ns) {
        const std::size_t rows = std::min(PIECE_ROWS, columns_->size - settled_);
        const std::size_t rejected_before = rejected_ == nullptr ? 0 : rejected_->size();
        const PushResult done =
            producer_->push(slice_of(*columns_, settled_, rows), rejected_, timeout_ns);
        for (std::size_t i = rejected_before; rejected_ != nullptr && i < rejected_->size(); ++i)
            (*rejected_)[i].row += settled_;
        total_.queued += done.queued;
        total_.rejected += done.rejected;
        total_.dropped += done.dropped;
        settled_ += done.settled_rows();
        return done.settled_rows() != 0;
    }

    Producer* producer_;
    const TradeColumns* columns_;
    std::vector<RejectedRow>* rejected_;
    DurationNs timeout_ns_;
    std::size_t settled_ = 0;
    PushResult total_;
};

py::dict push(const ProducerHandle& self, const py::dict& chunk, bool return_rejected,
              std::optional<DurationNs> timeout_ns) {
    const TradeColumns columns = trade_columns_of(chunk);
    std::vector<RejectedRow> rejected;
    std::vector<RejectedRow>* const asked = return_rejected ? &rejected : nullptr;
    PushInPieces work(self.get(), columns, asked, timeout_ns.value_or(self.timeout_ns.load()));
    return result_of(work.run(), asked);
}

bool flush(const ProducerHandle& self, std::optional<DurationNs> timeout_ns) {
    const Producer& producer = self.get();
    return in_pieces(timeout_ns, [&](DurationNs piece_ns) { return producer.flush(piece_ns); });
}

// --- push_one: a plain C function, since the arguments of a pybind11 one cost more than the push

/// Says which argument it was.
bool is_wrong(const char* name, const char* wanted, PyObject* value) {
    if (PyErr_Occurred() == nullptr) return false;
    if (PyErr_ExceptionMatches(PyExc_TypeError) != 0)
        PyErr_Format(PyExc_TypeError, "push_one: %s is %s, not %s", name, wanted,
                     Py_TYPE(value)->tp_name);
    else if (PyErr_ExceptionMatches(PyExc_OverflowError) != 0)
        PyErr_Format(PyExc_OverflowError, "push_one: %s is %S, too large", name, value);
    return true;
}

bool read_integer(PyObject* value, const char* name, const char* wanted, std::int64_t& to) {
    to = PyLong_AsLongLong(value);
    return to != -1 || !is_wrong(name, wanted, value);
}

bool read_number(PyObject* value, const char* name, double& to) {
    to = PyFloat_CheckExact(value) ? PyFloat_AS_DOUBLE(value) : PyFloat_AsDouble(value);
    return to != -1.0 || !is_wrong(name, "a number", value);
}

bool read_trade(PyObject* const* args, Py_ssize_t count, std::int32_t& symbol, Trade& trade) {
    std::int64_t id = 0;
    std::int64_t side = 0;
    if (!read_integer(args[0], "symbol_id", "an id from klineagg.intern()", id) ||
        !read_number(args[1], "price", trade.price) ||
        !read_number(args[2], "quantity", trade.quantity) ||
        !read_integer(args[3], "time_ns", "an integer", trade.time)) {
        return false;
    }
    if (count > 4 && !read_integer(args[4], "side", "an integer", side)) return false;
    if (count > 5 && !read_integer(args[5], "trade_id", "an integer", trade.id)) return false;
    symbol = id == static_cast<std::int32_t>(id) ? static_cast<std::int32_t>(id) : NO_SYMBOL;
    trade.last_id = trade.id;
    trade.taker_buy = side > 0;
    return true;
}

/// Waits for room, without the GIL. True when the trade is in its lane.
bool wait_with_one(const ProducerHandle& handle, const std::int32_t& symbol, const Trade& trade) {
    const std::int8_t side = trade.taker_buy ? 1 : -1;
    TradeColumns columns;
    columns.size = 1;
    columns.symbol = {reinterpret_cast<const char*>(&symbol), sizeof symbol};
    columns.time = {reinterpret_cast<const char*>(&trade.time), sizeof trade.time};
    columns.price = {reinterpret_cast<const char*>(&trade.price), sizeof trade.price};
    columns.quantity = {reinterpret_cast<const char*>(&trade.quantity), sizeof trade.quantity};
    columns.side = {reinterpret_cast<const char*>(&side), sizeof side};
    columns.trade_id = {reinterpret_cast<const char*>(&trade.id), sizeof trade.id};
    const PushResult result =
        PushInPieces(handle.get(), columns, nullptr, handle.timeout_ns.load()).run();
    if (result.timed_out_rows != 0)
        throw Error(ErrorCode::lane_full, "no lane had room for the trade within the timeout");
    return result.queued == 1;
}

PyObject* push_one(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    if (count < 4 || count > 6) {
        PyErr_SetString(PyExc_TypeError,
                        "push_one(symbol_id, price, quantity, time_ns, side=0, trade_id=-1) takes "
                        "4 to 6 positional arguments");
        return nullptr;
    }
    std::int32_t symbol = NO_SYMBOL;
    Trade trade;
    if (!read_trade(args, count, symbol, trade)) return nullptr;
    try {
        // The descriptor has checked the type of `self`; a cast by pybind11 looks it up again.
        void* const held = reinterpret_cast<py::detail::instance*>(self)->simple_value_holder[0];
        const auto& handle = *static_cast<const ProducerHandle*>(held);
        // It never waits, so the GIL is kept: to give it up would cost more than the push.
        PushOne outcome = handle.get().push_one(symbol, trade);
        if (outcome == PushOne::beyond_tables) [[unlikely]] {
            handle.extend(trade.time);  // throws when it cannot
            outcome = handle.get().push_one(symbol, trade);
            if (outcome == PushOne::beyond_tables)
                throw Error(ErrorCode::engine_state, "the engine of this producer is gone");
        }
        if (outcome == PushOne::full) [[unlikely]]
            return PyBool_FromLong(wait_with_one(handle, symbol, trade) ? 1 : 0);
        return PyBool_FromLong(outcome == PushOne::queued ? 1 : 0);
    } catch (...) {
        py::detail::try_translate_exceptions();
        return nullptr;
    }
}

PyMethodDef push_one_method = {
    "push_one", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(push_one)),
    METH_FASTCALL,
    "push_one($self, symbol_id, price, quantity, time_ns, side=0, trade_id=-1, /)\n--\n\n"
    "Queues one trade; False when it was rejected or dropped."};

}  // namespace

void register_engine_producer(py::module_& module) {
    py::class_<ProducerHandle> producer(module, "Producer", "See klineagg.Producer.");
    producer
        .def_property_readonly("name",
                               [](const ProducerHandle& self) { return self->name(); })
        .def_property(
            "timeout_ns", [](const ProducerHandle& self) { return self.timeout_ns.load(); },
            [](ProducerHandle& self, DurationNs timeout_ns) { self.timeout_ns.store(timeout_ns); },
            "How long a call that names no timeout waits for room.")
        .def_property(
            "extend", [](const ProducerHandle& self) { return self.extend; },
            [](ProducerHandle& self, py::object extend) { self.extend = std::move(extend); },
            "Called with the time of a single trade that lies beyond the tables of the intervals.")
        .def("push", &push, py::arg("chunk"), py::arg("return_rejected"), py::arg("timeout_ns"))
        .def("flush", &flush, py::arg("timeout_ns"),
             "Whether all that was pushed before is applied.")
        .def("stats", [](const ProducerHandle& self) { return stats_to_python(self->stats()); });
    auto* const type = reinterpret_cast<PyTypeObject*>(producer.ptr());
    producer.attr("push_one") =
        py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, &push_one_method));

    py::list names;
    for (std::size_t i = 0; i < ENGINE_REJECT_REASONS; ++i)
        names.append(py::str(std::string(engine_reason_name(i))));
    module.attr("ENGINE_REJECT_REASONS") = py::tuple(names);
}

}  // namespace klineagg
