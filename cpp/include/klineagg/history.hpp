// The closed bars of one symbol that late trades can still change.
//
// With amendments nothing is handed out at the moment of closing: bars are kept here, and those
// that are new or revised are linked as news, so that handing them out costs what has changed.
// Flat stretches between bars are not kept but derived, with the few places where their revision
// changed. Bars that were handed out when they closed lie packed until a late trade reaches back
// to them: it makes a list of them and of all behind them, which is packed again when it is quiet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "klineagg/block_pool.hpp"
#include "klineagg/builder.hpp"
#include "klineagg/detail/packed_bars.hpp"
#include "klineagg/detail/time_list.hpp"
#include "klineagg/rollup.hpp"

namespace klineagg {

/// Flat bars that open before `until` have `revision`.
struct FlatRevision {
    TimeNs until;
    std::int32_t revision;
};

/// Sorted by `until`; behind the last the revision is 0. Hardly ever there are any.
class FlatRevisions {
public:
    FlatRevisions() = default;
    FlatRevisions(FlatRevisions&& other) noexcept : first_(std::exchange(other.first_, nullptr)) {}
    FlatRevisions& operator=(FlatRevisions&& other) noexcept {
        std::swap(first_, other.first_);
        return *this;
    }

    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    /// Where the last of them ends. Not empty.
    [[nodiscard]] TimeNs last_until() const noexcept;
    void push_back(FlatRevision cut, BlockPool* pool);
    void clear(BlockPool* pool) noexcept;
    void raise_all() noexcept;

    template <class Visit>
    void each(Visit&& visit) const {
        for (const Block* block = first_; block != nullptr; block = block->next) {
            for (std::size_t i = 0; i < block->count; ++i) visit(block->cuts[i]);
        }
    }

private:
    static constexpr std::size_t BLOCK_CUTS = 23;
    struct Block {
        Block* next = nullptr;
        std::size_t count = 0;
        FlatRevision cuts[BLOCK_CUTS];
    };

    Block* first_ = nullptr;
};

struct KeptBar {
    explicit KeptBar(const PartialBar& from) noexcept : flat_given_to(from.close_time) {
        copy_bar(bar, from);
    }
    KeptBar(Span span, std::uint16_t flags) noexcept : flat_given_to(span.close) {
        start_bar(bar, span.open, span.close);
        bar.flags = flags;
    }

    PartialBar bar;
    detail::TimeLinks<KeptBar> links;
    TimeNs flat_given_to;      // flat bars behind this one were handed out up to here
    FlatRevisions revisions;   // of the flat bars behind this one
    // Of news: the next of them. Of others a hint only: a bar that came a little later.
    KeptBar* next_news = nullptr;

    /// Since it was handed out last: the bar itself is new or revised, or flat bars behind it.
    [[nodiscard]] bool changed() const noexcept { return (links.marks & CHANGED) != 0; }
    [[nodiscard]] bool is_news() const noexcept { return (links.marks & NEWS) != 0; }
    [[nodiscard]] bool seeds() const noexcept { return (bar.flags & BAR_GENESIS) != 0; }
    [[nodiscard]] bool is_flat() const noexcept { return (bar.flags & BAR_GAP) != 0; }

    static constexpr std::uint32_t CHANGED = 1;
    static constexpr std::uint32_t NEWS = 2;
};
static_assert(sizeof(KeptBar) == BlockPool::BLOCK_BYTES);

/// One level of one symbol.
class History {
public:
    explicit History(BlockPool* pool = nullptr) noexcept : bars_(pool) {}
    History(History&&) = default;
    History& operator=(History&&) = delete;
    ~History() { clear(); }
    void clear() noexcept;
    void set_pool(BlockPool* pool) noexcept { bars_.set_pool(pool); }
    [[nodiscard]] bool empty() const noexcept { return bars_.empty() && packed_.empty(); }

    /// Seeds the genesis bar over `span`; it stands until a trade replaces it.
    void seed(Span span, double price, std::uint16_t flags);
    /// A bar that the watermark closed, later than all others.
    void record(const PartialBar& bar);
    /// As record, of a bar that is handed out at this moment, with the flat bars before it, while
    /// there is no news.
    void record_given(const PartialBar& bar);
    /// Merges a late trade into the closed bar over `span`, made new where there was none.
    /// `closed_to`: the level's last boundary at or below the watermark.
    void amend(const Trade& trade, Span span, std::uint16_t flags, TimeNs closed_to);
    /// Puts other content into the closed bar over `span`, made new where there was none, as a
    /// revision of it; without trades it is a flat bar from then on. Something is kept before it.
    void replace(Span span, const PartialBar& content, std::uint16_t flags, TimeNs closed_to);
    /// Somebody has told of the bar over `span` (a flat one too) with this revision: what comes
    /// of it next has a higher one.
    void raise_revision(Span span, std::int32_t revision);
    /// Marks the bar over `span` as a revision of it, once, if it has trades. True when it did.
    bool mark_incomplete(Span span);
    /// Likewise every bar that holds a part of [from, to] and ends behind `reach`.
    bool mark_incomplete(TimeNs from, TimeNs to, TimeNs reach);
    /// The kept bar after which flat bars at `time` would lie; nullptr: they precede all.
    [[nodiscard]] KeptBar* before(TimeNs time) {
        reach(time);
        return bars_.find(time);
    }
    /// The flat bars of [range.open, range.close), which lie behind `before` and before the next
    /// one, lack trades that are known to be missing: they are kept from here on, as one or more
    /// bars that are GAP and INCOMPLETE, and may cover several spans each. As a revision of those
    /// that were handed out.
    void keep_flats(KeptBar& before, Span range);
    /// Drops what was handed out and closed at or before `horizon`: no trade reaches it again.
    /// At most so many of them.
    void forget_before(TimeNs horizon,
                       std::size_t most = std::numeric_limits<std::size_t>::max()) noexcept {
        if (horizon >= second_close_) forget(horizon, most);
    }

