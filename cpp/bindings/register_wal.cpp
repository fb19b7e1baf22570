// The writer of a write-ahead log.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gil.hpp"
#include "in_pieces.hpp"
#include "klineagg/engine/past_intervals.hpp"
#include "klineagg/error.hpp"
#include "klineagg/symbol_table.hpp"
#include "klineagg/trade_columns.hpp"
#include "klineagg/wal/log.hpp"
#include "klineagg/wal/trade_codec.hpp"
#include "register.hpp"
#include "trade_arrays.hpp"
#include "wal_handle.hpp"
#include "wal_options.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

constexpr std::size_t BLOCK_ROWS = 4096;
constexpr std::size_t ROW_BYTES = 64;  // of the longest row of a block
constexpr std::int64_t TIME_MISSING = std::numeric_limits<std::int64_t>::min();

wal::LogOptions options_of(const std::string& fsync, DurationNs interval_ns,
                           std::size_t segment_bytes, std::uint64_t size_max,
                           DurationNs age_max_ns) {
    wal::LogOptions options;
    options.sync = sync_mode(fsync, "fsync");
    options.interval_ns = interval_ns;
    options.segment_bytes = segment_bytes;
    options.size_max = size_max;
    options.age_max_ns = age_max_ns;
    return options;
}

std::unique_ptr<WalHandle> make(const std::string& path, const std::string& fsync,
                                DurationNs interval_ns, std::size_t segment_bytes,
                                std::size_t ring_bytes, std::uint64_t size_max,
                                DurationNs age_max_ns, bool keep_uncommitted, bool salvage) {
    wal::LogOptions options =
        options_of(fsync, interval_ns, segment_bytes, size_max, age_max_ns);
    options.ring_bytes = ring_bytes;
    options.keep_uncommitted = keep_uncommitted;
    options.salvage = salvage;
    std::shared_ptr<LogState> made;
    {
        const GilReleased released;
        made = std::make_shared<LogState>(path, options);
    }
    return std::make_unique<WalHandle>(std::move(made));
}

void check_options(const std::string& fsync, DurationNs interval_ns, std::size_t segment_bytes,
                   std::uint64_t size_max, DurationNs age_max_ns) {
    wal::check_options(options_of(fsync, interval_ns, segment_bytes, size_max, age_max_ns));
}

/// Does what may wait for room, in pieces that Ctrl-C may end. Throws Error(wal_timeout).
template <class Attempt>
void with_room(std::optional<DurationNs> timeout_ns, Attempt&& attempt) {
    const bool done = in_pieces(timeout_ns, [&](DurationNs piece_ns) {
        try {
            attempt(engine::deadline_after(piece_ns));
            return true;
        } catch (const Error& error) {
            if (error.code() != ErrorCode::wal_timeout) throw;
            return false;
        }
    });
    if (!done)
        throw Error(ErrorCode::wal_timeout, "the log's ring had no room within the timeout");
}

std::uint64_t append(const WalHandle& self, const std::string& topic, const py::buffer& data,
                     std::optional<DurationNs> timeout_ns) {
    const wal::Topic to = wal_topic(topic);
    if (to == wal::Topic::trade) {
        throw Error(ErrorCode::wal_record, "bytes cannot be of topic 'trade'; see append_trades()",
                    {{"topic", topic}});
    }
    const py::buffer_info info = data.request();
    if (PyBuffer_IsContiguous(info.view(), 'C') == 0)
        throw Error(ErrorCode::wal_record, "the bytes are not contiguous");
    const Bytes payload(static_cast<const std::byte*>(info.ptr),
                        static_cast<std::size_t>(info.size * info.itemsize));
    wal::Log& log = self.log();
    wal::Appended appended;
    with_room(timeout_ns, [&](engine::MonotonicNs deadline) {
        appended = log.append_wait(to, payload, 1, deadline);
    });
    return appended.last;
}

