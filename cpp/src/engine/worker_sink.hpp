// Of a worker: rows that close go into its log.
#pragma once

#include <cstddef>
#include <cstdint>

#include "klineagg/engine/metrics.hpp"
#include "klineagg/engine/worker.hpp"

namespace klineagg::engine {

/// Appends what the aggregator hands out to the log.
struct Worker::LogSink {
    static constexpr bool AT_ONCE = true;

    Worker* worker;
    SymbolSlot* slot;

    void bars(int output, const PartialBar* bars, std::size_t count, double close_before) const {
        const TimeNs begin = slot->begin_of(output);
        for (const PartialBar* bar = bars; bar != bars + count; ++bar) {
            if (bar->close_time <= begin) [[unlikely]] continue;  // before the interval came
            BarRow& row = next_row();
            fill_row(row, slot->symbol, static_cast<std::int16_t>(output), *bar, close_before);
            row.flags = static_cast<std::uint16_t>(row.flags | cut_flag(*bar, begin));
            tell(row);
            if (bar->has_close()) close_before = bar->close;
        }
    }
    void gap(int output, Span range, std::int64_t bars, double price, std::uint16_t flags,
             std::int32_t revision) const {
        const auto tell_flats = [&](Span of, std::int64_t count, std::uint16_t all) {
            BarRow& row = next_row();
            fill_flat_row(row, slot->symbol, static_cast<std::int16_t>(output), of, count, price,
                          all, revision);
            tell(row);
        };
        const TimeNs begin = slot->begin_of(output);
        if (range.open < begin) [[unlikely]] {
            const Interval& interval =
                worker->generation_->outputs[static_cast<std::size_t>(output)];
            flats_since(begin, interval, range, flags, tell_flats);
        } else {
            tell_flats(range, bars, flags);
        }
    }
    void outside(int, const PartialBar& bar) const {
        add_relaxed<std::int64_t>(worker->counts_.outside, bar.trade_count);
    }

private:
    [[nodiscard]] BarRow& next_row() const {
        while (!worker->log_.has_room()) [[unlikely]] worker->wait_for_room();
        return worker->log_.append();
    }
    void tell(const BarRow& row) const {
        slot->kept.put(row);
        if (row.revision == 0) worker->metrics_.closed(row.close_time);
    }
};

}  // namespace klineagg::engine
