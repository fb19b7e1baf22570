// Producers: batches with the GIL released, single trades at the price of a bare C call.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine_handles.hpp"
#include "register.hpp"
#include "trade_arrays.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

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

py::dict push(ProducerHandle& self, const py::dict& chunk, bool return_rejected) {
    const TradeColumns columns = trade_columns_of(chunk);
    std::vector<RejectedRow> rejected;
    PushResult result;
    Producer& producer = self.get();
    {
        const py::gil_scoped_release release;
        result = producer.push(columns, return_rejected ? &rejected : nullptr);
    }
    return result_of(result, return_rejected ? &rejected : nullptr);
}

py::dict rejected_of(const ProducerHandle& self) {
    const auto counts = self->rejected();
    py::dict out;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] != 0) out[py::str(std::string(engine_reason_name(i)))] = counts[i];
    }
    return out;
}

py::list lanes_of(const ProducerHandle& self) {
    py::list out;
    for (const auto& intake : self->intakes()) {
        const engine::LaneCounts counts = intake->lane.counts();
        py::dict lane;
        lane["offered"] = counts.offered;
        lane["pushed"] = counts.pushed;
        lane["applied"] = counts.applied;
        lane["dropped_oldest"] = counts.dropped_oldest;
        lane["dropped_newest"] = counts.dropped_newest;
        lane["in_flight"] = counts.in_flight;
        lane["backpressure_events"] = counts.backpressure_events;
        lane["blocked_ns"] = counts.blocked_ns;
        lane["queue_fill_ratio"] = counts.fill_ratio;
        out.append(lane);
    }
    return out;
}

// --- push_one: a plain C function, since the arguments of a pybind11 one cost more than the push

bool read_integer(PyObject* value, std::int64_t& to) {
    to = PyLong_AsLongLong(value);
    return to != -1 || PyErr_Occurred() == nullptr;
}

bool read_number(PyObject* value, double& to) {
    to = PyFloat_CheckExact(value) ? PyFloat_AS_DOUBLE(value) : PyFloat_AsDouble(value);
    return to != -1.0 || PyErr_Occurred() == nullptr;
}

bool read_trade(PyObject* const* args, Py_ssize_t count, std::int32_t& symbol, Trade& trade) {
    std::int64_t id = 0;
    std::int64_t side = 0;
    if (!read_integer(args[0], id) || !read_number(args[1], trade.price) ||
        !read_number(args[2], trade.quantity) || !read_integer(args[3], trade.time)) {
        return false;
    }
    if (count > 4 && !read_integer(args[4], side)) return false;
    if (count > 5 && !read_integer(args[5], trade.id)) return false;
    symbol = id == static_cast<std::int32_t>(id) ? static_cast<std::int32_t>(id) : NO_SYMBOL;
    trade.last_id = trade.id;
    trade.taker_buy = side > 0;
    return true;
}

/// gil_scoped_release without its bookkeeping, which a single trade would feel.
class GilReleased {
public:
    GilReleased() : state_(PyEval_SaveThread()) {}
    ~GilReleased() { PyEval_RestoreThread(state_); }
    GilReleased(const GilReleased&) = delete;
    GilReleased& operator=(const GilReleased&) = delete;

private:
    PyThreadState* state_;
};

/// True when the trade is in its lane; waits for room without the GIL.
bool queue_one(Producer& producer, const std::int32_t& symbol, const Trade& trade) {
    const std::int8_t side = trade.taker_buy ? 1 : -1;
    TradeColumns columns;
    columns.size = 1;
    columns.symbol = {reinterpret_cast<const char*>(&symbol), sizeof symbol};
    columns.time = {reinterpret_cast<const char*>(&trade.time), sizeof trade.time};
    columns.price = {reinterpret_cast<const char*>(&trade.price), sizeof trade.price};
    columns.quantity = {reinterpret_cast<const char*>(&trade.quantity), sizeof trade.quantity};
    columns.side = {reinterpret_cast<const char*>(&side), sizeof side};
    columns.trade_id = {reinterpret_cast<const char*>(&trade.id), sizeof trade.id};
    PushResult result;
    {
        const GilReleased released;
        result = producer.push(columns);
    }
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
        return PyBool_FromLong(
            queue_one(static_cast<ProducerHandle*>(held)->get(), symbol, trade) ? 1 : 0);
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
        .def("push", &push, py::arg("chunk"), py::arg("return_rejected"))
        .def("rejected", &rejected_of, "Rejected rows by reason.")
        .def("lanes", &lanes_of, "Counts of each lane, by worker.");
    auto* const type = reinterpret_cast<PyTypeObject*>(producer.ptr());
    producer.attr("push_one") =
        py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, &push_one_method));

    py::list names;
    for (std::size_t i = 0; i < ENGINE_REJECT_REASONS; ++i)
        names.append(py::str(std::string(engine_reason_name(i))));
    module.attr("ENGINE_REJECT_REASONS") = py::tuple(names);
}

}  // namespace klineagg
