#include "klineagg/roll_rows.hpp"

#include <string>
#include <vector>

#include "klineagg/error.hpp"

namespace klineagg {

namespace {

constexpr unsigned FROM_ANY_ROW = BAR_INCOMPLETE | BAR_PARTIAL;

[[noreturn]] void refuse(const char* what, TimeNs open_time) {
    throw Error(ErrorCode::merge_mismatch, what, {{"open_time_ns", std::to_string(open_time)}});
}

void check_order(const BarColumns& rows, std::int64_t count) {
    for (std::int64_t row = 0; row < count; ++row) {
        const bool follows = row == 0 || (rows.open_time[row] >= rows.close_time[row - 1] &&
                                          rows.symbol[row] == rows.symbol[row - 1] &&
                                          rows.interval[row] == rows.interval[row - 1]);
        if (!follows || rows.close_time[row] <= rows.open_time[row])
            refuse("finer bars have to be of one series, in order", rows.open_time[row]);
    }
}

PartialBar roll(const BarColumns& rows, std::int64_t begin, std::int64_t end, Span span) {
    PartialBar bar;
    start_bar(bar, span.open, span.close);
    unsigned any = 0;
    unsigned all = BAR_CLOSED;
    for (std::int64_t row = begin; row < end; ++row) {
        const PartialBar finer = bar_of_row(rows, row);
        if (finer.has_trades() &&
            (finer.open_time < span.open || finer.close_time > span.close))
            refuse("a finer bar lies in two coarser ones", finer.open_time);
        merge_into(bar, finer);
        any |= finer.flags;
        all &= finer.flags;
    }
    unsigned flags = (any & FROM_ANY_ROW) | (all & BAR_CLOSED);
    if (!bar.has_trades()) {
        // Its own prices, not those that write_rows would carry over from the coarser bar before:
        // spans may lie between them of which there is no row.
        bar.open = bar.close = rows.close[end - 1];
        flags |= (any & BAR_GENESIS) != 0 ? BAR_GENESIS : BAR_GAP;
    }
    bar.flags = static_cast<std::uint16_t>(flags);
    return bar;
}

}  // namespace

PartialBar bar_of_row(const BarColumns& from, std::int64_t row) noexcept {
    PartialBar bar;
    bar.open_time = from.open_time[row];
    bar.close_time = from.close_time[row];
    bar.run_length = from.run_length[row];
    bar.revision = from.revision[row];
    bar.flags = from.flags[row];
    if (from.last_trade_time[row] == TIME_NONE) return bar;
    bar.open = from.open[row];
    if (from.high[row] >= from.low[row]) {  // not for NaN: then a bar has no range
        bar.high = from.high[row];
        bar.low = from.low[row];
    }
    bar.close = from.close[row];
    bar.first = {from.first_trade_time[row], from.first_trade_id[row]};
    bar.last_time = from.last_trade_time[row];
    bar.last_key_id = bar.last_id = from.last_trade_id[row];
    bar.trade_count = from.trade_count[row];
    bar.sums.hi[VOLUME] = from.volume[row];
    bar.sums.hi[QUOTE_VOLUME] = from.quote_volume[row];
    bar.sums.hi[TAKER_BUY_VOLUME] = from.taker_buy_volume[row];
    bar.sums.hi[TAKER_BUY_QUOTE] = from.taker_buy_quote_volume[row];
    return bar;
}

BarTable roll_rows(const BarTable& finer, std::span<const Span> spans) {
    const BarColumns& rows = finer.columns();
    check_order(rows, finer.rows());
    std::vector<PartialBar> bars;
    std::int64_t begin = 0;
    TimeNs reached = TIME_NONE;
    for (const Span& span : spans) {
        if (span.open < reached || span.close <= span.open)
            refuse("spans of coarser bars have to be in order", span.open);
        reached = span.close;
        while (begin < finer.rows() && rows.close_time[begin] <= span.open) ++begin;
        // A run of gap bars may go on into the next span: it is looked at there once more.
        std::int64_t end = begin;
        while (end < finer.rows() && rows.open_time[end] < span.close) ++end;
        if (end != begin) bars.push_back(roll(rows, begin, end, span));
    }
    const auto count = static_cast<std::int64_t>(bars.size());
    BarTable table(count, false);
    if (count == 0) return table;
    table.add_series({rows.symbol[0], 0, 0, count});
    write_rows(table.columns(), 0, bars.data(), bars.size(), NO_PRICE);
    publish_rows();
    return table;
}

}  // namespace klineagg
