#include "klineagg/activity.hpp"

#include <algorithm>
#include <map>
#include <string>

#include "klineagg/detail/row_errors.hpp"

namespace klineagg {

namespace {

struct OpenBar {
    PartialBar bar;
    TimeNs newest = TIME_NONE;  // of the symbol, also while no bar is open
    double last_close = NO_PRICE;
};

using OpenBars = std::map<std::int32_t, OpenBar>;  // in order of symbol: so are the rows

bool is_full(const PartialBar& bar, const ActivityOptions& options) noexcept {
    if (options.kind == ActivityKind::tick)
        return static_cast<double>(bar.trade_count) >= options.threshold;
    double sums[SUM_LANES];
    round_sums(bar, sums);
    const double sum = sums[options.kind == ActivityKind::volume ? VOLUME : QUOTE_VOLUME];
    return sum >= options.threshold;
}

/// One pass over the rows; `emit(symbol, bar, previous close)` gets each bar that fills.
template <class Emit>
class Pass {
public:
    Pass(const ActivityOptions& options, OpenBars& open, Emit emit)
        : options_(options), open_(open), emit_(std::move(emit)) {}

    /// `passed(rows)` is told of the rows passed, now and then.
    template <class Passed>
    void run(std::span<const TradeColumns> batches, Passed passed) {
        constexpr std::size_t told_every = 8192;
        std::size_t first_row = 0;
        for (const TradeColumns& batch : batches) {
            const AnyRows rows(batch);
            for (std::size_t row = 0; row < batch.size; ++row) {
                if (row % told_every == told_every - 1) passed(told_every);
                if (!admit(batch, row, first_row + row)) continue;
                add(rows.symbol(row), rows.trade(row), first_row + row);
            }
            first_row += batch.size;
        }
    }

    void close(std::int32_t symbol, OpenBar& state, std::uint16_t flags) {
        PartialBar& bar = state.bar;
        bar.open_time = bar.first.time;
        bar.close_time = bar.last_time + 1;
        bar.flags = static_cast<std::uint16_t>(bar.flags | flags);
        emit_(symbol, bar, state.last_close);
        if (bar.has_close()) state.last_close = bar.close;
        start_bar(bar, TIME_NONE, TIME_NONE);
    }

    RejectCounts rejected{};

private:
    bool admit(const TradeColumns& batch, std::size_t row, std::size_t global_row) {
        const RejectReason reason = judge_row(batch, row, options_.allow_nonpositive_prices);
        if (reason == RejectReason::none) return true;
        if (options_.on_bad == BadRows::raise)
            detail::throw_bad_trade(batch, row, global_row, reason);
        ++rejected[static_cast<std::size_t>(reason)];
        return false;
    }

    void add(std::int32_t symbol, const Trade& trade, std::size_t global_row) {
        OpenBar& state = open_[symbol];
        if (trade.time < state.newest) {
            detail::throw_out_of_order(ErrorCode::unsorted, symbol, {global_row, trade.time},
                                       state.newest);
        }
        state.newest = trade.time;
        add_trade(state.bar, trade);
        if (is_full(state.bar, options_)) close(symbol, state, BAR_CLOSED);
    }

    const ActivityOptions& options_;
    OpenBars& open_;
    Emit emit_;
};

template <class Emit, class Passed>
RejectCounts pass_over(const ActivityOptions& options, OpenBars& open,
                       std::span<const TradeColumns> batches, bool finish, Passed passed,
                       Emit emit) {
    Pass<Emit> pass(options, open, std::move(emit));
    pass.run(batches, passed);
    if (finish && options.include_open) {
        for (auto& [symbol, state] : open) {
            if (state.bar.has_trades()) pass.close(symbol, state, 0);
        }
    }
    return pass.rejected;
}

}  // namespace

struct ActivityAggregator::State {
    OpenBars open;
};

ActivityAggregator::ActivityAggregator(const ActivityOptions& options)
    : options_(options), state_(std::make_unique<State>()) {
    if (!(options.threshold > 0.0) || options.threshold > AMOUNT_MAX) {
        throw Error(ErrorCode::invalid_option, "the threshold must be a positive number",
                    {{"option", "threshold"}, {"value", std::to_string(options.threshold)}});
    }
}

ActivityAggregator::~ActivityAggregator() = default;

BarTable ActivityAggregator::run(std::span<const TradeColumns> batches, bool finish) {
    if (finished_) throw Error(ErrorCode::invalid_option, "the aggregator is already finished");
    cancelled_.store(false);
    rows_passed_.store(0);
    const auto passed = [this](std::size_t rows) {
        rows_passed_.fetch_add(static_cast<std::int64_t>(rows), std::memory_order_relaxed);
    };
    const auto passed_or_cancelled = [&](std::size_t rows) {
        passed(rows);
        if (cancelled_.load(std::memory_order_relaxed)) throw BatchAggregator::Cancelled{};
    };
    // The first pass works on a copy: it counts, and what it throws changes nothing.
    OpenBars trial = state_->open;
    std::map<std::int32_t, std::int64_t> rows;
    const RejectCounts rejected =
        pass_over(options_, trial, batches, finish, passed_or_cancelled,
                  [&](std::int32_t symbol, const PartialBar&, double) { ++rows[symbol]; });
    std::int64_t total = 0;
    for (const auto& [symbol, count] : rows) total += count;
    BarTable table(total, false);
    std::int64_t begin = 0;
    for (auto& [symbol, count] : rows) {
        table.add_series({symbol, 0, begin, begin + count});
        begin += std::exchange(count, begin);  // from here on: the next row
    }
    (void)pass_over(options_, state_->open, batches, finish, passed,
                    [&](std::int32_t symbol, const PartialBar& bar, double previous_close) {
                        write_row(table.columns(), rows[symbol]++, bar, previous_close);
                    });
    std::int64_t offered = 0;
    for (const TradeColumns& batch : batches) offered += static_cast<std::int64_t>(batch.size);
    report_.offered += offered;
    for (std::size_t i = 0; i < REJECT_REASONS; ++i) {
        report_.rejected[i] += rejected[i];
        offered -= rejected[i];
    }
    report_.accepted += offered;
    finished_ = finish;
    return table;
}

}  // namespace klineagg
