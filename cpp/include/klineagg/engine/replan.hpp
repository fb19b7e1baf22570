// The state of one symbol under one generation of the plan, carried over into the next.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "klineagg/aggregator.hpp"
#include "klineagg/engine/plan_generation.hpp"

namespace klineagg {

namespace engine {
struct Replan;
}

/// Reads and makes the aggregator's state as a friend of it.
template <>
class SymbolAggregator<engine::Replan> {
public:
    using Aggregator = SymbolAggregator<PartialBar>;

    /// `begins`, by output: since when a new interval's bars are whole; what closes before that is
    /// not told of, what it cuts is PARTIAL. `clock`: the clock's watermark at the change.
    static Aggregator follow(Aggregator& from, const engine::PlanGeneration& next, BlockPool* pool,
                             std::vector<TimeNs>& begins, TimeNs clock) {
        Aggregator to(next.plan, next.options, pool);
        const TimeNs reach = forget_unreachable(from, clock);
        from.unguard_base();
        const double close = close_before(from, next);
        to.watermark_ = from.watermark_;
        to.newest_ = from.newest();
        to.genesis_ = from.genesis_;
        to.owes_genesis_ = to.genesis_ != TIME_NONE && !from.amends();
        to.has_flat_rows_ = to.has_flat_rows_ || from.genesis_ != TIME_NONE;
        to.has_news_ = from.has_news_;
        to.older_ = std::move(from.older_);
        to.missing_ = std::move(from.missing_);
        to.coverage_start_ = from.coverage_start_;
        to.forgotten_to_ = reach_after(from, to, reach);
        to.histories_.clear();
        for (std::size_t i = 0; i < next.levels_before.size(); ++i) {
            const int before = next.levels_before[i];
            const auto at = static_cast<std::size_t>(before);
            const auto level = static_cast<int>(i);
            if (before == NO_LEVEL) {
                to.at(level).last_close = close;  // a hidden one hands it on
            } else {
                to.at(level) = from.at(before);
                to.set_open(level, from.is_open(before));
            }
            if (!from.amends()) continue;
            if (before == NO_LEVEL) to.histories_.emplace_back(pool);
            else to.histories_.emplace_back(std::move(from.histories_[at]));
        }
        const bool keeps_bars = from.options_->lateness_ns > 0 || to.options_->lateness_ns > 0;
        if (!next.has_new_base || keeps_bars) to.base_close_ = from.base_close_;
        if (next.has_new_base && keeps_bars) keep_base(from, to, next);
        else if (next.has_new_base) demote_base(from, to, next);
        if (next.has_new_base) to.base_.last_close = close;
        // Sources first: a level may be made from one that is new too.
        const auto visit = [&](auto&& self, int level) -> void {
            if (comes(from, next, level)) begin_level(to, next, level, begins, close);
            for (int feed = to.plan_[level].first_feed; feed != NO_LEVEL;
                 feed = to.plan_[feed].sibling)
                self(self, feed);
        };
        visit(visit, 0);
        if (to.options_->lateness_ns > 0 && to.watermark_ != TIME_NONE) {
            Span span;
            to.plan_->interval->locate(to.watermark_, span);
            to.raise_at_ = span.close + to.options_->lateness_ns;
        }
        to.guard_base();
        return to;
    }

    /// Whether a level of `next` has an output that the symbol had not up to now.
    static bool comes(const Aggregator& from, const engine::PlanGeneration& next, int level) {
        if (next.plan.levels()[static_cast<std::size_t>(level)].output == HIDDEN_LEVEL) return false;
        const int before = next.levels_before[static_cast<std::size_t>(level)];
        return before == NO_LEVEL || from.plan_[before].output == HIDDEN_LEVEL;
    }

