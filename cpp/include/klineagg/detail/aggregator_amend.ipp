// SymbolAggregator: trades that come after their bar was closed. Included by aggregator.hpp only.
#pragma once

namespace klineagg {

template <class Bar>
template <class Sink>
Admission SymbolAggregator<Bar>::add_late(const TradeType& trade, TimeNs mark, const Sink& sink) {
    const TimeNs time = time_of(trade);
    if (options_->late == LatePolicy::raise) throw OutOfOrder{time, mark};
    if (options_->late == LatePolicy::drop) return Admission::late;
    if constexpr (BarTraits<Bar>::KEEPS_HISTORY) {
        // What is within reach is judged by it, and may not depend on the intervals either.
        advance(mark, sink);
        settle_feeds(0, sink);  // a run may have left bars that ended
        const TimeNs second_end = floor_to(time, NS_PER_SECOND) + NS_PER_SECOND;
        if (second_end <= reach_at(mark)) {
            mark_beyond_horizon(0, time);
            return Admission::beyond_horizon;
        }
        Span span;
        plan_->interval->locate(time, span);
        if (span.close > watermark_) {
            // Its second is over but its base bar is open still: nothing closed has to change.
            add_in_time(trade);
            return Admission::applied;
        }
        newest_ = std::max(newest_, time);  // a clock may have closed more than trades did
        amend_level(0, trade, sink);
    }
    return Admission::applied;
}

template <class Bar>
TimeNs SymbolAggregator<Bar>::closed_to(int level) const noexcept {
    if (watermark_ == TIME_NONE) return TIME_NONE;  // no trade and no end of coverage yet
    Span span;
    return plan_[level].interval->locate(watermark_, span) ? span.open : watermark_;
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::amend_level(int level, const Trade& trade, const Sink& sink) {
    const RollupLevel& plan = plan_[level];
    Level& state = at(level);
    Span span;
    if (!plan.interval->locate(trade.time, span)) {
        PartialBar lone;
        add_trade(lone, trade);
        sink.outside(plan.output, lone);
        return;
    }
    if (span.close > watermark_) {
        if (!is_open(level)) {
            start_bar(state.bar, span.open, span.close);
            set_open(level, true);
        }
        add_trade(state.bar, trade);
        return;  // what it feeds gets the trade when it closes
    }
    if (plan.output != HIDDEN_LEVEL) {
        const int flags = BAR_CLOSED | cut_flag(span.open, span.close);
        has_news_ = true;
        history(level).amend(trade, span, static_cast<std::uint16_t>(flags), closed_to(level));
        state.last_close = history(level).last_close();
    }
    for (int feed = plan.first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        amend_level(feed, trade, sink);
    }
}

template <class Bar>
Bar* SymbolAggregator<Bar>::open_bar(int level, Span span) {
    const auto holds = [span](const Bar& bar) {
        return bar.open_time >= span.open && bar.open_time < span.close;
    };
    bool traded = base_open_ && holds(base_.bar);
    if (traded && level == 0) return &base_.bar;
    for (Cell* cell = older_.front(); cell != nullptr; cell = cell->links.next) {
        if (!holds(cell->bar)) continue;
        if (level == 0) return &cell->bar;
        traded = true;
    }
    if (level == 0) return nullptr;
    for (std::size_t i = 1; i < level_count(); ++i) {
        if (!is_open(static_cast<int>(i))) continue;
        const Bar& bar = at(static_cast<int>(i)).bar;
        if (holds(bar) && bar.close_time <= span.close) traded = true;
    }
    if (!traded) return nullptr;
    Level& state = at(level);
    if (!is_open(level)) {
        start_bar(state.bar, span.open, span.close);  // its trades come when the finer bars close
        set_open(level, true);
    }
    return &state.bar;
}

template <class Bar>
void SymbolAggregator<Bar>::mark_beyond_horizon(int level, TimeNs time) {
    const RollupLevel& plan = plan_[level];
    Span span;
    if (!plan.interval->locate(time, span)) return;
    if (span.close > watermark_) {
        if (Bar* const bar = open_bar(level, span)) {
            bar->flags = static_cast<std::uint16_t>(bar->flags | BAR_INCOMPLETE);
            return;  // inherited from here on
        }
    } else if (plan.output != HIDDEN_LEVEL &&
               span.close > reach_at(watermark_)) {
        has_news_ = history(level).mark_incomplete(span) || has_news_;
    }
    for (int feed = plan.first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
        mark_beyond_horizon(feed, time);
    }
}

template <class Bar>
void SymbolAggregator<Bar>::mark_incomplete(TimeNs from, TimeNs to) {
    TimeNs until = TIME_NONE;  // the end of the last bar over it that is not closed
    for (std::size_t i = 0; i < level_count(); ++i) {
        if (plan_[i].output == HIDDEN_LEVEL) continue;
        Span span;
        if (!plan_[i].interval->locate(to, span)) span = {to, to + 1};
        until = std::max(until, span.close);
        if (!amends()) continue;
        // Flat bars are marked when they are handed out, again if need be.
        if (histories_[i].mark_incomplete(from, to, reach_at(watermark_)) || !histories_[i].empty())
            has_news_ = true;
    }
    TimeNs told = watermark_;
    for (std::size_t i = 0; i < level_count(); ++i)
        if (plan_[i].output != HIDDEN_LEVEL) told = std::min(told, told_to(static_cast<int>(i)));
    missing_.forget(told);
    if (amends() || until > told) missing_.add(from, to, until);
}

template <class Bar>
TimeNs SymbolAggregator<Bar>::told_to(int level) const noexcept {
    if (options_->gaps == GapMode::none) return watermark_;
    if (amends()) {
        const TimeNs end = history(level).last_end();
        return end == TIME_NONE ? watermark_ : end;
    }
    const Level& state = at(level);
    if (state.covered_to != TIME_NONE) return state.covered_to;
    return genesis_ != TIME_NONE ? genesis_ : watermark_;
}

template <class Bar>
bool SymbolAggregator<Bar>::misses_before(int level, TimeNs open_time) const noexcept {
    const TimeNs end = history(level).last_end();
    return end != TIME_NONE && missing_.meets(end, open_time);
}

template <class Bar>
void SymbolAggregator<Bar>::keep_missing(int level) {
    const Interval& interval = *plan_[level].interval;
    History& history = this->history(level);
    Span span;
    TimeNs reach = reach_at(watermark_);
    if (reach != TIME_NONE && interval.locate(reach, span)) reach = span.open;
    missing_.each([&](TimeNs from, TimeNs to, TimeNs) {
        TimeNs at = interval.locate(from, span) ? span.open : from;
        while (at <= to) {
            KeptBar* const before = history.before(at);
            if (before == nullptr && history.front() == nullptr) return;
            if (before == nullptr) {
                at = history.front()->bar.close_time;
                continue;
            }
            const KeptBar* const behind = before->links.next;
            if (behind == nullptr) return;
            Span flats = interval.next(std::max({at, before->bar.close_time, reach}));
            const TimeNs end = std::min(to + 1, behind->bar.open_time);
            at = behind->bar.open_time;
            if (flats.open >= end) continue;
            flats.close = interval.locate(end - 1, span) ? span.close : span.open;
            history.keep_flats(*before, flats);
        }
    });
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::prepare_finish(const Sink& sink) {
    if (newest() != TIME_NONE) advance(newest(), sink);
    if (options_->coverage_end != TIME_NONE) advance(options_->coverage_end, sink);
    unguard_base();
    const auto roll_open = [&](auto&& self, int level) -> void {
        if (is_open(level)) roll_up(level, &at(level).bar, 1, sink);
        for (int feed = plan_[level].first_feed; feed != NO_LEVEL; feed = plan_[feed].sibling) {
            self(self, feed);
        }
    };
    roll_open(roll_open, 0);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::hand_out_flats(int level, const KeptBar& from, TimeNs to, double price,
                                           const Sink& sink) const {
    if (options_->gaps == GapMode::none) return;
    TimeNs begin = from.flat_given_to;
    from.revisions.each([&](const FlatRevision& cut) {
        if (cut.until <= begin) return;
        begin = emit_gaps(plan_[level], begin, std::min(cut.until, to), price, cut.revision, sink);
    });
    emit_gaps(plan_[level], begin, to, price, 0, sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::hand_out_level(int level, const Sink& sink, bool finished) {
    const int output = plan_[level].output;
    const Level& state = at(level);
    History& history = this->history(level);
    if (!missing_.empty() && options_->gaps != GapMode::none) [[unlikely]] keep_missing(level);
    history.sort_news();
    const bool with_open = finished && options_->include_open;
    const TimeNs flat_to = is_open(level) ? state.bar.open_time : closed_to(level);
    for (const KeptBar* kept = history.news(); kept != nullptr; kept = kept->next_news) {
        const KeptBar* const behind = kept->links.next;
        const bool open_seed = kept->seeds() && kept->bar.close_time > watermark_;
        const bool replaced = is_open(level) && behind == nullptr &&
                              state.bar.open_time <= kept->bar.open_time;
        if (kept->is_flat()) [[unlikely]] {
            const int missed = kept->bar.flags & BAR_INCOMPLETE;
            const int flags = BAR_GAP | BAR_CLOSED | missed;
            const double price = history.close_at(kept->links.prev);
            // One that had trades before they were cancelled is told of in every mode.
            if (kept->changed() && (options_->gaps != GapMode::none || missed == 0))
                emit_gaps(plan_[level], kept->bar.open_time, kept->bar.close_time, price,
                          kept->bar.revision, sink, flags);
        } else if (kept->changed() && (!open_seed || (with_open && !replaced))) {
            PartialBar bar = kept->bar;
            if (kept->bar.close_time <= watermark_)
                bar.flags = static_cast<std::uint16_t>(bar.flags | BAR_CLOSED);
            sink.bars(output, &bar, 1, history.close_at(kept->links.prev));
        }
        if (behind == nullptr) break;
        hand_out_flats(level, *kept, behind->bar.open_time, history.close_at(kept), sink);
    }
    if (!finished) return;
    if (const KeptBar* const last = history.back())
        hand_out_flats(level, *last, flat_to, history.last_close(), sink);
    if (is_open(level) && with_open) {
        Bar bar = state.bar;
        bar.flags = static_cast<std::uint16_t>(bar.flags | cut_flag(bar.open_time, bar.close_time));
        sink.bars(output, &bar, 1, history.last_close());
    }
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::hand_out(const Sink& sink, bool finished) {
    if (!has_news_ && !finished) return;
    for (std::size_t i = 0; i < histories_.size(); ++i) {
        if (plan_[i].output != HIDDEN_LEVEL)
            hand_out_level(static_cast<int>(i), sink, finished);
    }
}

template <class Bar>
void SymbolAggregator<Bar>::mark_given() {
    if (!has_news_) return;
    has_news_ = false;
    for (History& history : histories_) {
        history.mark_given(watermark_);
        has_news_ = has_news_ || history.news() != nullptr;
        history.forget_before(reach_at(watermark_));
    }
}

}  // namespace klineagg