    /// Likewise, and none of them a moment later: what is left depends on nothing else.
    void forget_all_before(TimeNs horizon) noexcept;
    /// Asks for the memory that forget_before will read.
    void ask_front() const noexcept { packed_.ask_front(); }

    /// Puts the news in order of time; to be called before they are looked at.
    void sort_news() noexcept;
    /// The first that is new or revised, or has flat bars behind it that are; see next_news.
    [[nodiscard]] const KeptBar* news() const noexcept { return news_; }
    /// What was handed out with this watermark: all but a genesis bar that is open still.
    void mark_given(TimeNs watermark) noexcept;

    // These make a list of what is packed, as far as it is asked for.
    [[nodiscard]] const KeptBar* front() {
        reach(TIME_NONE);
        return bars_.front();
    }
    [[nodiscard]] const KeptBar* back() {
        if (bars_.empty() && !packed_.empty()) unpack_one();
        return bars_.back();
    }
    /// The kept bar over the time that opens at `open_time`; nullptr: none.
    [[nodiscard]] const KeptBar* find(TimeNs open_time) {
        const KeptBar* const kept = before(open_time);
        return kept != nullptr && kept->bar.open_time == open_time ? kept : nullptr;
    }

    /// When the last bar ended; TIME_NONE: there is none.
    [[nodiscard]] TimeNs last_end() const noexcept {
        if (!bars_.empty()) return bars_.back()->bar.close_time;
        return packed_.empty() ? TIME_NONE : packed_.last_end();
    }
    /// Whether the last bar is one that nobody had to look at: flat bars behind it have no
    /// revisions. They were handed out up to given_to().
    [[nodiscard]] bool is_packed() const noexcept { return bars_.empty() && !packed_.empty(); }
    [[nodiscard]] TimeNs given_to() const noexcept { return packed_.given_to(); }
    /// The genesis bar, as long as it stands.
    [[nodiscard]] const KeptBar* genesis() const noexcept {
        const KeptBar* const first = packed_.empty() ? bars_.front() : nullptr;
        return first != nullptr && first->seeds() ? first : nullptr;
    }
    /// Calls `visit(bar, flat_given_to, kept)` for every bar, in order of time. `kept`: nullptr of
    /// one that is packed, which is no news, without revisions behind it.
    template <class Visit>
    void each(Visit&& visit) const {
        packed_.each([&](const PartialBar& bar, TimeNs given_to) {
            visit(bar, given_to, static_cast<const KeptBar*>(nullptr));
        });
        for (const KeptBar* kept = bars_.front(); kept != nullptr; kept = kept->links.next)
            visit(kept->bar, kept->flat_given_to, kept);
    }

    /// The close that a bar opening right behind `kept` would keep.
    [[nodiscard]] double close_at(const KeptBar* kept) const noexcept {
        for (; kept != nullptr; kept = kept->links.prev) {
            if (kept->bar.has_close()) return kept->bar.close;
        }
        return packed_.empty() ? close_before_ : packed_.last_close();
    }
    /// The close that a bar opening behind all kept ones would keep.
    [[nodiscard]] double last_close() const noexcept { return close_at(bars_.back()); }
    /// The close that was before all kept bars.
    [[nodiscard]] double close_before() const noexcept { return close_before_; }

    /// The close that was before all kept bars, and bars one after the other: a history as it was
    /// elsewhere. `changed`: see KeptBar.
    void restore_close(double close_before) noexcept { close_before_ = close_before; }
    KeptBar& restore(const PartialBar& bar, TimeNs flat_given_to, bool changed);
    void restore_flats(KeptBar& kept, FlatRevision cut) {
        kept.revisions.push_back(cut, bars_.pool());
    }

private:
    /// Makes a list of packed bars up to the one before `time`, and with it of those behind it.
    void reach(TimeNs time);
    void unpack_one();
    /// Packs bars from the front of the list, at most so many.
    void pack(int most);
    KeptBar& append(const PartialBar& bar, KeptBar*& before);
    KeptBar& take_out(KeptBar& flats, Span span);
    KeptBar& insert(KeptBar* before, Span span, std::uint16_t flags, TimeNs closed_to);
    /// Revises the flat and priceless bars behind `from`, whose close was changed. `unsaid`: the
    /// flat bars right behind it are new, since it came before all others.
    void revise_behind(KeptBar& from, TimeNs closed_to, bool unsaid);
    void revise_flats(KeptBar& kept, TimeNs to);
    void drop_seed() noexcept;
    void forget(TimeNs horizon, std::size_t most) noexcept;
    void add_news(KeptBar& kept, std::uint32_t marks) noexcept;
    bool mark(KeptBar& kept) noexcept;
    void refresh_second() noexcept;

    detail::PackedBars packed_;         // before all of the list
    detail::TimeList<KeptBar> bars_;
    KeptBar* news_ = nullptr;
    KeptBar* last_news_ = nullptr;
    double close_before_ = NO_PRICE;
    TimeNs second_close_ = TIME_MAX;  // of the bar behind the first: when to look at forgetting that
    std::uint32_t busy_ = 0;  // bars to come until the list is packed: see reach()
    bool news_sorted_ = true;
};
static_assert(sizeof(History) <= 112);

}  // namespace klineagg
