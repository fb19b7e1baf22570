// SymbolAggregator: adding trades, closing bars. Included by aggregator.hpp only.
#pragma once

namespace klineagg {

template <class Bar>
template <class Sink>
Admission SymbolAggregator<Bar>::add_slow(const TradeType& trade, const Sink& sink) {
    const TimeNs time = time_of(trade);
    const bool moves_on = !base_open_ || time >= base_close_;
    if (moves_on && options_->lateness_ns <= 0 && time >= watermark_ && time >= newest_)
        [[likely]] {
        // The usual way here: a trade in order that begins a new base bar.
        advance(time, sink);
        open_base(time);
        if (is_plain(trade)) add_first_trade(base_.bar, trade);
        else add_trade(base_.bar, trade);
        guard_base();
        return Admission::applied;
    }
    const TimeNs newest_time = newest();
    if (time < newest_time && options_->lateness_ns == STRICT_ORDER) {
        throw OutOfOrder{time, newest_time};
    }
    // Judged on whole seconds, whatever the intervals, so that no interval changes which
    // trades the others get.
    const TimeNs mark = judging_watermark();
    if (mark != TIME_NONE && floor_to(time, NS_PER_SECOND) + NS_PER_SECOND <= mark) {
        return add_late(trade, mark, sink);
    }
    add_in_time(trade);
    if (time >= raise_at_) {
        // Not only with a new base bar: a bar of an hour would be handed out an hour late.
        advance(time - options_->lateness_ns, sink);
    }
    return Admission::applied;
}

template <class Bar>
void SymbolAggregator<Bar>::add_in_time(const TradeType& trade) {
    const TimeNs time = time_of(trade);
    unguard_base();
    if (!base_open_ || time >= base_close_) {
        newest_ = newest();
        if (base_open_) older_.push_back(base_.bar);
        open_base(time);
    }
    add_trade(time >= base_.bar.open_time ? base_.bar : cell_of(time), trade);
    guard_base();
}

template <class Bar>
void SymbolAggregator<Bar>::open_base(TimeNs time) {
    Span span;
    plan_->interval->locate(time, span);
    start_bar(base_.bar, span.open, span.close);
    base_open_ = true;
    base_close_ = span.close;
}

template <class Bar>
void SymbolAggregator<Bar>::guard_base() noexcept {
    const bool open_road =
        base_open_ && !BarTraits<Bar>::needs_slow_path(base_.bar) && !clock_is_ahead();
    base_.bar.close_time = open_road ? std::min(base_close_, raise_at_) : TIME_NONE;
}

template <class Bar>
bool SymbolAggregator<Bar>::clock_is_ahead() const noexcept {
    const TimeNs last = base_.bar.last_time;
    return last < watermark_ &&
           (last == TIME_NONE || floor_to(last, NS_PER_SECOND) + NS_PER_SECOND <= watermark_);
}

template <class Bar>
Bar& SymbolAggregator<Bar>::cell_of(TimeNs time) {
    Cell* const before = older_.find(time);
    if (before != nullptr && time < before->bar.close_time) return before->bar;
    Span span;
    plan_->interval->locate(time, span);
    return older_.insert_behind(before, span).bar;
}

template <class Bar>
TimeNs SymbolAggregator<Bar>::judging_watermark() const noexcept {
    const TimeNs newest_time = newest();
    if (newest_time == TIME_NONE) return watermark_;
    return std::max(watermark_, newest_time - std::max<DurationNs>(options_->lateness_ns, 0));
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::advance(TimeNs watermark, const Sink& sink) {
    if (watermark <= watermark_) return;
    watermark_ = watermark;
    if (options_->lateness_ns > 0) {
        // Every bar ends where some base bar does, so nothing else closes before that.
        Span span;
        plan_->interval->locate(watermark, span);
        raise_at_ = span.close + options_->lateness_ns;
    }
    close_due(sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::close_due(const Sink& sink) {
    while (!older_.empty() && older_.front()->bar.close_time <= watermark_) {
        close_bars(0, &older_.front()->bar, 1, sink);
        older_.pop_front();
    }
    if (base_open_ && base_close_ <= watermark_) {
        unguard_base();
        newest_ = newest();
        base_open_ = false;
        close_bars(0, &base_.bar, 1, sink);
        base_.bar.close_time = TIME_NONE;
    }
    settle_feeds(0, sink);
    if (base_open_) guard_base();
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::close_bars(int level, Bar* bars, std::size_t count, const Sink& sink) {
    if constexpr (BarTraits<Bar>::KEEPS_HISTORY)
        if (amends()) history(level).ask_front();
    if constexpr (requires { sink.expect(level, count); })
        if (plan_[level].output != HIDDEN_LEVEL && !amends()) sink.expect(plan_[level].output, count);
    // Rolled up before they are emitted: emission marks the bars, their parents are not closed yet.
    roll_up(level, bars, count, sink);
    emit(level, bars, count, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::close_run(Bar* bars, std::size_t count, TimeNs watermark,
                                      const Sink& sink) {
    watermark_ = std::max(watermark_, watermark);
    close_bars(0, bars, count, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::settle(const Sink& sink) {
    settle_feeds(0, sink);
}

template <class Bar>
template <class AnyTrade, class Sink>
auto SymbolAggregator<Bar>::add_run(const AnyTrade* trade, const AnyTrade* end,
                                    ClosedBars<Bar>& closed, const Sink& sink)
    -> const AnyTrade* {
    trade = add_next_trades(base_.bar, trade, end);
    const auto begins_next = [&](const Bar& bar) {
        return trade != end && trade->time >= bar.close_time && counts_for_all(*trade);
    };
    // With a lateness the newest trade does not decide alone what closes.
    if (options_->lateness_ns > 0 || !base_open_ || base_.bar.close_time == TIME_NONE ||
        !begins_next(base_.bar)) {
        return trade;
    }
    const RollupLevel& base = *plan_;
    Bar* const bars = closed.data();
    copy_bar(bars[0], base_.bar);
    std::size_t count = 0;
    do {
        if (count + 1 == ClosedBars<Bar>::CAPACITY) {
            // All but the newest, so that there always is one to go on with.
            close_run(bars, count, bars[count].first.time, sink);
            copy_bar(bars[0], bars[count]);
            count = 0;
        }
        Span span;
        base.interval->locate(trade->time, span);
        trade = begin_with_trades(bars[++count], span, trade, end);
    } while (begins_next(bars[count]));
    copy_bar(base_.bar, bars[count]);
    base_close_ = base_.bar.close_time;
    close_run(bars, count, base_.bar.first.time, sink);
    return trade;
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::settle_feeds(int level, const Sink& sink) {
    for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        // On above an open one too: several base bars may close at once, and one of them may have
        // begun it, while what it feeds still stands at a span before, which has ended.
        if (is_open(feed) && at(feed).bar.close_time <= watermark_) close_level(feed, sink);
        settle_feeds(feed, sink);
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::close_level(int level, const Sink& sink) {
    set_open(level, false);
    close_bars(level, &at(level).bar, 1, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::roll_up(int level, const Bar* bars, std::size_t count,
                                    const Sink& sink) {
    for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        roll_into(feed, bars, count, sink);
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::roll_into(int level, const Bar* bars, std::size_t count,
                                      const Sink& sink) {
    Level& state = at(level);
    const Interval& interval = *plan_[level].interval;
    const Bar* const end = bars + count;
    BarBatch<Bar, 64> made;  // 20 KiB of the stack for each level that is passed
    while (bars != end && interval.kind() == IntervalKind::fixed) {
        if (!is_open(level)) {
            const TimeNs opens = interval.cells().open_of(bars->open_time);
            (void)begin_with_bars(state.bar, {opens, opens + interval.period()}, bars, bars + 1);
            set_open(level, true);
            ++bars;
        }
        std::size_t ended = 0;
        const Bar* const next = detail::roll_bars(state.bar, interval.cells(), interval.period(),
                                                  bars, end, made.data(), made.CAPACITY - 1, ended);
        if (next == nullptr) [[unlikely]] break;
        if (ended != 0) close_bars(level, made.data(), ended, sink);
        bars = next;
    }
    if (bars != end) roll_any(level, bars, end, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::roll_any(int level, const Bar* bars, const Bar* end, const Sink& sink) {
    Level& state = at(level);
    const Interval& interval = *plan_[level].interval;
    if (is_open(level)) {
        while ((bars = merge_next_bars(state.bar, bars, end)) != end) {
            if (bars->open_time >= state.bar.close_time) break;
            merge_into(state.bar, *bars++);
        }
        if (bars == end) return;
        close_level(level, sink);
    }
    // Made in the room in which they are closed; the last one stays open.
    BarBatch<Bar, 64> made;
    while (bars != end) {
        Span span;
        if (!interval.locate(bars->open_time, span)) {
            sink.outside(plan_[level].output, *bars++);
            continue;
        }
        if (made.is_full()) {
            close_bars(level, made.data(), made.size(), sink);
            made.clear();
        }
        Bar& bar = made.grow();
        bars = begin_with_bars(bar, span, bars, end);
        while (bars != end && bars->open_time < bar.close_time) {
            merge_into(bar, *bars++);
            bars = merge_next_bars(bar, bars, end);
        }
    }
    if (made.size() == 0) return;
    if (made.size() > 1) close_bars(level, made.data(), made.size() - 1, sink);
    // Last: a copy of what was written just now would wait for the stores.
    copy_bar(state.bar, made.data()[made.size() - 1]);
    set_open(level, true);
}

}  // namespace klineagg
