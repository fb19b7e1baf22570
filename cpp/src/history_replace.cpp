// Of a history: bars that are put right, and revisions that others have given.
#include <algorithm>

#include "klineagg/history.hpp"

namespace klineagg {

void History::replace(Span span, const PartialBar& content, std::uint16_t flags,
                      TimeNs closed_to) {
    reach(span.open);
    KeptBar* place = bars_.find(span.open);
    if (place->is_flat() && span.open < place->bar.close_time) place = &take_out(*place, span);
    if (place->bar.open_time != span.open) place = &insert(place, span, flags, closed_to);
    KeptBar& kept = *place;
    const double close_was = close_at(&kept);
    const std::int32_t revision = kept.bar.revision + 1;
    const int stays = (kept.bar.flags & BAR_PARTIAL) | (content.flags & BAR_INCOMPLETE);
    copy_bar(kept.bar, content);
    kept.bar.close_time = span.close;
    kept.bar.revision = revision;
    const int is_flat = content.has_trades() ? 0 : BAR_GAP;
    kept.bar.flags = static_cast<std::uint16_t>(stays | BAR_CLOSED | BAR_REVISED | is_flat);
    add_news(kept, KeptBar::CHANGED);
    const double close_is = close_at(&kept);
    const bool is_same = close_was == close_is || (close_was != close_was && close_is != close_is);
    if (!is_same) revise_behind(kept, closed_to, false);
}

void History::raise_revision(Span span, std::int32_t revision) {
    KeptBar* const kept = before(span.open);
    if (kept == nullptr) return;
    if (span.open < kept->bar.close_time) {
        kept->bar.revision = std::max(kept->bar.revision, revision);
        return;
    }
    FlatRevisions cuts;
    TimeNs done = kept->bar.close_time;
    const auto put = [&](TimeNs until, std::int32_t of) {
        if (until <= done) return;
        cuts.push_back({until, of}, bars_.pool());
        done = until;
    };
    const auto pass = [&](TimeNs until, std::int32_t of) {
        put(std::min(until, span.open), of);
        put(std::min(until, span.close), std::max(of, revision));
        put(until, of);
    };
    kept->revisions.each([&](const FlatRevision& cut) { pass(cut.until, cut.revision); });
    pass(span.close, 0);
    kept->revisions.clear(bars_.pool());
    kept->revisions = std::move(cuts);
}

}  // namespace klineagg
