// The closed bars of one symbol that late trades can still change.
//
// With amendments nothing is handed out at the moment of closing: bars are kept here, and each
// update hands out what is new or revised since the last one. Flat stretches between bars are
// not kept but derived, with the few places where their revision changed.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "klineagg/builder.hpp"
#include "klineagg/rollup.hpp"

namespace klineagg {

struct KeptBar {
    /// Flat bars behind this one that open before `until` have `revision`.
    struct FlatRevision {
        TimeNs until;
        std::int32_t revision;
    };

    PartialBar bar;
    bool changed = true;                 // since it was handed out last
    TimeNs flat_given_to = TIME_NONE;    // flat bars behind this one were handed out up to here
    std::vector<FlatRevision> revisions; // sorted by `until`; 0 behind the last

    [[nodiscard]] bool seeds() const noexcept { return (bar.flags & BAR_GENESIS) != 0; }
};

/// One level of one symbol.
class History {
public:
    /// Seeds the genesis bar over `span`; it stands until a trade replaces it.
    void seed(Span span, double price, std::uint16_t flags);
    /// A bar that the watermark closed, later than all others.
    void record(const PartialBar& bar);
    /// Merges a late trade into the closed bar over `span`, made new where there was none.
    /// `closed_to`: the level's last boundary at or below the watermark.
    void amend(const Trade& trade, Span span, std::uint16_t flags, TimeNs closed_to);
    /// Marks the bar over `span` as a revision of it, once, if it has trades.
    void mark_incomplete(Span span) noexcept;
    /// Drops what was handed out and closed at or before `horizon`: no trade reaches it again.
    void forget_before(TimeNs horizon);
    /// What was handed out with this watermark: all but a genesis bar that is open still.
    void mark_given(TimeNs watermark) noexcept;

    [[nodiscard]] const std::deque<KeptBar>& bars() const noexcept { return bars_; }
    [[nodiscard]] double close_before() const noexcept { return close_before_; }
    /// The close that a bar opening behind all kept ones would keep.
    [[nodiscard]] double last_close() const noexcept;

private:
    std::deque<KeptBar>::iterator find_or_insert(Span span, std::uint16_t flags, bool& is_new,
                                                 TimeNs closed_to);
    /// Revises the flat and priceless bars behind `from`, whose close was changed. `unsaid`: the
    /// flat bars right behind it are new, since it came before all others.
    void revise_behind(std::size_t from, TimeNs closed_to, bool unsaid);
    [[nodiscard]] double close_at(std::size_t index) const noexcept;
    static void revise_flats(KeptBar& kept, TimeNs to);

    std::deque<KeptBar> bars_;
    double close_before_ = NO_PRICE;
};

}  // namespace klineagg
