#include "klineagg/engine/journal_records.hpp"

#include <array>
#include <cstring>

#include "klineagg/engine/checkpoint_records.hpp"
#include "klineagg/wal/crc32c.hpp"

namespace klineagg::engine {

namespace {

constexpr std::uint32_t PLACED_MAGIC = 0x4A434C4BU;  // "KLCJ"
constexpr std::uint32_t PLACED_VERSION = 1;
constexpr std::size_t PLACED_HEAD = 4 + 4 + 16 + 8 + 4;

}  // namespace

void put_clock(std::byte* to, const ClockRecord& record) noexcept {
    std::memcpy(to, &record.watermark, 8);
    std::memcpy(to + 8, &record.simulated, 8);
}
ClockRecord get_clock(ByteReader& from) {
    ClockRecord record;
    record.watermark = from.get<TimeNs>();
    record.simulated = from.get<TimeNs>();
    return record;
}

void put_record(ByteWriter& to, const BeginRecord& record) {
    to.put(JournalKind::begin);
    to.put(record.epoch);
}
void put_record(ByteWriter& to, const SymbolRecord& record) {
    to.put(JournalKind::symbol);
    put_name(to, record.name);
    to.put(static_cast<std::uint8_t>(record.price.has_value()));
    to.put(record.price.value_or(0.0));
    to.put(record.start);
}
void put_record(ByteWriter& to, const RemovedRecord& record) {
    to.put(JournalKind::removed);
    put_name(to, record.name);
    to.put(static_cast<std::uint8_t>(record.open_bars_too));
}
void put_record(ByteWriter& to, const HoleRecord& record) {
    to.put(JournalKind::hole);
    to.put(record.time_min);
    to.put(record.time_max);
    to.put(static_cast<std::uint32_t>(record.symbols.size()));
    for (const SymbolName& name : record.symbols) put_name(to, name);
}
void put_record(ByteWriter& to, const RulesRecord& record) {
    to.put(JournalKind::rules);
    to.put(record.lateness_ns);
    to.put(record.amend_horizon_ns);
    to.put(record.gaps);
    to.put(static_cast<std::uint32_t>(record.intervals.size()));
    for (const Interval& interval : record.intervals) put_interval(to, interval);
    if (record.since) to.put(*record.since);
}

void put_record(ByteWriter& to, const CorrectedRecord& record) {
    to.put(JournalKind::corrected);
    put_name(to, record.name);
    to.put(static_cast<std::uint32_t>(record.all.bars.size()));
    for (const Replacement& one : record.all.bars) {
        put_interval(to, one.interval);
        to.put(one.open_time);
        put_bar(to, one.expected);
        put_bar(to, one.content);
    }
    to.put(static_cast<std::uint32_t>(record.all.marked.size()));
    for (std::size_t i = 0; i < record.all.marked.size(); ++i) {
        put_interval(to, record.all.marked[i]);
        to.put(record.all.marked_at[i]);
    }
}

BeginRecord get_begin(ByteReader& from) { return {from.get<std::int64_t>()}; }

SymbolRecord get_symbol(ByteReader& from) {
    SymbolRecord record;
    record.name = get_name(from);
    const bool has_price = from.get_bool();
    const auto price = from.get<double>();
    if (has_price) record.price = price;
    record.start = from.get<TimeNs>();
    return record;
}

RemovedRecord get_removed(ByteReader& from) {
    RemovedRecord record;
    record.name = get_name(from);
    record.open_bars_too = from.get_bool();
    return record;
}

HoleRecord get_hole(ByteReader& from) {
    HoleRecord record;
    record.time_min = from.get<TimeNs>();
    record.time_max = from.get<TimeNs>();
    for (std::size_t count = from.get_count(4); count != 0; --count)
        record.symbols.push_back(get_name(from));
    return record;
}

RulesRecord get_rules_record(ByteReader& from, const std::vector<Interval>& tables) {
    RulesRecord record;
    record.lateness_ns = from.get<DurationNs>();
    record.amend_horizon_ns = from.get<DurationNs>();
    record.gaps = from.get<std::uint8_t>();
    for (std::size_t count = from.get_count(5); count != 0; --count)
        record.intervals.push_back(get_interval(from, tables));
    if (from.left() != 0) record.since = from.get<std::uint64_t>();
    return record;
}

CorrectedRecord get_corrected(ByteReader& from, const std::vector<Interval>& tables) {
    CorrectedRecord record;
    record.name = get_name(from);
    for (std::size_t count = from.get_count(25); count != 0; --count) {
        Replacement one{get_interval(from, tables), get_time(from), {}, {}};
        one.expected = get_bar(from);
        one.content = get_bar(from);
        record.all.bars.push_back(std::move(one));
    }
    for (std::size_t count = from.get_count(13); count != 0; --count) {
        record.all.marked.push_back(get_interval(from, tables));
        record.all.marked_at.push_back(get_time(from));
    }
    return record;
}

std::vector<std::byte> put_placed(const Placed& placed) {
    std::vector<std::byte> bytes;
    bytes.reserve(PLACED_HEAD + placed.checkpoint.size());
    ByteWriter to(bytes);
    to.put(PLACED_MAGIC);
    to.put(PLACED_VERSION);
    to.put_bytes(placed.log.data(), placed.log.size());
    to.put(placed.position);
    to.put(std::uint32_t{0});
    to.put_bytes(placed.checkpoint.data(), placed.checkpoint.size());
    to.put_at(PLACED_HEAD - 4, wal::crc32c(0, bytes));
    return bytes;
}

std::optional<Placed> get_placed(std::span<const std::byte> bytes) {
    ByteReader from(bytes);
    if (bytes.size() < PLACED_HEAD || from.get<std::uint32_t>() != PLACED_MAGIC) return {};
    from.check(from.get<std::uint32_t>() == PLACED_VERSION, "an unknown version of its place");
    Placed placed;
    std::memcpy(placed.log.data(), from.get_bytes(placed.log.size()).data(), placed.log.size());
    placed.position = from.get<std::uint64_t>();
    const auto crc = from.get<std::uint32_t>();
    placed.checkpoint = from.get_bytes(from.left());
    std::vector<std::byte> blank(bytes.begin(), bytes.begin() + PLACED_HEAD);
    std::memset(blank.data() + PLACED_HEAD - 4, 0, 4);
    const std::uint32_t head = wal::crc32c(0, blank);
    from.check(wal::crc32c(head, placed.checkpoint) == crc, "its checksum is another");
    return placed;
}

}  // namespace klineagg::engine
