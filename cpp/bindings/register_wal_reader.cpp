// The records of a write-ahead log.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gil.hpp"
#include "klineagg/engine/journal.hpp"
#include "klineagg/error.hpp"
#include "klineagg/symbol_table.hpp"
#include "klineagg/wal/reader.hpp"
#include "klineagg/wal/trade_codec.hpp"
#include "register.hpp"
#include "wal_events.hpp"
#include "wal_options.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

/// A row of klineagg.wal.TRADE_DTYPE.
struct TradeRow {
    std::int64_t time = 0;
    double price = 0.0;
    double quantity = 0.0;
    std::int64_t first_id = 0;
    std::int64_t last_id = 0;
    std::int32_t symbol = 0;
    std::int8_t side = 0;
    std::uint8_t flags = 0;
    std::uint16_t source = 0;
};
static_assert(sizeof(TradeRow) == 48);

/// What comes next: a frame of bytes, or the trades of some frames one behind the other.
struct Found {
    wal::FrameHeader header;  // of the first frame
    wal::Sequence first = 0;
    wal::Sequence last = 0;
    std::vector<std::byte> payload;
    std::vector<TradeRow> trades;
};

class WalReader {
public:
    WalReader(const std::string& path, const wal::ReadOptions& options)
        : path_(path), reader_(real_files(), path, options) {}

    /// Without the GIL. False at the end.
    bool next(std::size_t rows_max, Found& found) {
        const std::lock_guard lock(mutex_);
        while (pending_ || (pending_ = read_on(found))) {
            const wal::FrameHeader& header = frame_.view.header;
            const wal::Sequence first = header.sequence + frame_.skip;
            if (header.topic != wal::Topic::trade) {
                if (!found.trades.empty()) return true;
                take_bytes(first, found);
                pending_ = false;
                return true;
            }
            const bool goes_on = found.trades.empty() || first == found.last + 1;
            if (!goes_on || found.trades.size() >= rows_max) return true;
            take_trades(first, found);
            pending_ = false;
        }
        return !found.trades.empty();
    }
    [[nodiscard]] const wal::Reader& reader() const noexcept { return reader_; }

private:
    /// The next frame. What was found before damage is handed out, and then the damage is told.
    bool read_on(const Found& found) {
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
        try {
            return reader_.next(frame_);
        } catch (const Error&) {
            if (found.trades.empty()) throw;
            failure_ = std::current_exception();
            return false;
        }
    }
    void begin(wal::Sequence first, Found& found) const {
        found.header = frame_.view.header;
        found.first = first;
    }
    void take_bytes(wal::Sequence first, Found& found) const {
        begin(first, found);
        found.last = first + frame_.count - 1;
        found.payload.assign(frame_.view.payload.begin(), frame_.view.payload.end());
    }
    void take_trades(wal::Sequence first, Found& found) {
        records_.clear();
        if (frame_.view.header.schema != wal::TRADE_SCHEMA ||
            !decoder_.decode(frame_.view.payload, records_) ||
            records_.size() < std::size_t{frame_.skip} + frame_.count) {
            throw Error(ErrorCode::wal_format,
                        path_ + ": record " + std::to_string(first) + " is no block of trades");
        }
        learn_names();
        if (found.trades.empty()) begin(first, found);
        for (std::size_t i = 0; i < frame_.count; ++i)
            found.trades.push_back(row_of(records_[frame_.skip + i]));
        found.last = first + frame_.count - 1;
    }
    /// Numbers are good for one segment, ids for one process; names are what stays.
    void learn_names() {
        const std::vector<wal::Name>& names = reader_.names();
        if (reader_.names_version() != names_version_) {
            names_version_ = reader_.names_version();
            names_seen_ = 0;
            ids_.clear();
        }
        for (; names_seen_ < names.size(); ++names_seen_) {
            const wal::Name& each = names[names_seen_];
            if (each.kind == wal::NameKind::symbol)
                ids_[each.id] = symbol_table().intern(each.name);
        }
    }
    [[nodiscard]] TradeRow row_of(const wal::LaneRecord& record) const {
        std::int32_t symbol = record.symbol;
        if (symbol >= 0) {
            // Without a name it is a number that its user has made, and means the same everywhere.
            const auto known = ids_.find(symbol);
            if (known != ids_.end()) symbol = known->second;
        }
        return {record.time,
                record.price,
                record.quantity,
                record.id,
                static_cast<std::int64_t>(static_cast<std::uint64_t>(record.id) + record.more_ids),
                symbol,
                static_cast<std::int8_t>(record.taker_buy != 0 ? 1 : -1),
                record.flags,
                record.source};
    }

