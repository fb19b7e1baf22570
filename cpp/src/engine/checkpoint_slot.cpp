#include "klineagg/engine/checkpoint_slot.hpp"

#include <algorithm>

#include "klineagg/engine/checkpoint_state.hpp"
#include "klineagg/symbol_table.hpp"

namespace klineagg::engine {

SymbolName name_of_symbol(std::int32_t symbol) {
    SymbolName name{symbol_table().name(symbol), -1};
    if (name.text.empty()) name.id = symbol;
    return name;
}

std::int32_t symbol_of(const SymbolName& name) {
    return name.text.empty() ? name.id : symbol_table().intern(name.text);
}

void put_name(ByteWriter& to, const SymbolName& name) {
    to.put_text(name.text);
    if (name.text.empty()) to.put(name.id);
}

SymbolName get_name(ByteReader& from) {
    SymbolName name{from.get_text(SYMBOL_NAME_MAX), -1};
    if (!name.text.empty()) return name;
    name.id = from.get<std::int32_t>();
    from.check(name.id >= 0, "a symbol below 0");
    return name;
}

void put_slot(ByteWriter& to, const SymbolSlot& slot, const std::vector<int>& outputs,
              TimeNs clock) {
    to.put(slot.joined);
    to.put(slot.trades);
    const std::vector<SeenIds::SeenRange> ids = slot.ids.all();
    to.put(static_cast<std::uint32_t>(ids.size()));
    for (const SeenIds::SeenRange& range : ids) {
        to.put(range.source);
        to.put(range.first);
        to.put(range.last);
    }
    const bool begins = std::any_of(outputs.begin(), outputs.end(), [&](int output) {
        return slot.begin_of(output) != TIME_NONE;
    });
    to.put(static_cast<std::uint8_t>(begins));
    if (begins) {
        for (const int output : outputs) to.put(slot.begin_of(output));
    }
    // Room for rows is an option, not a state: an engine that keeps none may have been before.
    bool keeps = false;
    for (const int output : outputs)
        slot.kept.each(static_cast<std::size_t>(output), [&](const BarRow&) { keeps = true; });
    to.put(static_cast<std::uint8_t>(keeps));
    if (keeps) {
        for (const int output : outputs) {
            const std::size_t place = to.size();
            std::uint32_t rows = 0;
            to.put(rows);
            slot.kept.each(static_cast<std::size_t>(output), [&](const BarRow& row) {
                ++rows;
                put_row(to, row);
            });
            to.put_at(place, rows);
        }
    }
    AggregatorState::put(to, slot.aggregator, clock);
}

void get_slot(ByteReader& from, SymbolSlot& slot, BlockPool* pool) {
    slot.joined = get_time(from);
    slot.trades = from.get<std::int64_t>();
    SeenIds::SeenRange before{0, -1, -2};
    for (std::size_t ids = from.get_count(18); ids != 0; --ids) {
        SeenIds::SeenRange range{};
        range.source = from.get<std::uint16_t>();
        range.first = from.get<std::int64_t>();
        range.last = from.get<std::int64_t>();
        const bool follows = range.source > before.source || range.first - 1 > before.last;
        from.check(range.first >= 0 && range.first <= range.last && follows &&
                       range.source >= before.source,
                   "ids that are not in order");
        slot.ids.restore(range, pool);
        before = range;
    }
    const std::size_t count = slot.begins.size();  // as many as the plan has outputs
    if (from.get_bool()) {
        for (std::size_t output = 0; output < count; ++output)
            slot.begins[output] = get_time(from);
    } else {
        slot.begins.clear();
    }
    if (from.get_bool()) {
        for (std::size_t output = 0; output < count; ++output) {
            TimeNs until = TIME_NONE;
            for (std::size_t rows = from.get_count(8); rows != 0; --rows) {
                BarRow row = get_row(from);
                from.check(row.open_time >= until, "rows that are not in order");
                until = row.close_time;
                row.symbol = slot.symbol;
                row.interval = static_cast<std::int16_t>(output);
                slot.kept.put(row);
            }
        }
    }
    slot.aggregator.set_pool(pool);
    AggregatorState::get(from, slot.aggregator);
    from.check_end();
}

}  // namespace klineagg::engine
