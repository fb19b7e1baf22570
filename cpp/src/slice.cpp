#include "klineagg/detail/slice.hpp"

namespace klineagg::detail {

ErrorCode order_error(const BatchOptions& options) noexcept {
    return options.aggregator.lateness_ns == STRICT_ORDER ? ErrorCode::unsorted
                                                          : ErrorCode::late_trade;
}

template <class Body>
void Slice::each_block(bool counting, Body&& body) const {
    std::size_t batch_begin = 0;
    for (const TradeColumns& batch : context_->batches) {
        const std::size_t batch_end = batch_begin + batch.size;
        const std::size_t from = std::max(begin_, batch_begin);
        const std::size_t to = std::min(end_, batch_end);
        if (from < to) {
            with_rows(batch, [&](const auto& rows) {
                for (std::size_t block = from; block < to; block += BLOCK) {
                    const std::size_t block_end = std::min(block + BLOCK, to);
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

void Slice::count(StateOf state_of, void* owner) {
    state_of_ = state_of;
    owner_ = owner;
    each_block(true, [this](const TradeColumns& batch, const auto& rows, std::size_t from, std::size_t to,
                      std::size_t first_row) { count_block(batch, rows, from, to, first_row); });
}

template <class Rows>
void Slice::count_block(const TradeColumns& batch, const Rows& rows, std::size_t from,
                        std::size_t to, std::size_t first_row) {
    // Where a test of the whole block cannot vouch for it, each row is judged on its own.
    const bool plain = !Rows::SCALED && !context_->options->allow_nonpositive_prices &&
                       !batch.last_trade_id.present() && !batch.flags.present() &&
                       amounts_plain(rows, from, to);
    if (!plain) {
        for (std::size_t row = from; row < to; ++row) {
            if (judge(batch, row, first_row + row)) {
                count_row(rows.symbol(row), rows.time(row), first_row + row);
            }
        }
        return;
    }
    for (std::size_t row = from; row < to; ++row) {
        const std::int32_t place = router_.find(rows.symbol(row));
        // A time inside an open bar is good; what is not takes the slow way and is judged there.
        if (place >= 0 && times_[static_cast<std::size_t>(place)].try_add(rows.time(row)))
            [[likely]] {
            continue;
        }
        const TimeNs time = rows.time(row);
        const bool good = rows.symbol(row) >= 0 && time >= TIME_MIN && time <= TIME_MAX;
        if (good || judge(batch, row, first_row + row)) {
            count_row(rows.symbol(row), time, first_row + row);
        }
    }
}

void Slice::count_row(std::int32_t symbol, TimeNs time, std::size_t global_row) {
    std::int32_t place = router_.find(symbol);
    if (place == SymbolRouter::ABSENT) place = add_symbol(symbol, {global_row, time});
    const auto index = static_cast<std::size_t>(place);
    const CountSink sink{counts_.data() + index * context_->plan->output_count()};
    try {
        if (times_[index].add(time, sink) == Admission::late) ++late_;
    } catch (const OutOfOrder& step) {
        throw_out_of_order(order_error(*context_->options), symbol, {global_row, time},
                           step.watermark);
    }
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
    times_.push_back(state_of_(owner_, symbol));
    counts_.resize(counts_.size() + context_->plan->output_count(), 0);
    return index;
}

bool Slice::is_rejected(std::size_t global_row) const {
    return std::binary_search(rejected_rows_.begin(), rejected_rows_.end(), global_row);
}

void Slice::fill(const std::vector<SymbolAggregator<PartialBar>*>& bars, const BarColumns& to,
                 std::vector<std::int64_t>& cursors, std::vector<std::int64_t>& outside) const {
    const std::size_t outputs = context_->plan->output_count();
    each_block(false, [&](const TradeColumns&, const auto& batch_rows, std::size_t from, std::size_t end,
                   std::size_t first_row) {
        const auto bad =
            std::lower_bound(rejected_rows_.begin(), rejected_rows_.end(), first_row + from);
        const bool has_bad = bad != rejected_rows_.end() && *bad < first_row + end;
        const auto rows = batch_rows;  // a copy that no store can alias: its pointers stay in registers
        SymbolAggregator<PartialBar>* const* const states = bars.data();
        for (std::size_t row = from; row < end; ++row) {
            if (has_bad && is_rejected(first_row + row)) [[unlikely]] continue;
            const auto place = static_cast<std::size_t>(router_.find(rows.symbol(row)));
            if (states[place]->try_add(rows.trade(row))) [[likely]] continue;
            const FillSink sink{&to, cursors.data() + place * outputs, outside.data()};
            (void)states[place]->add_slow(rows.trade(row), sink);
        }
    });
}

}  // namespace klineagg::detail
