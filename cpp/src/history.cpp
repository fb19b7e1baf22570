#include "klineagg/history.hpp"

#include <algorithm>

namespace klineagg {

namespace {

bool same_price(double a, double b) noexcept { return a == b || (a != a && b != b); }

// Bars between one that is forgotten and the one whose memory is asked for then: see forget().
constexpr int FORGET_AHEAD = 3;
// Bars that are packed when one closes: more than come, so that the list goes.
constexpr int PACK_STEP = 2;

/// Merges two lists that are linked by next_news, each in order of time.
KeptBar* merge_news(KeptBar* a, KeptBar* b) noexcept {
    KeptBar* first = nullptr;
    KeptBar** end = &first;
    while (a != nullptr && b != nullptr) {
        KeptBar*& earlier = a->bar.open_time < b->bar.open_time ? a : b;
        *end = earlier;
        end = &earlier->next_news;
        earlier = earlier->next_news;
    }
    *end = a != nullptr ? a : b;
    return first;
}

}  // namespace

TimeNs FlatRevisions::last_until() const noexcept {
    const Block* block = first_;
    while (block->next != nullptr) block = block->next;
    return block->cuts[block->count - 1].until;
}

void FlatRevisions::push_back(FlatRevision cut, BlockPool* pool) {
    Block** last = &first_;
    while (*last != nullptr && ((*last)->next != nullptr || (*last)->count == BLOCK_CUTS))
        last = &(*last)->next;
    if (*last == nullptr) *last = new (detail::take_block<Block>(pool)) Block;
    (*last)->cuts[(*last)->count++] = cut;
}

void FlatRevisions::clear(BlockPool* pool) noexcept {
    while (first_ != nullptr) detail::give_block(pool, std::exchange(first_, first_->next));
}

void FlatRevisions::raise_all() noexcept {
    for (Block* block = first_; block != nullptr; block = block->next) {
        for (std::size_t i = 0; i < block->count; ++i) ++block->cuts[i].revision;
    }
}

void History::clear() noexcept {
    for (KeptBar* kept = bars_.front(); kept != nullptr; kept = kept->links.next)
        kept->revisions.clear(bars_.pool());
    bars_.clear();
    packed_.clear(bars_.pool());
    news_ = last_news_ = nullptr;
    refresh_second();
}

void History::add_news(KeptBar& kept, std::uint32_t marks) noexcept {
    const bool is_news = kept.is_news();
    kept.links.marks |= marks | KeptBar::NEWS;
    if (is_news) return;
    kept.next_news = nullptr;
    if (news_ == nullptr) {
        news_ = &kept;
        news_sorted_ = true;
    } else {
        news_sorted_ = news_sorted_ && last_news_->bar.open_time < kept.bar.open_time;
        last_news_->next_news = &kept;
    }
    last_news_ = &kept;
}

void History::sort_news() noexcept {
    if (news_sorted_) return;
    // Runs[i] holds a list of 2^i to 2^(i+1) items: a merge sort from below.
    constexpr std::size_t RUNS = 48;
    KeptBar* runs[RUNS] = {};
    for (KeptBar* kept = news_; kept != nullptr;) {
        KeptBar* run = std::exchange(kept, kept->next_news);
        run->next_news = nullptr;
        std::size_t i = 0;
        for (; i + 1 < RUNS && runs[i] != nullptr; ++i)
            run = merge_news(std::exchange(runs[i], nullptr), run);
        runs[i] = merge_news(runs[i], run);
    }
    news_ = nullptr;
    for (KeptBar* const run : runs) news_ = merge_news(news_, run);
    for (last_news_ = news_; last_news_->next_news != nullptr;) last_news_ = last_news_->next_news;
    news_sorted_ = true;
}

void History::mark_given(TimeNs watermark) noexcept {
    KeptBar* kept = std::exchange(news_, nullptr);
    while (kept != nullptr) {
        KeptBar& given = *std::exchange(kept, kept->next_news);
        const bool open_seed = given.seeds() && given.bar.close_time > watermark;
        const std::uint32_t changed = given.links.marks & KeptBar::CHANGED;
        given.links.marks &= ~(KeptBar::CHANGED | KeptBar::NEWS);
        if (given.links.next != nullptr) given.flat_given_to = given.links.next->bar.open_time;
        if (open_seed && changed != 0) add_news(given, changed);
    }
}

void History::seed(Span span, double price, std::uint16_t flags) {
    close_before_ = price;
    add_news(bars_.push_back(span, flags), KeptBar::CHANGED);
    refresh_second();
}

void History::drop_seed() noexcept {
    KeptBar* const seed = bars_.front();
    if (seed->is_news()) {
        KeptBar* before = nullptr;
        for (KeptBar* kept = news_; kept != seed; kept = kept->next_news) before = kept;
        (before != nullptr ? before->next_news : news_) = seed->next_news;
        if (last_news_ == seed) last_news_ = before;
    }
    seed->revisions.clear(bars_.pool());
    bars_.pop_front_for_good();
}

KeptBar& History::append(const PartialBar& bar, KeptBar*& before) {
    KeptBar* const front = bars_.front();
    if (front != nullptr && front == bars_.back() && front->seeds() &&
        bar.open_time <= front->bar.open_time) [[unlikely]] {
        drop_seed();
    }
    before = bars_.back();
    KeptBar& kept = bars_.push_back(bar);
    if (before == bars_.front() || bars_.size() == 1) refresh_second();
    // A few before it learn of it, for the day on which they are forgotten: see forget().
    KeptBar* far = before;
    for (int i = 1; i < FORGET_AHEAD && far != nullptr; ++i) far = far->links.prev;
    if (far != nullptr && !far->is_news()) far->next_news = &kept;
    return kept;
}

void History::record(const PartialBar& bar) {
    (void)back();  // the flat bars behind it are news now
    KeptBar* before = nullptr;
    add_news(append(bar, before), KeptBar::CHANGED);
    if (before != nullptr && before->flat_given_to < bar.open_time) add_news(*before, 0);
}

void History::record_given(const PartialBar& bar) {
    if (bars_.empty() && detail::PackedBars::fits(bar)) [[likely]] {
        if (!packed_.empty()) packed_.give_to(std::max(packed_.given_to(), bar.open_time));
        if (packed_.push_back(bar, bar.close_time, bars_.pool())) refresh_second();
        return;
    }
    (void)back();
    KeptBar* before = nullptr;
    (void)append(bar, before);
    if (before != nullptr) before->flat_given_to = std::max(before->flat_given_to, bar.open_time);
    if (busy_ != 0) --busy_;
    else pack(PACK_STEP);
}

KeptBar& History::restore(const PartialBar& bar, TimeNs flat_given_to, bool changed) {
    KeptBar& kept = bars_.push_back(bar);
    kept.flat_given_to = flat_given_to;
    if (changed) add_news(kept, KeptBar::CHANGED);
    refresh_second();
    return kept;
}

KeptBar& History::insert(KeptBar* before, Span span, std::uint16_t flags, TimeNs closed_to) {
    KeptBar& kept = bars_.insert_behind(before, span, flags);
    refresh_second();
    if (before == nullptr) return kept;
    // It cuts the flat stretch behind the bar before it; both parts keep their revisions.
    const KeptBar* const behind = kept.links.next;
    const TimeNs stretch_end = behind == nullptr ? closed_to : behind->bar.open_time;
    if (!before->revisions.empty()) {
        FlatRevisions left;
        TimeNs left_to = TIME_NONE;
        TimeNs from = before->bar.close_time;
        before->revisions.each([&](const FlatRevision& cut) {
            if (left_to < span.open) {
                left_to = std::min(cut.until, span.open);
                left.push_back({left_to, cut.revision}, bars_.pool());
            }
            // Also where one cut ends just before the span and the next begins with it.
            if (from <= span.open && cut.until > span.open) kept.bar.revision = cut.revision;
            from = cut.until;
            if (cut.until > span.close) kept.revisions.push_back(cut, bars_.pool());
        });
        before->revisions.clear(bars_.pool());
        before->revisions = std::move(left);
    }
    kept.flat_given_to =
        std::clamp(before->flat_given_to, span.close, std::max(span.close, stretch_end));
    before->flat_given_to = std::min(before->flat_given_to, span.open);
    if (before->flat_given_to < span.open) add_news(*before, 0);
    return kept;
}

void History::amend(const Trade& trade, Span span, std::uint16_t flags, TimeNs closed_to) {
    reach(span.open);
    // Before the first bar nothing had been said about that time: no revision.
    const bool precedes = bars_.empty() || span.open < bars_.front()->bar.open_time;
    const bool unsaid = precedes && close_before_ != close_before_;
    if (precedes && !bars_.empty() && bars_.front()->seeds())
        drop_seed();  // trades came before the start of coverage: there was no genesis
    KeptBar* place = bars_.find(span.open);
    if (place != nullptr && place->is_flat() && span.open < place->bar.close_time) [[unlikely]]
        place = &take_out(*place, span);
    const bool is_new = place == nullptr || place->bar.open_time != span.open;
    if (is_new) place = &insert(place, span, flags, closed_to);
    KeptBar& kept = *place;
    if (kept.seeds())  // trades replace the seed
        kept.bar.flags = static_cast<std::uint16_t>(kept.bar.flags & ~BAR_GENESIS);
    const double close_was = close_at(&kept);
    add_trade(kept.bar, trade);
    add_news(kept, KeptBar::CHANGED);
    kept.bar.flags = static_cast<std::uint16_t>(kept.bar.flags | BAR_CLOSED);
    if (!(is_new && unsaid)) {
        ++kept.bar.revision;
        kept.bar.flags = static_cast<std::uint16_t>(kept.bar.flags | BAR_REVISED);
    }
    if (!same_price(close_was, close_at(&kept))) revise_behind(kept, closed_to, is_new && unsaid);
}

void History::revise_flats(KeptBar& kept, TimeNs to) {
    if (to <= kept.bar.close_time) return;
    kept.revisions.raise_all();
    const TimeNs covered =
        kept.revisions.empty() ? kept.bar.close_time : kept.revisions.last_until();
    if (covered < to) kept.revisions.push_back({to, 1}, bars_.pool());
    kept.flat_given_to = kept.bar.close_time;
    add_news(kept, 0);
}

void History::revise_behind(KeptBar& from, TimeNs closed_to, bool unsaid) {
    for (KeptBar* kept = &from; kept != nullptr; kept = kept->links.next) {
        if (kept != &from) {
            if (kept->bar.has_close()) return;
            ++kept->bar.revision;
            kept->bar.flags = static_cast<std::uint16_t>(kept->bar.flags | BAR_REVISED);
            add_news(*kept, KeptBar::CHANGED);
        } else if (unsaid) {
            continue;
        }
        const KeptBar* const behind = kept->links.next;
        revise_flats(*kept, behind != nullptr ? behind->bar.open_time : closed_to);
    }
}

bool History::mark_incomplete(Span span) {
    reach(span.open);
    KeptBar* const kept = bars_.find(span.open);
    return kept != nullptr && kept->bar.open_time == span.open && mark(*kept);
}

bool History::mark_incomplete(TimeNs from, TimeNs to, TimeNs reach) {
    KeptBar* kept = before(from);
    if (kept == nullptr) kept = bars_.front();
    bool any = false;
    for (; kept != nullptr && kept->bar.open_time <= to; kept = kept->links.next) {
        if (kept->bar.close_time > from && kept->bar.close_time > reach) any = mark(*kept) || any;
    }
    return any;
}

bool History::mark(KeptBar& kept) noexcept {
    PartialBar& bar = kept.bar;
    if (!bar.has_trades() || (bar.flags & BAR_INCOMPLETE) != 0) return false;
    ++bar.revision;
    bar.flags = static_cast<std::uint16_t>(bar.flags | BAR_INCOMPLETE | BAR_REVISED);
    add_news(kept, KeptBar::CHANGED);
    return true;
}

}  // namespace klineagg