    /// What closed bars say of a symbol that has not traded here yet.
    struct Known {
        std::vector<double> last_closes;   // by output; NO_PRICE: there is none
        std::vector<TimeNs> covered_to;    // by output, TIME_NONE
        TimeNs watermark = TIME_NONE;      // everything that closes up to here is closed
    };
    static void warm(Aggregator& to, const Known& known) {
        to.watermark_ = std::max(to.watermark_, known.watermark);
        for (std::size_t i = 0; i < to.level_count(); ++i) {
            const int level = static_cast<int>(i);
            if (to.plan_[level].output == HIDDEN_LEVEL) continue;
            const auto output = static_cast<std::size_t>(to.plan_[level].output);
            if (known.covered_to[output] == TIME_NONE) continue;
            Aggregator::Level& state = to.at(level);
            state.covered_to = known.covered_to[output];
            state.last_close = known.last_closes[output];
            Span last;
            if (to.amends() && to.plan_[level].interval->locate(state.covered_to - 1, last))
                stand_in(to, level, last, known.watermark);
        }
    }

    /// What may close by the new lateness, now that the state is in its place.
    template <class Sink>
    static void settle(Aggregator& aggregator, const Sink& sink) {
        if (aggregator.newest() == TIME_NONE) return;
        aggregator.advance(aggregator.judging_watermark(), sink);
        aggregator.guard_base();
    }

private:
    /// A longer horizon does not bring back what none of the old one's trades reached: some of it
    /// may be there still, and how much depends on how the trades came. Returns how far they reached.
    static TimeNs forget_unreachable(Aggregator& from, TimeNs clock) noexcept {
        const TimeNs reach = from.reach_at(std::max(from.judging_watermark(), clock));
        if (reach != TIME_NONE)
            for (History& history : from.histories_) history.forget_all_before(reach);
        return reach;
    }

    /// Nor do later trades reach it: one would stand for all those of a bar that is forgotten.
    static TimeNs reach_after(const Aggregator& from, const Aggregator& to, TimeNs reach) noexcept {
        const bool is_longer = to.options_->amend_horizon_ns > from.options_->amend_horizon_ns;
        return is_longer && reach > TIME_MIN ? reach : from.forgotten_to_;
    }

    /// With a lateness several bars of the old base may be open. They stay what they are, among those
    /// of the new one: each covers several of its spans, and takes the trades of all of them. The
    /// intervals that are finer begin behind the last of them.
    static void keep_base(const Aggregator& from, Aggregator& to,
                          const engine::PlanGeneration& next) {
        for (std::size_t i = 1; i < next.levels_before.size(); ++i) {
            if (next.levels_before[i] == 0) to.set_open(static_cast<int>(i), false);
        }
        to.base_ = from.base_;
        to.base_open_ = from.base_open_;
        to.base_.covered_to = TIME_NONE;
    }

    /// Whether the open base bar is one of a base before this, see keep_base, that no bar of the
    /// level holds as a whole.
    static bool is_cut_off(const Aggregator& to, int level) noexcept {
        Span own;
        if (!to.base_open_) return false;
        const bool inside = to.plan_[level].interval->locate(to.base_.bar.open_time, own);
        return !inside || own.close < to.base_close_;
    }

    /// The open base bar becomes what has closed below its level.
    static void demote_base(const Aggregator& from, Aggregator& to,
                            const engine::PlanGeneration& next) {
        for (std::size_t i = 1; i < next.levels_before.size(); ++i) {
            if (next.levels_before[i] != 0) continue;
            Aggregator::Level& level = to.coarser_[i - 1];
            level.bar.close_time = from.base_close_;
        }
        to.base_ = Aggregator::Level{};
        to.base_open_ = false;
        // What closed under the old base is closed; up to the newest trade, nothing is known of
        // the new base's bars, and later trades before it are late ones.
        const TimeNs mark = from.judging_watermark();
        if (mark != TIME_NONE) to.watermark_ = std::max(to.watermark_, mark);
    }

