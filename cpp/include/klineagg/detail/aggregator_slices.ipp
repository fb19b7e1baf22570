// SymbolAggregator: slices of a stream, put together. Included by aggregator.hpp only.
#pragma once

namespace klineagg {

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
    if (base_open_) base_close_ = base_.bar.close_time;
    guard_base();
    close_due(sink);
}

template <class Bar>
template <class Sink>
void SymbolAggregator<Bar>::absorb_level(int level, SymbolAggregator& later, const Sink& sink) {
    Level& mine = at(level);
    Level& theirs = later.at(level);
    Bar* const head = theirs.has_head ? &later.heads_[static_cast<std::size_t>(level)] : nullptr;
    const Bar* first = head != nullptr ? head : later.is_open(level) ? &theirs.bar : nullptr;
    if (first != nullptr) {
        const bool same_span = is_open(level) && first->open_time == mine.bar.open_time;
        if (is_open(level) && (head != nullptr || !same_span)) {
            // Our part of the bar ends here. Its parents get our part alone: theirs was rolled
            // up on their side.
            roll_up(level, &mine.bar, 1, sink);
            set_open(level, false);
            if (!same_span) emit(level, &mine.bar, 1, sink);
        }
        if (head != nullptr) {
            if (same_span) {
                merge_into(mine.bar, *head);
                emit(level, &mine.bar, 1, sink);
            } else {
                emit(level, head, 1, sink);
            }
            mine.covered_to = theirs.covered_to;
            mine.last_close = theirs.last_close;
            mine.bar = theirs.bar;
            set_open(level, later.is_open(level));
        } else if (same_span) {
            merge_into(mine.bar, theirs.bar);
        } else {
            mine.bar = theirs.bar;
            set_open(level, true);
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
    SymbolAggregator<TimeBar> copy(plan_, level_count(), *options_, nullptr);
    copy.open_levels_ = open_levels_;
    copy.base_open_ = base_open_;
    copy.has_flat_rows_ = has_flat_rows_;
    copy.watermark_ = watermark_;
    copy.newest_ = newest_;
    copy.base_close_ = base_close_;
    copy.raise_at_ = raise_at_;
    copy.genesis_ = genesis_;
    copy.coverage_start_ = coverage_start_;
    for (std::size_t i = 0; i < level_count(); ++i) {
        const Level& from = at(static_cast<int>(i));
        auto& to = copy.at(static_cast<int>(i));
        to.bar = times(from.bar);
        to.covered_to = from.covered_to;
    }
    for (const Cell* cell = older_.front(); cell != nullptr; cell = cell->links.next)
        copy.older_.push_back(times(cell->bar));
    // Our own guard may be lowered for sums or keys, which times do not have.
    copy.guard_base();
    return copy;
}

}  // namespace klineagg
