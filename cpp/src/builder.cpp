#include "klineagg/builder.hpp"

namespace klineagg {

template const PlainTrade* begin_with_trades(PartialBar& bar, Span span, const PlainTrade* trade,
                                             const PlainTrade* end) noexcept;

namespace {

void split_keys(PartialBar& bar) noexcept {
    if (bar.keys_split != 0) return;
    bar.open_key = bar.first;
    bar.close_key = bar.last();
    bar.keys_split = 1;
}

void add_to_sums(PartialBar& bar, const Trade& trade) noexcept {
    const double value = trade.price * trade.quantity;
    if (bar.sum_form == SumForm::pair &&
        add_pair(bar.sums, trade.quantity, value, trade.taker_buy)) {
        return;
    }
    WideSums sums = load_wide(bar.sum_form, bar.sums, bar.sums_rest);
    sums.lanes[VOLUME].add(trade.quantity);
    sums.lanes[QUOTE_VOLUME].add(value);
    if (trade.taker_buy) {
        sums.lanes[TAKER_BUY_VOLUME].add(trade.quantity);
        sums.lanes[TAKER_BUY_QUOTE].add(value);
    }
    store_wide(sums, bar.sums, bar.sums_rest);
    bar.sum_form = SumForm::wide;
}

void merge_sums(PartialBar& bar, const PartialBar& other) noexcept {
    if (bar.sum_form == SumForm::pair && other.sum_form == SumForm::pair &&
        merge_pairs(bar.sums, other.sums)) {
        return;
    }
    WideSums sums = load_wide(bar.sum_form, bar.sums, bar.sums_rest);
    const WideSums more = load_wide(other.sum_form, other.sums, other.sums_rest);
    for (int lane = 0; lane < SUM_LANES; ++lane) sums.lanes[lane].add(more.lanes[lane]);
    store_wide(sums, bar.sums, bar.sums_rest);
    bar.sum_form = SumForm::wide;
}

}  // namespace

void add_trade(PartialBar& bar, const Trade& trade) noexcept {
    const TradeKey key{trade.time, trade.id};
    const bool had_trades = bar.has_trades();
    if ((trade.flags & TRADE_NO_OPEN_CLOSE) != 0) {
        split_keys(bar);
    } else {
        // Equal keys: the earlier arrival opens, the later one closes.
        if (!bar.has_close() || key < bar.opened_by()) {
            bar.open = trade.price;
            bar.open_key = key;
        }
        if (!bar.has_close() || key >= bar.closed_by()) {
            bar.close = trade.price;
            bar.close_key = key;
        }
    }
    if ((trade.flags & TRADE_NO_HIGH_LOW) == 0) {
        bar.high = std::max(bar.high, trade.price);
        bar.low = std::min(bar.low, trade.price);
    }
    if ((trade.flags & TRADE_NO_VOLUME) == 0) add_to_sums(bar, trade);

    if (!had_trades || key < bar.first) bar.first = key;
    if (!had_trades || key >= bar.last()) {
        bar.last_time = trade.time;
        bar.last_key_id = trade.id;
        bar.last_id = trade.last_id;
    }
    bar.trade_count += trade_count_of(trade);
}

namespace detail {

void merge_any(PartialBar& bar, const PartialBar& other) noexcept {
    bar.flags = static_cast<std::uint16_t>(bar.flags | (other.flags & BAR_INCOMPLETE));
    if (!other.has_trades()) return;
    if ((bar.keys_split | other.keys_split) != 0) split_keys(bar);

    if (other.has_close()) {
        if (!bar.has_close() || other.opened_by() < bar.opened_by()) {
            bar.open = other.open;
            bar.open_key = other.opened_by();
        }
        // `has_close` still tells of the bar before: open was set above, close was not.
        if (!bar.has_close() || other.closed_by() >= bar.closed_by()) {
            bar.close = other.close;
            bar.close_key = other.closed_by();
        }
    }
    bar.high = std::max(bar.high, other.high);
    bar.low = std::min(bar.low, other.low);
    merge_sums(bar, other);

    const bool had_trades = bar.has_trades();
    if (!had_trades || other.first < bar.first) bar.first = other.first;
    if (!had_trades || other.last() >= bar.last()) {
        bar.last_time = other.last_time;
        bar.last_key_id = other.last_key_id;
        bar.last_id = other.last_id;
    }
    bar.trade_count += other.trade_count;
}

}  // namespace detail

void canonicalize(PartialBar& bar) noexcept {
    if (bar.sum_form == SumForm::pair) {
        normalize_pairs(bar.sums);
        bar.sums_rest = SumRest{};
    } else {
        const WideSums sums = load_wide(bar.sum_form, bar.sums, bar.sums_rest);
        bar.sum_form = store_canonical(sums, bar.sums, bar.sums_rest);
    }
    if (bar.keys_split != 0 && bar.open_key == bar.first && bar.close_key == bar.last())
        bar.keys_split = 0;
    if (bar.keys_split == 0) {
        bar.open_key = bar.first;
        bar.close_key = bar.last();
    }
    // Bars are made in room that is not cleared.
    bar.reserved = 0;
    bar.padding[0] = bar.padding[1] = 0;
}

namespace detail {

void round_wide_sums(const PartialBar& bar, double (&rounded)[SUM_LANES]) noexcept {
    const WideSums sums = load_wide(bar.sum_form, bar.sums, bar.sums_rest);
    for (int lane = 0; lane < SUM_LANES; ++lane) rounded[lane] = sums.lanes[lane].round();
}

}  // namespace detail

}  // namespace klineagg
