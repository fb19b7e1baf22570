#include "klineagg/engine/correction.hpp"

#include <algorithm>
#include <cstring>

namespace klineagg {

using engine::HeldBar;
using engine::Replacement;
using engine::Replacements;

int engine::Corrected::source_of(const Aggregator& in, int level) noexcept {
    const auto levels = static_cast<int>(in.level_count());
    for (int source = 0; source < levels; ++source) {
        for (int feed = in.plan_[source].first_feed; feed != NO_LEVEL; feed = in.plan_[feed].sibling)
            if (feed == level) return source;
    }
    return 0;
}

int engine::Corrected::level_of(const Aggregator& in, const Interval& interval) noexcept {
    const auto levels = static_cast<int>(in.level_count());
    for (int level = 0; level < levels; ++level)
        if (*in.plan_[level].interval == interval) return level;
    return NO_LEVEL;
}

bool engine::Corrected::held(Aggregator& from, int level, TimeNs time, HeldBar& bar) {
    const RollupLevel& plan = from.plan_[level];
    Span span;
    if (!plan.interval->locate(time, span)) return false;
    bar.level = level;
    bar.span = span;
    bar.limit = span.close;
    bar.is_open = span.close > from.watermark_;
    bar.is_known = false;
    start_bar(bar.bar, span.open, span.close);
    const PartialBar* found = nullptr;
    if (!bar.is_open) {
        if (plan.output == HIDDEN_LEVEL) return false;
        if (!from.amends()) return true;
        const KeptBar* const kept = from.history(level).before(span.open);
        bar.is_known = kept != nullptr;
        if (kept != nullptr && kept->bar.open_time == span.open && !kept->is_flat())
            found = &kept->bar;
    } else if (level == 0) {
        found = from.open_bar(0, span);
        const bool is_base = found == &from.base_.bar;
        bar.is_known = found != nullptr && found->open_time == span.open &&
                       (is_base ? from.base_close_ : found->close_time) == span.close;
        if (!bar.is_known) return true;
    } else {
        // What is open below it comes into it later.
        bar.limit = from.closed_to(source_of(from, level));
        if (time >= bar.limit) return false;
        const Aggregator::Level& state = from.at(level);
        bar.is_known = true;
        if (from.is_open(level) && state.bar.open_time == span.open) found = &state.bar;
    }
    if (found != nullptr) copy_bar(bar.bar, *found);
    bar.bar.close_time = span.close;  // the base's own is a guard
    return true;
}

void engine::Corrected::look(Aggregator& from, TimeNs time, std::vector<HeldBar>& bars) {
    HeldBar bar;
    for (std::size_t i = 0; i < from.level_count(); ++i) {
        if (!held(from, static_cast<int>(i), time, bar)) continue;
        const bool is_there = std::any_of(bars.begin(), bars.end(), [&](const HeldBar& other) {
            return other.level == bar.level && other.span.open == bar.span.open;
        });
        if (!is_there) bars.push_back(bar);
    }
}

void engine::Corrected::look(Aggregator& from, Span range, std::vector<HeldBar>& bars) {
    HeldBar bar;
    for (std::size_t i = 0; i < from.level_count(); ++i) {
        const RollupLevel& plan = from.plan_[i];
        if (plan.output == HIDDEN_LEVEL) continue;
        const TimeNs end = std::min(range.close, from.watermark_);
        for (Span span = plan.interval->next(range.open); span.close <= end;
             span = plan.interval->next(span.close))
            if (held(from, static_cast<int>(i), span.open, bar)) bars.push_back(bar);
    }
}

bool engine::Corrected::is_same(const PartialBar& a, const PartialBar& b) noexcept {
    PartialBar left = a;
    PartialBar right = b;
    for (PartialBar* const bar : {&left, &right}) {
        canonicalize(*bar);
        bar->flags = 0;
        bar->revision = 0;
    }
    // Without padding, and its zeros are canonical:
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    return std::memcmp(&left, &right, sizeof left) == 0;
}

bool engine::Corrected::fits(Aggregator& in, const Replacements& all) {
    HeldBar bar;
    return std::all_of(all.bars.begin(), all.bars.end(), [&](const Replacement& one) {
        const int level = level_of(in, one.interval);
        return level == NO_LEVEL || (held(in, level, one.open_time, bar) && bar.is_known &&
                                     is_same(bar.bar, one.expected));
    });
}

void engine::Corrected::put(Aggregator& to, const HeldBar& at, const PartialBar& content) {
    Aggregator::Level& state = to.at(at.level);
    if (!at.is_open) {
        const auto cut = to.cut_flag(at.span.open, at.span.close);
        History& history = to.history(at.level);
        history.replace(at.span, content, cut, to.closed_to(at.level));
        state.last_close = history.last_close();
        to.has_news_ = true;
        return;
    }
    PartialBar* const open = at.level == 0 ? to.open_bar(0, at.span) : &state.bar;
    if (at.level == 0) to.newest_ = to.newest();  // time does not go back with the trade
    copy_bar(*open, content);
    open->close_time = at.span.close;
    open->revision = at.bar.revision;
    open->flags = static_cast<std::uint16_t>(at.bar.flags);
    if (at.level == 0) to.guard_base();
    else to.set_open(at.level, content.has_trades());
}

void engine::Corrected::mark(Aggregator& to, const HeldBar& at) {
    if (!at.is_open) {
        if (to.amends() && to.history(at.level).mark_incomplete(at.span)) to.has_news_ = true;
        return;
    }
    PartialBar* const open = at.level == 0 ? to.open_bar(0, at.span) : &to.at(at.level).bar;
    if (open != nullptr && open->open_time == at.span.open)
        open->flags = static_cast<std::uint16_t>(open->flags | BAR_INCOMPLETE);
}

void engine::Corrected::raise(Aggregator& to, int output, Span span, std::int32_t revision) {
    if (!to.amends()) return;
    for (std::size_t i = 0; i < to.level_count(); ++i) {
        if (to.plan_[i].output == output)
            to.history(static_cast<int>(i)).raise_revision(span, revision);
    }
}

void engine::Corrected::apply(Aggregator& to, const Replacements& all) {
    HeldBar bar;
    for (const Replacement& one : all.bars) {
        const int level = level_of(to, one.interval);
        if (level != NO_LEVEL && held(to, level, one.open_time, bar)) put(to, bar, one.content);
    }
    // Of intervals that were not there when it was worked out nobody knows what they hold.
    for (std::size_t i = 0; i < to.level_count(); ++i) {
        const Interval& interval = *to.plan_[i].interval;
        const bool is_named = std::any_of(all.bars.begin(), all.bars.end(), [&](const auto& one) {
            return one.interval == interval;
        });
        for (std::size_t k = 0; k < all.marked.size(); ++k) {
            const bool is_wanted = all.marked[k] == interval || !is_named;
            if (is_wanted && held(to, static_cast<int>(i), all.marked_at[k], bar)) mark(to, bar);
        }
    }
}

}  // namespace klineagg