wal::LaneRecord record_of(const AnyRows& rows, const TradeColumns& columns, std::size_t row) {
    const std::int64_t raw = rows.raw_time(row);
    TimeNs time = raw;
    if (raw != TIME_MISSING && __builtin_mul_overflow(raw, columns.time_scale_ns, &time)) {
        throw Error(ErrorCode::wal_record, "a time leaves the range of 64-bit nanoseconds",
                    {{"row", std::to_string(row)}, {"column", "time"}});
    }
    TradeColumns unscaled = columns;
    unscaled.time_scale_ns = 1;
    Trade trade = AnyRows(unscaled).trade(row);
    trade.time = time;
    if (!engine::fits_lane(trade)) {
        throw Error(ErrorCode::wal_record, "a trade stands for more than 2^32 trades",
                    {{"row", std::to_string(row)}, {"column", "last_trade_id"}});
    }
    return engine::to_record(trade, rows.symbol(row), 0, 0);
}

/// The trades of a chunk as frames of some rows each.
class TradeBlocks {
public:
    TradeBlocks(LogState& state, const TradeColumns& columns)
        : state_(&state),
          rows_(columns.size),
          step_(std::clamp<std::size_t>(state.log.payload_bytes_max() / ROW_BYTES, 2, BLOCK_ROWS + 1) -
                1) {
        const AnyRows rows(columns);
        records_.reserve(columns.size);
        for (std::size_t row = 0; row < columns.size; ++row)
            records_.push_back(record_of(rows, columns, row));
    }
    [[nodiscard]] bool done() const noexcept { return appended_ == rows_; }
    [[nodiscard]] std::size_t appended() const noexcept { return appended_; }
    [[nodiscard]] wal::Sequence last() const noexcept { return last_; }

    void append_one(engine::MonotonicNs deadline) {
        const std::lock_guard lock(state_->mutex);
        const std::size_t count = std::min(step_, rows_ - appended_);
        const Bytes payload = state_->encoder.encode({records_.data() + appended_, count});
        std::vector<wal::Name> names;
        for (const std::int32_t symbol : state_->encoder.new_symbols()) {
            if (symbol < 0) continue;
            std::string name = symbol_table().name(symbol);
            if (name.empty()) name = std::to_string(symbol);  // as it is shown anywhere else
            names.push_back({wal::NameKind::symbol, symbol, std::move(name)});
        }
        // What was not appended is new again the next time.
        if (!names.empty()) state_->log.append_names(names, deadline);
        last_ = state_->log
                    .append_wait(wal::Topic::trade, payload, static_cast<std::uint32_t>(count),
                                 deadline, wal::TRADE_SCHEMA)
                    .last;
        state_->encoder.forget_new();
        appended_ += count;
    }

private:
    LogState* state_;
    std::size_t rows_;
    std::size_t step_;
    std::vector<wal::LaneRecord> records_;
    std::size_t appended_ = 0;
    wal::Sequence last_ = 0;
};

std::uint64_t append_trades(const WalHandle& self, const py::dict& chunk,
                            std::optional<DurationNs> timeout_ns) {
    const TradeColumns columns = trade_columns_of(chunk);
    LogState& state = self.state.get();
    std::optional<TradeBlocks> blocks;
    {
        const GilReleased released;
        blocks.emplace(state, columns);
    }
    try {
        while (!blocks->done())
            with_room(timeout_ns,
                      [&](engine::MonotonicNs deadline) { blocks->append_one(deadline); });
    } catch (const Error& error) {
        Error::Fields fields = error.fields();
        fields.emplace_back("appended_rows", std::to_string(blocks->appended()));
        throw Error(error.code(), error.what(), std::move(fields));
    }
    return blocks->last();
}

bool wait(const WalHandle& self, std::uint64_t sequence, bool durable,
          std::optional<DurationNs> timeout_ns) {
    wal::Log& log = self.log();
    return in_pieces(timeout_ns, [&](DurationNs piece_ns) {
        const engine::MonotonicNs deadline = engine::deadline_after(piece_ns);
        return durable ? log.wait_durable(sequence, deadline)
                       : log.wait_written(sequence, deadline);
    });
}

void close(const WalHandle& self) {
    if (self.state.is_foreign()) return;  // it is the parent's
    wal::Log& log = self.log();
    const GilReleased released;
    log.close();
}

void resume(const WalHandle& self) {
    wal::Log& log = self.log();
    const GilReleased released;
    log.resume();
}

const char* state_name(const WalHandle& self) {
    if (self.state.is_foreign()) return "forked";
    switch (self.log().state()) {
        case wal::LogState::running: return "running";
        case wal::LogState::halted: return "halted";
        case wal::LogState::closed: return "closed";
    }
    return "unknown";
}

