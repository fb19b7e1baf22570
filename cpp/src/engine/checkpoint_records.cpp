#include "klineagg/engine/checkpoint_records.hpp"

#include <array>
#include <cstring>

namespace klineagg::engine {

namespace {

template <class Record>
using Words = std::array<std::uint64_t, sizeof(Record) / 8>;

template <class Record>
Words<Record> words_of(const Record& record) noexcept {
    static_assert(sizeof(Record) % 8 == 0 && sizeof(Record) / 8 <= 64);
    Words<Record> words;
    std::memcpy(words.data(), &record, sizeof record);
    return words;
}

/// Which words differ from those of `usual`, then these.
template <class Record>
void put_words(ByteWriter& to, const Record& record, const Words<Record>& usual) {
    const Words<Record> words = words_of(record);
    std::uint64_t mask = 0;
    std::array<std::uint64_t, sizeof(Record) / 8 + 1> packed;
    std::size_t count = 1;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i] == usual[i]) continue;
        mask |= std::uint64_t{1} << i;
        packed[count++] = words[i];
    }
    packed[0] = mask;
    to.put_bytes(packed.data(), count * 8);
}

template <class Record>
void get_words(ByteReader& from, Record& record, const Words<Record>& usual) {
    const auto mask = from.get<std::uint64_t>();
    from.check(usual.size() == 64 || mask >> (usual.size() % 64) == 0, "an unknown part of a bar");
    Words<Record> words = usual;
    for (std::size_t i = 0; i < words.size(); ++i)
        if ((mask >> i & 1U) != 0) words[i] = from.get<std::uint64_t>();
    std::memcpy(static_cast<void*>(&record), words.data(), sizeof record);
}

const Words<PartialBar>& usual_bar() {
    static const Words<PartialBar> words = words_of(PartialBar{});
    return words;
}

const Words<BarRow>& usual_row() {
    static const Words<BarRow> words = [] {
        BarRow row;
        std::memset(&row, 0, sizeof row);
        row.run_length = 1;
        row.first_trade_id = row.last_trade_id = NO_TRADE_ID;
        return words_of(row);
    }();
    return words;
}

bool is_time(TimeNs time) noexcept { return time >= TIME_MIN && time <= TIME_MAX; }

}  // namespace

Interval unwanted_table(const std::string& name) {
    return Interval::table(name, {{TIME_MIN, TIME_MIN + NS_PER_SECOND}});
}

bool is_unwanted(const Interval& interval) noexcept {
    return interval.kind() == IntervalKind::table && interval.spans().size() == 1 &&
           interval.spans().front() == Span{TIME_MIN, TIME_MIN + NS_PER_SECOND};
}

TimeNs get_time(ByteReader& from) {
    const auto time = from.get<TimeNs>();
    from.check(time == TIME_NONE || is_time(time), "a time that is out of range");
    return time;
}

void put_bar(ByteWriter& to, const PartialBar& bar) {
    PartialBar canonical = bar;
    canonicalize(canonical);
    put_words(to, canonical, usual_bar());
}

PartialBar get_bar(ByteReader& from) {
    PartialBar bar;
    get_words(from, bar, usual_bar());
    std::uint8_t sum_form = 0;
    std::memcpy(&sum_form, &bar.sum_form, 1);
    from.check(sum_form <= static_cast<std::uint8_t>(SumForm::wide) && bar.keys_split <= 1 &&
                   bar.version == PARTIAL_BAR_VERSION,
               "a bar of an unknown form");
    from.check(is_time(bar.open_time) && is_time(bar.close_time) && bar.open_time < bar.close_time,
               "a bar without a span");
    from.check(bar.run_length == 1 && bar.revision >= 0 && bar.trade_count >= 0,
               "a bar with a count that no bar has");
    // Not always within it, nor in order: with a lateness, what is left of a base before a finer one
    // is all in one of the bars that began with that, of which nobody is told.
    from.check(!bar.has_trades() || (is_time(bar.first.time) && is_time(bar.last_time)),
               "a bar with trades out of time");
    return bar;
}

void put_row(ByteWriter& to, const BarRow& row) {
    BarRow plain = row;
    plain.symbol = 0;
    plain.interval = 0;
    put_words(to, plain, usual_row());
}

BarRow get_row(ByteReader& from) {
    BarRow row;
    get_words(from, row, usual_row());
    from.check(is_time(row.open_time) && is_time(row.close_time) && row.open_time < row.close_time &&
                   row.run_length >= 1 && row.symbol == 0 && row.interval == 0,
               "a row that no bar has");
    return row;
}

}  // namespace klineagg::engine
