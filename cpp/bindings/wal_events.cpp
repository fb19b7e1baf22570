#include "wal_events.hpp"

#include <pybind11/stl.h>

#include <string>

#include "klineagg/engine/journal_records.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

using engine::ByteReader;
using engine::JournalKind;

py::object time_of(TimeNs time) { return time == TIME_NONE ? py::none() : py::object(py::int_(time)); }

py::object name_of(const engine::SymbolName& name) {
    return py::str(name.text.empty() ? std::to_string(name.id) : name.text);
}

const char* gaps_of(std::uint8_t gaps) {
    switch (static_cast<GapMode>(gaps)) {
        case GapMode::none: return "none";
        case GapMode::runs: return "runs";
        case GapMode::flat: return "flat";
    }
    return "unknown";
}

py::tuple event(const char* kind, const py::dict& values) {
    return py::make_tuple(std::string(kind), values);
}

py::tuple clock(const engine::ClockRecord& record) {
    py::dict values;
    values["watermark"] = time_of(record.watermark);
    values["clock"] = time_of(record.simulated);
    return event("clock", values);
}

py::tuple symbol(const engine::SymbolRecord& record) {
    py::dict values;
    values["symbol"] = name_of(record.name);
    values["price"] = record.price ? py::object(py::float_(*record.price)) : py::none();
    values["start"] = time_of(record.start);
    return event("symbol", values);
}

py::tuple removed(const engine::RemovedRecord& record) {
    py::dict values;
    values["symbol"] = name_of(record.name);
    values["open_bars_too"] = record.open_bars_too;
    return event("removed", values);
}

py::tuple hole(const engine::HoleRecord& record) {
    py::list symbols;
    for (const engine::SymbolName& name : record.symbols) symbols.append(name_of(name));
    py::dict values;
    values["start"] = time_of(record.time_min);
    values["end"] = time_of(record.time_max);
    values["symbols"] = symbols;
    return event("hole", values);
}

py::tuple rules(const engine::RulesRecord& record) {
    py::list names;
    for (const Interval& interval : record.intervals) names.append(interval.name());
    py::dict values;
    values["intervals"] = names;
    values["lateness"] = record.lateness_ns;
    const bool is_bounded = record.amend_horizon_ns != HORIZON_UNLIMITED;
    values["amend_horizon"] = is_bounded ? py::object(py::int_(record.amend_horizon_ns)) : py::none();
    values["gaps"] = std::string(gaps_of(record.gaps));
    return event("rules", values);
}

py::tuple corrected(const engine::CorrectedRecord& record) {
    const auto bars = [](const auto& all, const auto& interval_of, const auto& time_at) {
        py::list out;
        for (std::size_t i = 0; i < all.size(); ++i)
            out.append(py::make_tuple(interval_of(all[i]).name(), time_at(i)));
        return out;
    };
    const auto itself = [](const Interval& interval) -> const Interval& { return interval; };
    const auto of_bar = [](const engine::Replacement& one) -> const Interval& { return one.interval; };
    py::dict values;
    values["symbol"] = name_of(record.name);
    values["bars"] =
        bars(record.all.bars, of_bar, [&](std::size_t i) { return record.all.bars[i].open_time; });
    values["marked"] =
        bars(record.all.marked, itself, [&](std::size_t i) { return record.all.marked_at[i]; });
    return event("corrected", values);
}

py::object command(ByteReader& from) {
    switch (static_cast<JournalKind>(from.get<std::uint8_t>())) {
        case JournalKind::begin: {
            py::dict values;
            values["epoch"] = engine::get_begin(from).epoch;
            return event("begin", values);
        }
        case JournalKind::symbol: return symbol(engine::get_symbol(from));
        case JournalKind::removed: return removed(engine::get_removed(from));
        case JournalKind::hole: return hole(engine::get_hole(from));
        // Tables of zones and sessions go by name there; here nobody asks for their boundaries.
        case JournalKind::rules: return rules(engine::get_rules_record(from, {}));
        case JournalKind::corrected: return corrected(engine::get_corrected(from, {}));
        case JournalKind::note: {
            const std::span<const std::byte> note = from.get_bytes(from.left());
            py::dict values;
            values["note"] = py::bytes(reinterpret_cast<const char*>(note.data()), note.size());
            return event("note", values);
        }
    }
    return py::none();
}

}  // namespace

py::object wal_event_of(const wal::FrameHeader& header, Bytes payload) {
    if ((header.flags & engine::JOURNAL_FRAME) == 0 || header.schema != engine::JOURNAL_SCHEMA)
        return py::none();
    ByteReader from(payload);
    try {
        if (header.topic == wal::Topic::clock) return clock(engine::get_clock(from));
        if (header.topic == wal::Topic::command) return command(from);
    } catch (const Error&) {
        // The log itself is whole: who looks at it sees the bytes, and the next record.
    }
    return py::none();
}

}  // namespace klineagg