py::dict stats(const WalHandle& self) {
    const wal::LogStats now = self.log().stats();
    py::dict out;
    out["next"] = now.next;
    out["written"] = now.written;
    out["durable"] = now.durable;
    out["committed"] = now.committed;
    out["frames"] = now.frames;
    out["bytes"] = now.bytes;
    out["writes"] = now.writes;
    out["syncs"] = now.syncs;
    out["sync_ns_max"] = now.sync_ns_max;
    out["segments"] = now.segments;
    out["segment_bytes"] = now.segment_bytes;
    out["removed_segments"] = now.removed_segments;
    out["failed_removals"] = now.failed_removals;
    out["halts"] = now.halts;
    out["resumes"] = now.resumes;
    out["would_block"] = now.would_block;
    out["ring_bytes"] = now.ring_bytes;
    out["ring_used_bytes"] = now.ring_used_bytes;
    return out;
}

/// Only to be raised by Python, which makes it of these parts.
py::object failure(const WalHandle& self) {
    const std::optional<Error> error = self.log().failure();
    if (!error) return py::none();
    return py::make_tuple(std::string(error_info(error->code()).name), std::string(error->what()));
}

std::vector<std::string> past_tables_of(const WalHandle& wal,
                                        const std::optional<py::bytes>& checkpoint) {
    std::optional<std::span<const std::byte>> given;
    if (checkpoint) {
        const std::string_view text = *checkpoint;
        given.emplace(reinterpret_cast<const std::byte*>(text.data()), text.size());
    }
    const GilReleased released;
    return engine::past_tables(wal.log(), given);
}

}  // namespace

void register_wal(py::module_& module) {
    module.def("wal_check_options", &check_options, py::kw_only(), py::arg("fsync"),
               py::arg("interval_ns"), py::arg("segment_bytes"), py::arg("size_max"),
               py::arg("age_max_ns"), "What opening a log would say of them.");
    py::class_<WalHandle>(module, "Wal", "See klineagg.Wal.")
        .def(py::init(&make), py::arg("path"), py::kw_only(), py::arg("fsync"),
             py::arg("interval_ns"), py::arg("segment_bytes"), py::arg("ring_bytes"),
             py::arg("size_max"), py::arg("age_max_ns"), py::arg("keep_uncommitted"),
             py::arg("salvage"))
        .def("append", &append, py::arg("topic"), py::arg("data"), py::arg("timeout_ns"))
        .def("append_trades", &append_trades, py::arg("chunk"), py::arg("timeout_ns"))
        .def("wait", &wait, py::arg("sequence"), py::arg("durable"), py::arg("timeout_ns"))
        .def("past_tables", &past_tables_of, py::arg("checkpoint"),
             "Names of intervals by tables that an engine recovers by.")
        .def("resume", &resume)
        .def("close", &close)
        .def("set_committed",
             [](const WalHandle& self, std::uint64_t to) { self.log().set_committed(to); },
             py::arg("sequence"))
        .def("set_retention",
             [](const WalHandle& self, std::uint64_t size_max, DurationNs age_max_ns) {
                 self.log().set_retention(size_max, age_max_ns);
             },
             py::arg("size_max"), py::arg("age_max_ns"))
        .def("stats", &stats)
        .def("failure", &failure)
        .def("lost", [](const WalHandle& self) { return wal_damages(self.log().lost()); })
        .def_property_readonly("state", &state_name)
        .def_property_readonly("next", [](const WalHandle& self) { return self.log().next_sequence(); })
        .def_property_readonly("written", [](const WalHandle& self) { return self.log().written(); })
        .def_property_readonly("durable", [](const WalHandle& self) { return self.log().durable(); })
        .def_property_readonly("id", [](const WalHandle& self) { return wal::to_text(self.log().id()); })
        .def_property_readonly("fsync",
                               [](const WalHandle& self) { return sync_name(self.log().sync_mode()); })
        .def_property_readonly("repaired_bytes",
                               [](const WalHandle& self) { return self.log().repaired_bytes(); })
        .def_property_readonly("payload_bytes_max", [](const WalHandle& self) {
            return self.log().payload_bytes_max();
        });
}

}  // namespace klineagg
