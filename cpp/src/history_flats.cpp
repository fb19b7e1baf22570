// Of a history: flat bars that are kept, because trades are known to be missing in them.
#include <algorithm>

#include "klineagg/history.hpp"

namespace klineagg {

namespace {

constexpr std::uint16_t MISSED = BAR_CLOSED | BAR_GAP | BAR_INCOMPLETE;

/// Where what was said of the flat bars behind `before` changes next, behind `time`.
TimeNs next_change(const KeptBar& before, TimeNs time) noexcept {
    TimeNs change = before.flat_given_to > time ? before.flat_given_to : TIME_MAX;
    before.revisions.each([&](const FlatRevision& cut) {
        if (cut.until > time) change = std::min(change, cut.until);
    });
    return change;
}

}  // namespace

void History::keep_flats(KeptBar& before, Span range) {
    KeptBar* prev = &before;
    const TimeNs closed_to = range.close;  // there is a bar behind
    while (range.open < range.close) {
        const TimeNs end = std::min(range.close, next_change(*prev, range.open));
        const bool was_given = range.open < prev->flat_given_to;
        KeptBar& kept = insert(prev, {range.open, end}, MISSED, closed_to);
        if (was_given) ++kept.bar.revision;
        add_news(kept, KeptBar::CHANGED);
        prev = &kept;
        range.open = end;
    }
}

/// Of flat bars that are kept, the one over `span`: trades go into it now.
KeptBar& History::take_out(KeptBar& flats, Span span) {
    const bool changed = flats.changed();
    const std::int32_t revision = flats.bar.revision;
    const auto part = [&](KeptBar& prev, Span of) -> KeptBar& {
        KeptBar& kept = bars_.insert_behind(&prev, of, MISSED);
        kept.bar.revision = revision;
        kept.flat_given_to = prev.flat_given_to;
        kept.revisions = std::move(prev.revisions);
        prev.flat_given_to = prev.bar.close_time = of.open;
        if (changed) add_news(kept, KeptBar::CHANGED);
        return kept;
    };
    if (span.close < flats.bar.close_time) (void)part(flats, {span.close, flats.bar.close_time});
    KeptBar* const one = flats.bar.open_time < span.open ? &part(flats, span) : &flats;
    one->bar.flags = static_cast<std::uint16_t>(one->bar.flags & ~BAR_GAP);
    refresh_second();
    return *one;
}

}  // namespace klineagg