    static void begin_level(Aggregator& to, const engine::PlanGeneration& next, int level,
                            std::vector<TimeNs>& begins, double close) {
        const auto at = static_cast<std::size_t>(level);
        const auto output = static_cast<std::size_t>(to.plan_[level].output);
        const bool went_on = next.levels_before[at] != NO_LEVEL;  // unseen
        const int source = level == 0 ? 1 : next.sources[at];     // a base alone has no other
        Aggregator::Level& state = to.at(level);
        state.covered_to = TIME_NONE;
        state.last_close = close;
        begins[output] = TIME_NONE;
        if (to.newest_ == TIME_NONE) {  // nobody has traded yet
            if (to.genesis_ != TIME_NONE && to.amends()) seed(to, level, close);
            return;
        }
        const TimeNs mark = to.watermark_ == TIME_NONE ? to.newest_ : to.watermark_;
        if (went_on) begins[output] = begin_again(to, level, mark);
        // A new base knows nothing of the trades up to now.
        if (!went_on && level == 0) begins[output] = to.newest_ + 1;
        if (!went_on && level != 0) begins[output] = build(to, next, level, begins, mark);
        // Nor does anybody of those that a longer bar takes still.
        if (is_cut_off(to, level)) begins[output] = std::max(begins[output], to.base_close_);
        // The price of bars whose trades do not count for it.
        if (to.amends() && to.history(level).empty()) to.history(level).restore_close(close);
        // Bars of the old base come before it still.
        const bool is_behind = is_cut_off(to, 0) && (level == 0 || source == 0);
        if (!is_behind) remember_last(to, level, mark);
    }

    /// Of a level that was hidden: nobody keeps what it closed unseen, or since when it was there.
    static TimeNs begin_again(const Aggregator& to, int level, TimeNs mark) noexcept {
        Span open;
        const bool is_open = to.plan_[level].interval->locate(mark, open);
        return std::max(to.newest_ + 1, is_open ? open.open : mark);
    }

    /// The last price up to now, which the first bar of a new level would keep: of what the base has
    /// closed, and of its open bars where these are no part of what comes.
    static double close_before(const Aggregator& from, const engine::PlanGeneration& next) {
        if (next.has_new_base && from.base_open_ && from.base_.bar.has_close())
            return from.base_.bar.close;
        double price = last_close(from, 0);
        if (!next.has_new_base) return price;
        for (const auto* cell = from.older_.front(); cell != nullptr; cell = cell->links.next)
            if (cell->bar.has_close()) price = cell->bar.close;
        return price;
    }

    /// Of what a level has closed.
    static double last_close(const Aggregator& from, int level) {
        const Aggregator::Level& state = from.at(level);
        if (!from.amends()) return state.last_close;
        if (from.plan_[level].output == HIDDEN_LEVEL) {
            // Late trades do not reach its own: what it has closed lies in what it feeds.
            for (int feed = from.plan_[level].first_feed; feed != NO_LEVEL;
                 feed = from.plan_[feed].sibling) {
                if (from.plan_[feed].interval->kind() == IntervalKind::table) continue;  // not all
                const Aggregator::Level& fed = from.at(feed);
                return from.is_open(feed) && fed.bar.has_close() ? fed.bar.close : last_close(from, feed);
            }
            return state.last_close;
        }
        // The level's own is that of the last late trade, or the seed.
        const double kept = from.history(level).last_close();
        return kept == kept ? kept : state.last_close;
    }

    static void seed(Aggregator& to, int level, double price) {
        const Span span = to.genesis_span(level);
        if (span.open >= TIME_MAX) return;
        const int flags = BAR_GENESIS | to.cut_flag(span.open, span.close);
        to.history(level).seed(span, price, static_cast<std::uint16_t>(flags));
    }

