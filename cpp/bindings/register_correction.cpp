// Bars that are put right: Engine.cancel, Engine.correct, Engine.repair.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <vector>

#include "engine_handles.hpp"
#include "gil.hpp"
#include "klineagg/engine/correction.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

/// TRADE_DTYPE of klineagg.wal.
struct Row {
    TimeNs time;
    double price;
    double quantity;
    std::int64_t id;
    std::int64_t last_id;
    std::int32_t symbol;
    std::int8_t side;
    std::uint8_t flags;
    std::uint16_t source;
};
static_assert(sizeof(Row) == 48);

std::vector<Trade> trades_of(const py::bytes& data) {
    const std::string_view text = data;
    std::vector<Trade> trades(text.size() / sizeof(Row));
    for (std::size_t i = 0; i < trades.size(); ++i) {
        Row row;
        std::memcpy(&row, text.data() + i * sizeof row, sizeof row);
        trades[i] = {row.time, row.price,    row.quantity, row.id,
                     row.last_id, row.side > 0, row.flags};
    }
    return trades;
}

py::dict correct_bars(EngineHandle& self, std::int32_t symbol, const py::bytes& before,
                      const py::bytes& after, std::vector<TimeNs> times,
                      std::optional<std::pair<TimeNs, TimeNs>> range) {
    Correction asked;
    asked.symbol = symbol;
    asked.before = trades_of(before);
    asked.after = trades_of(after);
    asked.times = std::move(times);
    asked.is_repair = range.has_value();
    if (range) asked.range = {range->first, range->second};
    CorrectionReport report;
    Engine& engine = self.get();
    {
        const GilReleased released;
        report = engine.correct(std::move(asked));
    }
    py::dict out;
    out["replaced"] = report.replaced;
    out["same"] = report.same;
    out["unexplained"] = report.unexplained;
    out["pending"] = report.pending;
    out["position"] = report.position;
    return out;
}

}  // namespace

void register_correction(py::module_& module) {
    module.def("correct_bars", &correct_bars, py::arg("engine"), py::arg("symbol"),
               py::arg("before"), py::arg("after"), py::arg("times"), py::arg("range"),
               "Rows of TRADE_DTYPE as bytes; `range`: of a repair.");
}

}  // namespace klineagg
