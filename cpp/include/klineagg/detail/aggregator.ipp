// Definitions of SymbolAggregator's templates; included by aggregator.hpp only.
#pragma once

namespace klineagg {

template <class Bar>
template <class Sink>
Admission SymbolAggregator<Bar>::add_slow(const TradeType& trade, const Sink& sink) {
    const TimeNs time = time_of(trade);
    const bool moves_on = !base_.active || time >= base_close_;
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
    if (moves_on) {
        unguard_base();
        if (base_.active) older().push_back(base_.bar);
        newest_ = newest_time;
        open_base(time);
    }
    Bar& cell = time >= base_.bar.open_time ? base_.bar : cell_of(time);
    if (&cell == &base_.bar) unguard_base();
    add_trade(cell, trade);
    guard_base();
    if (moves_on) advance(time - options_->lateness_ns, sink);
    return Admission::applied;
}

template <class Bar>
void SymbolAggregator<Bar>::open_base(TimeNs time) {
    const DurationNs period = plan_->period_ns;
    Span span;
    // The next cell is the usual one, and a division costs more than two comparisons.
    if (base_close_ != TIME_NONE && time >= base_close_ && time - base_close_ < period) {
        span = {base_close_, base_close_ + period};
    } else {
        plan_->interval->locate(time, span);
    }
    start_bar(base_.bar, span.open, span.close);
    base_.active = true;
    base_close_ = span.close;
}

template <class Bar>
void SymbolAggregator<Bar>::guard_base() noexcept {
    const bool open_road = base_.active && !BarTraits<Bar>::needs_slow_path(base_.bar);
    base_.bar.close_time = open_road ? base_close_ : TIME_NONE;
}

template <class Bar>
Bar& SymbolAggregator<Bar>::cell_of(TimeNs time) {
    std::deque<Bar>& cells = older();
    auto place = std::upper_bound(
        cells.begin(), cells.end(), time,
        [](TimeNs wanted, const Bar& bar) { return wanted < bar.close_time; });
    if (place == cells.end() || time < place->open_time) {
        Span span;
        plan_->interval->locate(time, span);
        place = cells.insert(place, Bar{});
        start_bar(*place, span.open, span.close);
    }
    return *place;
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
    close_due(sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::close_due(const Sink& sink) {
    while (older_ && !older_->empty() && older_->front().close_time <= watermark_) {
        close_base(older_->front(), sink);
        older_->pop_front();
    }
    if (base_.active && base_close_ <= watermark_) {
        unguard_base();
        newest_ = newest();
        base_.active = false;
        close_base(base_.bar, sink);
        base_.bar.close_time = TIME_NONE;
    }
    settle_feeds(0, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::close_base(Bar& bar, const Sink& sink) {
    // Rolled up before it is emitted: emission marks the bar, its parents are not closed yet.
    roll_up(0, bar, sink);
    emit(0, bar, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::settle_feeds(int level, const Sink& sink) {
    for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        Level& state = at(feed);
        if (state.active) {
            // Open, so all that it feeds is open too: their spans hold this one.
            if (state.bar.close_time > watermark_) continue;
            close_level(feed, sink);
        }
        settle_feeds(feed, sink);
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::close_level(int level, const Sink& sink) {
    Level& state = at(level);
    roll_up(level, state.bar, sink);
    state.active = false;
    emit(level, state.bar, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::roll_up(int level, const Bar& bar, const Sink& sink) {
    for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        roll_into(feed, bar, sink);
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::roll_into(int level, const Bar& bar, const Sink& sink) {
    Level& state = at(level);
    if (state.active) {
        if (bar.open_time < state.bar.close_time) [[likely]] {
            merge_into(state.bar, bar);
            return;
        }
        close_level(level, sink);
    }
    Span span;
    const TimeNs previous = state.bar.close_time;
    const DurationNs period = plan_[level].period_ns;
    if (previous != TIME_NONE && bar.open_time >= previous && bar.open_time - previous < period) {
        span = {previous, previous + period};
    } else if (!plan_[level].interval->locate(bar.open_time, span)) {
        sink.outside(plan_[level].output, bar);
        return;
    }
    start_from(state.bar, bar, span);
    state.active = true;
}

template <class Bar>
std::uint16_t SymbolAggregator<Bar>::cut_flag(TimeNs open_time, TimeNs close_time) const noexcept {
    const TimeNs start = options_->coverage_start;
    return open_time < start && start < close_time ? BAR_PARTIAL : 0;
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::emit(int level, Bar& bar, const Sink& sink) {
    const int output = plan_[level].output;
    if (output == HIDDEN_LEVEL) return;
    Level& state = at(level);
    if (state.head_pending) [[unlikely]] {
        state.head_pending = false;
        state.has_head = true;
        heads_[static_cast<std::size_t>(level)] = bar;
    } else {
        if (has_flat_rows_ && !amends()) emit_flat(level, bar.open_time, sink);
        bar.flags = static_cast<std::uint16_t>(bar.flags | BAR_CLOSED |
                                               cut_flag(bar.open_time, bar.close_time));
        if constexpr (BarTraits<Bar>::KEEPS_HISTORY) {
            if (amends()) [[unlikely]] {
                history(level).record(bar);
                return;
            }
        }
        sink.bar(output, bar, state.last_close);
    }
    state.covered_to = bar.close_time;
    if (BarTraits<Bar>::has_close(bar)) state.last_close = BarTraits<Bar>::close_of(bar);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::emit_flat(int level, TimeNs to, const Sink& sink) {
    Level& state = at(level);
    const RollupLevel& plan = plan_[level];
    if (plan.output == HIDDEN_LEVEL) return;
    if (genesis_ != TIME_NONE && state.covered_to == TIME_NONE) {
        const Span span = genesis_span(level);
        if (span.open >= to) return;
        const int flags = BAR_GENESIS | (span.close <= watermark_ ? BAR_CLOSED : 0) |
                          cut_flag(span.open, span.close);
        sink.gap(plan.output, span, 1, state.last_close, static_cast<std::uint16_t>(flags), 0);
        state.covered_to = span.close;
    }
    if (options_->gaps == GapMode::none || state.covered_to == TIME_NONE) return;
    state.covered_to = emit_gaps(plan, state.covered_to, to, state.last_close, 0, sink);
}

template <class Bar>
template <class Sink>
TimeNs SymbolAggregator<Bar>::emit_gaps(const RollupLevel& plan, TimeNs from, TimeNs to,
                                        double price, std::int32_t revision,
                                        const Sink& sink) const {
    const int flags = BAR_GAP | BAR_CLOSED | (revision > 0 ? BAR_REVISED : 0);
    while (from < to) {
        Span range = plan.interval->next(from);
        if (range.open >= to) break;
        const std::int64_t bars = options_->gaps == GapMode::runs ? extend_run(plan, range, to) : 1;
        sink.gap(plan.output, range, bars, price, static_cast<std::uint16_t>(flags), revision);
        from = range.close;
    }
    return from;
}

template <class Bar>
std::int64_t SymbolAggregator<Bar>::extend_run(const RollupLevel& plan, Span& range,
                                               TimeNs to) noexcept {
    // Runs end with the UTC day, so that a quiet month is not one endless open run.
    const TimeNs end = std::min(floor_to(range.open, NS_PER_DAY) + NS_PER_DAY, to);
    std::int64_t bars = 1;
    if (plan.period_ns != 0) {
        bars = (end - range.open + plan.period_ns - 1) / plan.period_ns;
        range.close = range.open + bars * plan.period_ns;
        return bars;
    }
    for (Span next = plan.interval->next(range.close); next.open < end;
         next = plan.interval->next(next.close)) {
        range.close = next.close;
        ++bars;
    }
    return bars;
}

template <class Bar>
Span SymbolAggregator<Bar>::genesis_span(int level) const noexcept {
    Span span;
    const Interval& interval = *plan_[level].interval;
    return interval.locate(genesis_, span) ? span : interval.next(genesis_);
}

template <class Bar>
void SymbolAggregator<Bar>::seed(double price, TimeNs start) {
    genesis_ = start;
    has_flat_rows_ = true;
    if constexpr (BarTraits<Bar>::KEEPS_HISTORY) {
        for (std::size_t i = 0; i < histories_.size(); ++i) {
            const Span span = genesis_span(static_cast<int>(i));
            if (span.open >= TIME_MAX) continue;  // every session lies before the coverage
            const int flags = BAR_GENESIS | cut_flag(span.open, span.close);
            histories_[i].seed(span, price, static_cast<std::uint16_t>(flags));
        }
    }
    base_.last_close = price;
    for (Level& level : coarser_) level.last_close = price;
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::finish(const Sink& sink) {
    if (newest() != TIME_NONE) advance(newest(), sink);
    if (options_->coverage_end != TIME_NONE) advance(options_->coverage_end, sink);
    unguard_base();
    hand_out_open(0, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::hand_out_open(int level, const Sink& sink) {
    Level& state = at(level);
    if (state.active) {
        roll_up(level, state.bar, sink);
        emit_open(level, sink);
    } else if (has_flat_rows_) {
        // The flat bars that the watermark has closed; an open genesis bar is handed out too.
        Span span;
        TimeNs to = watermark_;
        if (to != TIME_NONE && plan_[level].interval->locate(to, span)) to = span.open;
        if (genesis_ != TIME_NONE && state.covered_to == TIME_NONE && options_->include_open) {
            to = std::max(to, genesis_span(level).close);
        }
        emit_flat(level, to, sink);
    }
    for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        hand_out_open(feed, sink);
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::emit_open(int level, const Sink& sink) {
    Level& state = at(level);
    Bar& bar = state.bar;
    state.active = false;
    if (plan_[level].output == HIDDEN_LEVEL) return;
    if (has_flat_rows_) emit_flat(level, bar.open_time, sink);
    if (!options_->include_open) return;
    bar.flags = static_cast<std::uint16_t>(bar.flags | cut_flag(bar.open_time, bar.close_time));
    sink.bar(plan_[level].output, bar, state.last_close);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::absorb(SymbolAggregator& later, const Sink& sink) {
    unguard_base();
    later.unguard_base();
    const TimeNs both = std::max(newest(), later.newest());
    // Raised first: what a seam hands out is closed by trades of the later slice.
    watermark_ = std::max(watermark_, later.watermark_);
    absorb_level(0, later, sink);
    newest_ = both;
    if (base_.active) base_close_ = base_.bar.close_time;
    guard_base();
    close_due(sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::absorb_level(int level, SymbolAggregator& later, const Sink& sink) {
    Level& mine = at(level);
    Level& theirs = later.at(level);
    Bar* const head = theirs.has_head ? &later.heads_[static_cast<std::size_t>(level)] : nullptr;
    const Bar* first = head != nullptr ? head : theirs.active ? &theirs.bar : nullptr;
    if (first != nullptr) {
        const bool same_span = mine.active && first->open_time == mine.bar.open_time;
        if (mine.active && (head != nullptr || !same_span)) {
            // Our part of the bar ends here. Its parents get our part alone: theirs was rolled
            // up on their side.
            roll_up(level, mine.bar, sink);
            mine.active = false;
            if (!same_span) emit(level, mine.bar, sink);
        }
        if (head != nullptr) {
            if (same_span) {
                merge_into(mine.bar, *head);
                emit(level, mine.bar, sink);
            } else {
                emit(level, *head, sink);
            }
            mine.covered_to = theirs.covered_to;
            mine.last_close = theirs.last_close;
            mine.bar = theirs.bar;
            mine.active = theirs.active;
        } else if (same_span) {
            merge_into(mine.bar, theirs.bar);
        } else {
            mine.bar = theirs.bar;
            mine.active = true;
        }
    }
    for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        absorb_level(feed, later, sink);
    }
}

template <class Bar>
SymbolAggregator<TimeBar> SymbolAggregator<Bar>::times_only() const {
    const auto times = [](const Bar& bar) {
        return TimeBar{bar.close_time, bar.last_time, bar.open_time, 0};
    };
    SymbolAggregator<TimeBar> copy(plan_, level_count(), *options_);
    copy.has_flat_rows_ = has_flat_rows_;
    copy.watermark_ = watermark_;
    copy.newest_ = newest_;
    copy.base_close_ = base_close_;
    copy.genesis_ = genesis_;
    for (std::size_t i = 0; i < level_count(); ++i) {
        const Level& from = i == 0 ? base_ : coarser_[i - 1];
        auto& to = copy.at(static_cast<int>(i));
        to.bar = times(from.bar);
        to.active = from.active;
        to.covered_to = from.covered_to;
    }
    if (older_) {
        for (const Bar& bar : *older_) copy.older().push_back(times(bar));
    }
    // Our own guard may be lowered for sums or keys, which times do not have.
    copy.guard_base();
    return copy;
}

}  // namespace klineagg