    /// Makes the level's open bar of the closed finer ones that are held, and returns since when
    /// its bars are whole. That is said even where nothing is missing: who is made of this level
    /// later must know that nobody has held it before.
    static TimeNs build(Aggregator& to, const engine::PlanGeneration& next, int level,
                        const std::vector<TimeNs>& begins, TimeNs mark) {
        const int source = next.sources[static_cast<std::size_t>(level)];
        Span wanted;
        Span finer;  // the open one of the source, which comes when it closes
        const TimeNs unseen = to.newest_ + 1;  // what comes from then on, nobody has seen
        if (!to.plan_[level].interval->locate(mark, wanted)) return std::min(mark, unseen);
        if (!to.plan_[source].interval->locate(mark, finer)) return std::min(mark, unseen);
        const TimeNs open = open_since(to, next, source, begins);
        if (open > finer.open) return std::max(open, wanted.open);
        Held best{source, finer.open};
        for (int held = source; best.since > wanted.open && held != NO_LEVEL;
             held = next.sources[static_cast<std::size_t>(held)]) {
            const TimeNs since = held_since(to, next, held, begins, finer.open);
            if (since < best.since) best = {held, since};
        }
        if (to.amends()) add_held(to, best.level, level, wanted, finer.open);
        return std::min(std::max(best.since, wanted.open), unseen);
    }

    /// Since when nothing is missing in the open bar of a level.
    static TimeNs open_since(const Aggregator& to, const engine::PlanGeneration& next, int level,
                             const std::vector<TimeNs>& begins) {
        const int output = to.plan_[level].output;
        // Nobody keeps since when a hidden one has been there.
        const bool is_known = output != HIDDEN_LEVEL && (level != 0 || !next.has_new_base);
        return is_known ? begins[static_cast<std::size_t>(output)] : to.newest_ + 1;
    }

    struct Held {
        int level;
        TimeNs since;
    };

    /// Since when all that a level has closed up to `end` is held, or nothing has closed.
    static TimeNs held_since(const Aggregator& to, const engine::PlanGeneration& next, int level,
                             const std::vector<TimeNs>& begins, TimeNs end) {
        const int output = to.plan_[level].output;
        // What a hidden one closes is not kept, and of a new one only its open bar is there.
        if (output == HIDDEN_LEVEL || next.levels_before[static_cast<std::size_t>(level)] == NO_LEVEL)
            return end;
        const TimeNs begin = begins[static_cast<std::size_t>(output)];
        if (!to.amends())
            return std::max(begin, to.at(level).covered_to);
        const History& history = to.history(level);
        const double before = history.close_before();
        if (before != before) return begin;
        TimeNs first = end;  // what was forgotten lies before it
        bool is_first = true;
        history.each([&](const PartialBar& bar, TimeNs, const KeptBar*) {
            if (std::exchange(is_first, false)) first = bar.open_time;
        });
        return std::max(begin, first);
    }

    /// Merges what `held` has kept from `wanted` up to `end`.
    static void add_held(Aggregator& to, int held, int level, Span wanted, TimeNs end) {
        Aggregator::Level& state = to.at(level);
        to.history(held).each([&](const PartialBar& bar, TimeNs, const KeptBar*) {
            if (bar.open_time < wanted.open || bar.open_time >= end || !bar.has_trades()) return;
            if (to.is_open(level)) merge_into(state.bar, bar);
            else (void)begin_with_bars(state.bar, wanted, &bar, &bar + 1);
            to.set_open(level, true);
        });
    }

    /// The last bar that would have closed: where the gap behind it begins.
    static void remember_last(Aggregator& to, int level, TimeNs mark) {
        Aggregator::Level& state = to.at(level);
        Span last;
        if (!to.plan_[level].interval->locate(to.newest_, last)) return;
        if (last.close > mark) {
            // It is open, and whatever lies before it lies before the change.
            if (to.genesis_ != TIME_NONE) state.covered_to = last.open;
            return;
        }
        state.covered_to = last.close;
        if (to.amends() && to.history(level).empty()) stand_in(to, level, last, mark);
    }

    /// The flat bars behind a bar are told of with the next one: they need something to stand on.
    static void stand_in(Aggregator& to, int level, Span span, TimeNs mark) {
        const double price = to.at(level).last_close;
        if (price != price) return;
        PartialBar bar;
        start_bar(bar, span.open, span.close);
        bar.open = bar.high = bar.low = bar.close = price;
        bar.flags = BAR_CLOSED | BAR_INCOMPLETE;
        to.history(level).record(bar);
        to.history(level).mark_given(mark);
    }
};

namespace engine {
using Replanned = SymbolAggregator<Replan>;
}

}  // namespace klineagg
