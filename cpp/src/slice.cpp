#include "klineagg/detail/slice.hpp"

namespace klineagg::detail {

ErrorCode order_error(const BatchOptions& options) noexcept {
    return options.aggregator.lateness_ns == STRICT_ORDER ? ErrorCode::unsorted
                                                          : ErrorCode::late_trade;
}

template <class Body>
void Slice::each_block(bool counting, std::size_t block_rows, Body&& body) const {
    std::size_t batch_begin = 0;
    for (const TradeColumns& batch : context_->batches) {
        const std::size_t batch_end = batch_begin + batch.size;
        const std::size_t from = std::max(begin_, batch_begin);
        const std::size_t to = std::min(end_, batch_end);
        if (from < to) {
            with_rows(batch, [&](const auto& rows) {
                for (std::size_t block = from; block < to; block += block_rows) {
                    const std::size_t block_end = std::min(block + block_rows, to);
                    body(batch, rows, block - batch_begin, block_end - batch_begin, batch_begin);
                    context_->rows_passed->fetch_add(static_cast<std::int64_t>(block_end - block),
                                                     std::memory_order_relaxed);
                    // Only the first pass can stop: the second one changes states.
                    if (counting && context_->cancelled->load(std::memory_order_relaxed))
                        throw BatchAggregator::Cancelled{};
                }
            });
        }
        batch_begin = batch_end;
    }
}

void Slice::count(const KnownSymbols& known) {
    known_ = &known;
    each_block(true, COUNT_BLOCK, [this](const TradeColumns& batch, const auto& rows, std::size_t from, std::size_t to,
                      std::size_t first_row) { count_block(batch, rows, from, to, first_row); });
    counter_.finish();
}

/// Whether a test of a whole block can vouch for its rows.
template <class Rows>
static bool judged_by_block(const PassContext& context, const TradeColumns& batch) noexcept {
    return !Rows::SCALED && !context.options->allow_nonpositive_prices &&
           !batch.last_trade_id.present() && !batch.flags.present();
}

template <class Rows>
void Slice::count_block(const TradeColumns& batch, const Rows& rows, std::size_t from,
                        std::size_t to, std::size_t first_row) {
    const bool good = judged_by_block<Rows>(*context_, batch) &&
                      (context_->judge_amounts_late || amounts_plain(rows, from, to));
    if (context_->judge_only) {
        for (std::size_t row = from; row < to; ++row) {
            if (!judge(batch, row, first_row + row)) continue;
            const std::int32_t symbol = rows.symbol(row);
            if (router_.find(symbol) < 0) add_symbol(symbol, {first_row + row, rows.time(row)});
        }
    } else if (good && context_->plain) {
        count_plain(batch, rows, from, to, first_row);
    } else if (good) {
        count_times(batch, rows, from, to, first_row);
    } else {
        for (std::size_t row = from; row < to; ++row) {
            if (judge(batch, row, first_row + row))
                count_row(rows.symbol(row), rows.time(row), first_row + row);
        }
    }
}

template <class Rows>
void Slice::count_plain(const TradeColumns& batch, const Rows& rows, std::size_t from,
                        std::size_t to, std::size_t first_row) {
    while ((from = counter_.count(rows, router_.view(), from, to)) != to) {
        if (judge(batch, from, first_row + from))
            count_row(rows.symbol(from), rows.time(from), first_row + from);
        ++from;
    }
}

template <class Rows>
void Slice::count_times(const TradeColumns& batch, const Rows& rows, std::size_t from,
                        std::size_t to, std::size_t first_row) {
    for (std::size_t row = from; row < to; ++row) {
        const std::int32_t symbol = rows.symbol(row);
        const TimeNs time = rows.time(row);
        const std::int32_t place = router_.find(symbol);
        // A time inside an open bar is good; what is not takes the slow way and is judged there.
        if (place >= 0 && times_[static_cast<std::size_t>(place)].try_add(time)) [[likely]]
            continue;
        const bool good = symbol >= 0 && time >= TIME_MIN && time < TIME_MAX;
        if (good || judge(batch, row, first_row + row)) count_row(symbol, time, first_row + row);
    }
}

void Slice::count_row(std::int32_t symbol, TimeNs time, std::size_t global_row) {
    std::int32_t place = router_.find(symbol);
    if (place == SymbolRouter::ABSENT) place = add_symbol(symbol, {global_row, time});
    const auto index = static_cast<std::size_t>(place);
    if (context_->plain) {
        const TimeNs newest = counter_.newest(index);
        if (time < newest) throw_out_of_order(ErrorCode::unsorted, symbol, {global_row, time}, newest);
        counter_.count_one(index, time);
        return;
    }
    const CountSink sink{counts_.data() + index * context_->plan->output_count()};
    try {
        if (times_[index].add(time, sink) == Admission::late) ++late_;
    } catch (const OutOfOrder& step) {
        throw_out_of_order(order_error(*context_->options), symbol, {global_row, time},
                           step.watermark);
    }
}

template <class Rows>
void Slice::judge_amounts(const TradeColumns& batch, const Rows& rows, std::size_t from,
                          std::size_t to, std::size_t first_row) const {
    if (!judged_by_block<Rows>(*context_, batch) || amounts_plain(rows, from, to)) return;
    for (std::size_t row = from; row < to; ++row) {
        const RejectReason reason = judge_row(batch, row, false);
        if (reason != RejectReason::none) throw_bad_trade(batch, row, first_row + row, reason);
    }
}

void Slice::judge_amounts_before(std::size_t end) const {
    if (!context_->judge_amounts_late) return;
    each_block(false, FILL_BLOCK, [&](const TradeColumns& batch, const auto& rows, std::size_t from,
                                      std::size_t to, std::size_t first_row) {
        if (first_row + from < end)
            judge_amounts(batch, rows, from, std::min(to, end - first_row), first_row);
    });
}

bool Slice::judge(const TradeColumns& batch, std::size_t row, std::size_t global_row) {
    const RejectReason reason = judge_row(batch, row, context_->options->allow_nonpositive_prices);
    if (reason == RejectReason::none) return true;
    if (context_->options->on_bad == BadRows::raise) throw_bad_trade(batch, row, global_row, reason);
    ++rejected_[static_cast<std::size_t>(reason)];
    rejected_rows_.push_back(global_row);
    return false;
}

std::int32_t Slice::add_symbol(std::int32_t symbol, RowPlace place) {
    const auto index = static_cast<std::int32_t>(symbols_.size());
    router_.insert(symbol, index);
    symbols_.push_back({symbol, place});
    if (context_->plain) {
        counter_.add_symbol(known_->newest(symbol));
    } else if (!context_->judge_only) {
        times_.push_back(known_->times(symbol));
        counts_.resize(counts_.size() + context_->plan->output_count(), 0);
    }
    return index;
}

bool Slice::is_rejected(std::size_t global_row) const {
    return std::binary_search(rejected_rows_.begin(), rejected_rows_.end(), global_row);
}

std::int64_t Slice::fill(const std::vector<SymbolAggregator<PartialBar>*>& bars, const BarColumns& to,
                         std::vector<std::int64_t>& cursors,
                         std::vector<std::int64_t>& outside) const {
    std::int64_t beyond_horizon = 0;
    const std::size_t outputs = context_->plan->output_count();
    SymbolSorter sorter(symbols_.size(), FILL_BLOCK);
    ClosedBars<PartialBar> closed;
    each_block(false, FILL_BLOCK, [&](const TradeColumns& batch, const auto& rows, std::size_t from,
                                      std::size_t end, std::size_t first_row) {
        if (context_->judge_amounts_late) judge_amounts(batch, rows, from, end, first_row);
        const auto* const trades = sort_block(sorter, rows, from, end, first_row);
        for (const SymbolSorter::Group& group : sorter.groups()) {
            SymbolAggregator<PartialBar>& state = *bars[group.place];
            const FillSink sink{&to, cursors.data() + group.place * outputs, outside.data()};
            const auto* trade = trades + group.begin;
            const auto* const last = trades + group.end;
            while ((trade = state.add_run(trade, last, closed, sink)) != last) {
                if (state.add_slow(as_trade(*trade++), sink) == Admission::beyond_horizon)
                    ++beyond_horizon;
            }
        }
    });
    for (std::size_t place = 0; place < bars.size(); ++place)
        bars[place]->settle(FillSink{&to, cursors.data() + place * outputs, outside.data()});
    publish_rows();
    return beyond_horizon;
}

template <class Rows>
const typename Rows::Record* Slice::sort_block(SymbolSorter& sorter, const Rows& rows,
                                               std::size_t from, std::size_t end,
                                               std::size_t first_row) const {
    const auto bad =
        std::lower_bound(rejected_rows_.begin(), rejected_rows_.end(), first_row + from);
    const bool has_bad = bad != rejected_rows_.end() && *bad < first_row + end;
    const SymbolRouter::View router = router_.view();
    const Rows local = rows;  // no store can alias a copy: its pointers stay in registers
    const auto trade_of = [&](std::size_t i) { return local.record(from + i); };
    const auto place_of = [&](std::size_t i) { return router.find(local.symbol(from + i)); };
    if (!has_bad) return sorter.sort(end - from, place_of, trade_of);
    const auto place_of_good = [&](std::size_t i) {
        return is_rejected(first_row + from + i) ? SymbolRouter::ABSENT : place_of(i);
    };
    return sorter.sort(end - from, place_of_good, trade_of);
}

}  // namespace klineagg::detail
