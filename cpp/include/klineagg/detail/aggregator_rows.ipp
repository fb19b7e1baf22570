// SymbolAggregator: rows, gaps and what is open at the end. Included by aggregator.hpp only.
#pragma once

namespace klineagg {

template <class Bar>
std::uint16_t SymbolAggregator<Bar>::cut_flag(TimeNs open_time, TimeNs close_time) const noexcept {
    const bool partial = open_time < coverage_start_ && coverage_start_ < close_time;
    const bool incomplete = !missing_.empty() && missing_.meets(open_time, close_time);
    return static_cast<std::uint16_t>((partial ? BAR_PARTIAL : 0) |
                                      (incomplete ? BAR_INCOMPLETE : 0));
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::emit(int level, Bar* bars, std::size_t count, const Sink& sink) {
    const int output = plan_[level].output;
    Level& state = at(level);
    if (output == HIDDEN_LEVEL) {
        // Nobody reads its rows, but an interval that comes later goes on from its last price.
        keep_close(state, bars, count);
        return;
    }
    if constexpr (BarTraits<Bar>::KEEPS_HISTORY && emits_at_once<Sink>) {
        if (amends() && history(level).news() == nullptr &&
            (missing_.empty() || !misses_before(level, bars[count - 1].open_time))) [[likely]] {
            emit_kept(level, bars, count, sink);
            return;
        }
    }
    if (state.head_pending || has_flat_rows_ || amends()) [[unlikely]] {
        for (std::size_t i = 0; i < count; ++i) emit_one(level, bars[i], sink);
        return;
    }
    const bool may_be_cut = coverage_start_ != TIME_NONE || !missing_.empty();
    for (Bar* bar = bars; bar != bars + count; ++bar) {
        const int cut = may_be_cut ? cut_flag(bar->open_time, bar->close_time) : 0;
        bar->flags = static_cast<std::uint16_t>(bar->flags | BAR_CLOSED | cut);
    }
    sink.bars(output, bars, count, state.last_close);
    state.covered_to = bars[count - 1].close_time;
    keep_close(state, bars, count);
}

template <class Bar>
void SymbolAggregator<Bar>::keep_close(Level& state, const Bar* bars, std::size_t count) noexcept {
    for (std::size_t i = count; i-- > 0;) {
        if (!BarTraits<Bar>::has_close(bars[i])) continue;
        state.last_close = BarTraits<Bar>::close_of(bars[i]);
        return;
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::emit_kept(int level, Bar* bars, std::size_t count, const Sink& sink) {
    History& history = this->history(level);
    const TimeNs reach = reach_at(watermark_);
    double close = history.last_close();
    for (Bar* bar = bars; bar != bars + count; ++bar) {
        bar->flags = static_cast<std::uint16_t>(bar->flags | BAR_CLOSED |
                                                cut_flag(bar->open_time, bar->close_time));
        if (history.is_packed()) {
            if (options_->gaps != GapMode::none && history.given_to() < bar->open_time)
                emit_gaps(plan_[level], history.given_to(), bar->open_time, close, 0, sink);
        } else if (const KeptBar* const before = history.back()) {
            hand_out_flats(level, *before, bar->open_time, close, sink);
        }
        sink.bars(plan_[level].output, bar, 1, close);
        history.record_given(*bar);
        if (bar->has_close()) close = bar->close;
        // One comes, one goes: what is asked of memory for the next one has time to arrive.
        history.forget_before(reach, 2);
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::emit_one(int level, Bar& bar, const Sink& sink) {
    Level& state = at(level);
    if (state.head_pending) {
        state.head_pending = false;
        state.has_head = true;
        heads_[static_cast<std::size_t>(level)] = bar;
    } else {
        if (has_flat_rows_ && !amends() && state.covered_to != bar.open_time)
            emit_flat(level, bar.open_time, sink);
        bar.flags = static_cast<std::uint16_t>(bar.flags | BAR_CLOSED |
                                               cut_flag(bar.open_time, bar.close_time));
        if constexpr (BarTraits<Bar>::KEEPS_HISTORY) {
            if (amends()) [[unlikely]] {
                has_news_ = true;
                history(level).record(bar);
                return;
            }
        }
        sink.bars(plan_[level].output, &bar, 1, state.last_close);
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
void SymbolAggregator<Bar>::close_genesis(const Sink& sink) {
    if (!owes_genesis_) [[likely]] return;
    owes_genesis_ = false;
    for (std::size_t i = 0; i < level_count(); ++i) {
        const int level = static_cast<int>(i);
        if (plan_[level].output == HIDDEN_LEVEL || at(level).covered_to != TIME_NONE) continue;
        const Span span = genesis_span(level);
        if (span.close <= watermark_) emit_flat(level, span.close, sink);
        else if (span.open < TIME_MAX) owes_genesis_ = true;
    }
}

template <class Bar>
template <class Sink>
TimeNs SymbolAggregator<Bar>::emit_gaps(const RollupLevel& plan, TimeNs from, TimeNs to,
                                        double price, std::int32_t revision,
                                        const Sink& sink, int flags) const {
    if (revision > 0) flags |= BAR_REVISED;
    // Closed ones that late trades can change are kept apart: see keep_missing.
    const bool marks = !missing_.empty() && !(amends() && (flags & BAR_CLOSED) != 0);
    while (from < to) {
        Span range = plan.interval->next(from);
        if (range.open >= to) break;
        TimeNs end = to;
        int marked = flags;
        if (marks && missing_.meets(range.open, range.close)) [[unlikely]] {
            marked |= BAR_INCOMPLETE;
            end = std::min(to, missing_.end_over(range.open, range.close));
        } else if (marks) {
            Span hit{};
            const TimeNs next = missing_.next(range.close);
            if (next < to) end = plan.interval->locate(next, hit) ? hit.open : next;
        }
        if (range.open < coverage_start_ && coverage_start_ < end) [[unlikely]] {
            // Late trades of before the coverage have flat bars behind them, one of which it cuts.
            Span cut;
            if (!plan.interval->locate(coverage_start_, cut)) cut.open = end;
            if (cut.open == range.open) marked |= BAR_PARTIAL;
            if (cut.open < coverage_start_) end = cut.open == range.open ? range.close : cut.open;
        }
        const GapRun run = options_->gaps == GapMode::runs ? run_from(plan, range, end)
                                                           : GapRun{range.close, 1};
        sink.gap(plan.output, {range.open, run.close}, run.bars, price,
                 static_cast<std::uint16_t>(marked), revision);
        from = run.close;
    }
    return from;
}

template <class Bar>
auto SymbolAggregator<Bar>::run_from(const RollupLevel& plan, Span first, TimeNs to) noexcept
    -> GapRun {
    // Runs end with the UTC day, so that a quiet month is not one endless open run.
    const TimeNs end = std::min(floor_to(first.open, NS_PER_DAY) + NS_PER_DAY, to);
    if (plan.period_ns != 0) [[likely]] {
        const std::int64_t bars =
            plan.interval->cells().periods_in(end - first.open + plan.period_ns - 1);
        return {first.open + bars * plan.period_ns, bars};
    }
    GapRun run{first.close, 1};
    for (Span next = plan.interval->next(run.close); next.open < end;
         next = plan.interval->next(next.close)) {
        run = {next.close, run.bars + 1};
    }
    return run;
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
        has_news_ = true;
        for (std::size_t i = 0; i < histories_.size(); ++i) {
            const Span span = genesis_span(static_cast<int>(i));
            if (span.open >= TIME_MAX) continue;  // every session lies before the coverage
            const int flags = BAR_GENESIS | cut_flag(span.open, span.close);
            histories_[i].seed(span, price, static_cast<std::uint16_t>(flags));
        }
    }
    owes_genesis_ = !amends();
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
    if (is_open(level)) {
        roll_up(level, &state.bar, 1, sink);
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
    set_open(level, false);
    if (plan_[level].output == HIDDEN_LEVEL) return;
    if (has_flat_rows_) emit_flat(level, bar.open_time, sink);
    if (!options_->include_open) return;
    bar.flags = static_cast<std::uint16_t>(bar.flags | cut_flag(bar.open_time, bar.close_time));
    sink.bars(plan_[level].output, &bar, 1, state.last_close);
}

}  // namespace klineagg