    std::mutex mutex_;  // threads take turns
    std::string path_;
    wal::Reader reader_;
    wal::Reader::Frame frame_;
    bool pending_ = false;
    std::exception_ptr failure_;
    wal::TradeDecoder decoder_;
    std::vector<wal::LaneRecord> records_;
    std::unordered_map<std::int32_t, std::int32_t> ids_;
    std::uint64_t names_version_ = 0;
    std::size_t names_seen_ = 0;
};

std::unique_ptr<WalReader> make(const std::string& path, std::uint64_t from, std::uint64_t to,
                                const std::vector<std::string>& topics, TimeNs start, TimeNs end,
                                bool salvage) {
    wal::ReadOptions options;
    options.from = from;
    options.to = to;
    for (const std::string& each : topics)
        options.topics |= std::uint32_t{1} << static_cast<unsigned>(wal_topic(each));
    options.start = start;
    options.end = end;
    options.salvage = salvage;
    const GilReleased released;
    return std::make_unique<WalReader>(path, options);
}

bool has_no_clock(const wal::FrameHeader& header) noexcept {
    return (header.flags & engine::JOURNAL_FRAME) != 0 &&
           (header.flags & engine::JOURNAL_NO_CLOCK) != 0;
}

/// (topic, first, last, time, whether that is the system's in the place of an engine's clock,
/// bytes or array, event or None), or None at the end.
py::object next(WalReader& self, const py::dtype& dtype, std::size_t rows_max) {
    Found found;
    bool more = false;
    {
        const GilReleased released;
        more = self.next(rows_max, found);
    }
    if (!more) return py::none();
    py::object data;
    py::object event = py::none();
    if (found.header.topic == wal::Topic::trade) {
        if (dtype.itemsize() != static_cast<py::ssize_t>(sizeof(TradeRow)))
            throw Error(ErrorCode::record_mismatch, "these are not rows of trades");
        py::array trades(dtype, static_cast<py::ssize_t>(found.trades.size()));
        if (!found.trades.empty())
            std::memcpy(trades.mutable_data(), found.trades.data(),
                        found.trades.size() * sizeof(TradeRow));
        data = trades;
    } else {
        data = py::bytes(reinterpret_cast<const char*>(found.payload.data()),
                         found.payload.size());
        event = wal_event_of(found.header, found.payload);
    }
    return py::make_tuple(std::string(wal::topic_name(found.header.topic)), found.first, found.last,
                          found.header.time, has_no_clock(found.header), data, event);
}

py::list segments(const std::string& path) {
    py::list out;
    FileSystem& files = *real_files();
    for (const wal::SegmentEntry& each : wal::list_segments(files, path)) {
        wal::SegmentScanner scanner(files.open(each.path, OpenMode::read), each.path, each.first);
        py::dict one;
        one["path"] = each.path;
        one["first"] = each.first;
        one["bytes"] = scanner.file().size();
        one["has_header"] = scanner.header().has_value();
        const wal::SegmentHeader header = scanner.header().value_or(wal::SegmentHeader{});
        one["log"] = wal::to_text(header.log);
        one["created"] = header.created;
        one["fsync"] = sync_name(header.sync);
        out.append(one);
    }
    return out;
}

py::list checkpoints(const std::string& path) {
    std::vector<engine::CommittedFile> found;
    {
        const GilReleased released;
        found = engine::committed_files(*real_files(), path);
    }
    py::list out;
    for (const engine::CommittedFile& each : found)
        out.append(py::make_tuple(each.consumer, each.position, each.bytes));
    return out;
}

}  // namespace

void register_wal_reader(py::module_& module) {
    module.def("wal_checkpoints", &checkpoints, py::arg("path"), "States that lie beside a log.");
    module.def("wal_segments", &segments, py::arg("path"), "What is known of each segment.");
    py::class_<WalReader>(module, "WalReader", "Records out of a log; see klineagg.wal.")
        .def(py::init(&make), py::arg("path"), py::kw_only(), py::arg("from_seq"),
             py::arg("to_seq"), py::arg("topics"), py::arg("start"), py::arg("end"),
             py::arg("salvage"))
        .def("next", &next, py::arg("dtype"), py::arg("rows_max"))
        .def("damages", [](const WalReader& self) { return wal_damages(self.reader().damages()); })
        .def_property_readonly("torn_bytes",
                               [](const WalReader& self) { return self.reader().torn_bytes(); })
        .def_property_readonly("has_untimed",
                               [](const WalReader& self) { return self.reader().has_untimed(); })
        .def_property_readonly("is_sealed",
                               [](const WalReader& self) { return self.reader().is_sealed(); })
        .def_property_readonly("position",
                               [](const WalReader& self) { return self.reader().position(); });
}

}  // namespace klineagg
