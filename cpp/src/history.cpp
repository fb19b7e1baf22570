#include "klineagg/history.hpp"

#include <algorithm>

namespace klineagg {

namespace {

bool same_price(double a, double b) noexcept { return a == b || (a != a && b != b); }

auto place_of(std::deque<KeptBar>& bars, TimeNs open_time) {
    return std::lower_bound(
        bars.begin(), bars.end(), open_time,
        [](const KeptBar& kept, TimeNs time) { return kept.bar.open_time < time; });
}

}  // namespace

void History::seed(Span span, double price, std::uint16_t flags) {
    close_before_ = price;
    KeptBar kept;
    start_bar(kept.bar, span.open, span.close);
    kept.bar.flags = flags;
    kept.flat_given_to = span.close;
    bars_.push_back(kept);
}

void History::record(const PartialBar& bar) {
    const bool seeded = bars_.size() == 1 && bars_.front().seeds();
    if (seeded && bar.open_time <= bars_.front().bar.open_time) bars_.clear();
    KeptBar kept;
    kept.bar = bar;
    kept.flat_given_to = bar.close_time;
    bars_.push_back(kept);
}

double History::close_at(std::size_t index) const noexcept {
    for (std::size_t i = index + 1; i-- > 0;) {
        if (bars_[i].bar.has_close()) return bars_[i].bar.close;
    }
    return close_before_;
}

double History::last_close() const noexcept {
    return bars_.empty() ? close_before_ : close_at(bars_.size() - 1);
}

std::deque<KeptBar>::iterator History::find_or_insert(Span span, std::uint16_t flags, bool& is_new,
                                                      TimeNs closed_to) {
    if (!bars_.empty() && bars_.front().seeds() && span.open < bars_.front().bar.open_time) {
        bars_.pop_front();  // trades came before the start of coverage: there was no genesis
    }
    auto place = place_of(bars_, span.open);
    is_new = place == bars_.end() || place->bar.open_time != span.open;
    if (!is_new) {
        if (place->seeds()) {  // trades replace the seed
            place->bar.flags = static_cast<std::uint16_t>(place->bar.flags & ~BAR_GENESIS);
        }
        return place;
    }
    KeptBar kept;
    start_bar(kept.bar, span.open, span.close);
    kept.bar.flags = flags;
    kept.flat_given_to = span.close;
    if (place != bars_.begin()) {
        // It cuts the flat stretch behind the bar before it; both parts keep their revisions.
        KeptBar& before = *std::prev(place);
        const bool last = place == bars_.end();
        const TimeNs stretch_end = last ? closed_to : place->bar.open_time;
        std::int32_t here = 0;
        std::vector<KeptBar::FlatRevision> left;
        for (const KeptBar::FlatRevision& cut : before.revisions) {
            if (left.empty() || left.back().until < span.open) {
                left.push_back({std::min(cut.until, span.open), cut.revision});
                if (cut.until > span.open) here = cut.revision;
            }
            if (cut.until > span.close) kept.revisions.push_back(cut);
        }
        before.revisions = std::move(left);
        kept.bar.revision = here;
        kept.flat_given_to = std::clamp(before.flat_given_to, span.close,
                                        std::max(span.close, stretch_end));
        before.flat_given_to = std::min(before.flat_given_to, span.open);
    }
    return bars_.insert(place, kept);
}

void History::amend(const Trade& trade, Span span, std::uint16_t flags, TimeNs closed_to) {
    // Before the first bar nothing had been said about that time: no revision.
    const bool precedes = bars_.empty() || span.open < bars_.front().bar.open_time;
    const bool unsaid = precedes && close_before_ != close_before_;
    bool is_new = false;
    const auto place = find_or_insert(span, flags, is_new, closed_to);
    const auto index = static_cast<std::size_t>(place - bars_.begin());
    const double close_was = close_at(index);
    add_trade(place->bar, trade);
    place->changed = true;
    place->bar.flags = static_cast<std::uint16_t>(place->bar.flags | BAR_CLOSED);
    if (!(is_new && unsaid)) {
        ++place->bar.revision;
        place->bar.flags = static_cast<std::uint16_t>(place->bar.flags | BAR_REVISED);
    }
    if (!same_price(close_was, close_at(index))) revise_behind(index, closed_to, is_new && unsaid);
}

void History::revise_flats(KeptBar& kept, TimeNs to) {
    if (to <= kept.bar.close_time) return;
    for (KeptBar::FlatRevision& cut : kept.revisions) ++cut.revision;
    const TimeNs covered = kept.revisions.empty() ? kept.bar.close_time : kept.revisions.back().until;
    if (covered < to) kept.revisions.push_back({to, 1});
    kept.flat_given_to = kept.bar.close_time;
}

void History::revise_behind(std::size_t from, TimeNs closed_to, bool unsaid) {
    for (std::size_t i = from; i < bars_.size(); ++i) {
        KeptBar& kept = bars_[i];
        if (i > from) {
            if (kept.bar.has_close()) return;
            ++kept.bar.revision;
            kept.bar.flags = static_cast<std::uint16_t>(kept.bar.flags | BAR_REVISED);
            kept.changed = true;
        }
        if (i == from && unsaid) continue;
        revise_flats(kept, i + 1 < bars_.size() ? bars_[i + 1].bar.open_time : closed_to);
    }
}

void History::mark_incomplete(Span span) noexcept {
    const auto place = place_of(bars_, span.open);
    if (place == bars_.end() || place->bar.open_time != span.open) return;
    PartialBar& bar = place->bar;
    if (!bar.has_trades() || (bar.flags & BAR_INCOMPLETE) != 0) return;
    ++bar.revision;
    bar.flags = static_cast<std::uint16_t>(bar.flags | BAR_INCOMPLETE | BAR_REVISED);
    place->changed = true;
}

void History::mark_given(TimeNs watermark) noexcept {
    for (std::size_t i = 0; i < bars_.size(); ++i) {
        const bool open_seed = bars_[i].seeds() && bars_[i].bar.close_time > watermark;
        bars_[i].changed = bars_[i].changed && open_seed;
        if (i + 1 < bars_.size()) bars_[i].flat_given_to = bars_[i + 1].bar.open_time;
    }
}

void History::forget_before(TimeNs horizon) {
    // The bar before the first kept one says what the flat bars behind it cost.
    while (bars_.size() > 1 && !bars_.front().changed && bars_[1].bar.close_time <= horizon) {
        if (bars_.front().bar.has_close()) close_before_ = bars_.front().bar.close;
        bars_.pop_front();
    }
}

}  // namespace klineagg
