// What an aggregator hands out of a symbol, as rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "klineagg/engine/bar_row.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

/// Makes rows of bars and of flat runs, closed or open ones: what lies before an interval's
/// beginning is left out, and what the beginning cuts is PARTIAL.
///
/// `Rows` takes them: `next(interval)` is the place of the next row, `tell(row)` says that it is
/// filled.
template <class Rows>
class RowSink {
public:
    /// `outputs`: the intervals by number, those of the slot's plan among them.
    RowSink(const SymbolSlot& slot, const std::vector<Interval>& outputs, Rows rows)
        : slot_(&slot), outputs_(&outputs), rows_(std::move(rows)) {}

    void bars(int output, const PartialBar* bars, std::size_t count, double close_before) const {
        const auto interval = static_cast<std::int16_t>(output);
        const TimeNs begin = slot_->begin_of(output);
        for (const PartialBar* bar = bars; bar != bars + count; ++bar) {
            if (bar->close_time <= begin) [[unlikely]] continue;
            BarRow& row = rows_.next(interval);
            fill_row(row, slot_->symbol, interval, *bar, close_before);
            const bool is_cut = bar->open_time < begin && (bar->flags & BAR_GAP) == 0;
            if (is_cut) [[unlikely]] row.flags = static_cast<std::uint16_t>(row.flags | BAR_PARTIAL);
            rows_.tell(row);
            if (bar->has_close()) close_before = bar->close;
        }
    }
    void gap(int output, Span range, std::int64_t bars, double price, std::uint16_t flags,
             std::int32_t revision) const {
        const auto tell_flats = [&](Span of, std::int64_t count, std::uint16_t all) {
            const auto interval = static_cast<std::int16_t>(output);
            BarRow& row = rows_.next(interval);
            fill_flat_row(row, slot_->symbol, interval, of, count, price, all, revision);
            rows_.tell(row);
        };
        const TimeNs begin = slot_->begin_of(output);
        if (range.open >= begin) [[likely]] tell_flats(range, bars, flags);
        else flats_since(begin, (*outputs_)[static_cast<std::size_t>(output)], range, flags, tell_flats);
    }

protected:
    [[nodiscard]] const Rows& rows() const noexcept { return rows_; }

private:
    /// Nobody knows of trades before an interval's beginning, so that the flat bar that it cuts is
    /// PARTIAL and those before are left out. `range` opens before it.
    template <class Tell>
    static void flats_since(TimeNs begin, const Interval& interval, Span range,
                            std::uint16_t flags, Tell&& tell) {
        if (range.close <= begin) return;
        Span first;
        if (!interval.locate(begin, first)) first = interval.next(begin);
        if (first.open < begin) {
            tell(first, 1, static_cast<std::uint16_t>(flags | BAR_PARTIAL));
            first = interval.next(first.close);
        }
        const std::int64_t bars = interval.count(first.open, range.close);
        if (bars > 0) tell(Span{first.open, range.close}, bars, flags);
    }

    const SymbolSlot* slot_;
    const std::vector<Interval>* outputs_;
    Rows rows_;
};

}  // namespace klineagg::engine
