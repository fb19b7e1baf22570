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
        forget_unreachable(from, clock);
        from.unguard_base();
        to.watermark_ = from.watermark_;
        to.newest_ = from.newest();
        to.genesis_ = from.genesis_;
        to.owes_genesis_ = to.genesis_ != TIME_NONE && !from.amends();
        to.has_flat_rows_ = to.has_flat_rows_ || from.genesis_ != TIME_NONE;
        to.has_news_ = from.has_news_;
        to.older_ = std::move(from.older_);
        to.missing_ = std::move(from.missing_);
        to.coverage_start_ = from.coverage_start_;
        to.histories_.clear();
        for (std::size_t i = 0; i < next.levels_before.size(); ++i) {
            const int before = next.levels_before[i];
            const auto at = static_cast<std::size_t>(before);
            if (before != NO_LEVEL) to.at(static_cast<int>(i)) = from.at(before);
            if (!from.amends()) continue;
            if (before == NO_LEVEL) to.histories_.emplace_back(pool);
            else to.histories_.emplace_back(std::move(from.histories_[at]));
        }
        const bool keeps_bars = from.options_->lateness_ns > 0 || to.options_->lateness_ns > 0;
        if (!next.has_new_base || keeps_bars) to.base_close_ = from.base_close_;
        if (next.has_new_base && keeps_bars) keep_base(from, to, next);
        else if (next.has_new_base) demote_base(from, to, next);
        // Sources first: a level may be made from one that is new too.
        const auto visit = [&](auto&& self, int level) -> void {
            if (comes(from, next, level)) begin_level(to, next, level, begins);
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
    /// may be there still, and how much depends on how the trades came.
    static void forget_unreachable(Aggregator& from, TimeNs clock) noexcept {
        const DurationNs horizon = from.options_->amend_horizon_ns;
        const TimeNs watermark = std::max(from.judging_watermark(), clock);
        if (horizon == HORIZON_UNLIMITED || watermark == TIME_NONE) return;
        for (History& history : from.histories_) history.forget_all_before(watermark - horizon);
    }

    /// With a lateness several bars of the old base may be open. They stay what they are, among those
    /// of the new one: each covers several of its spans, and takes the trades of all of them. The
    /// intervals that are finer begin behind the last of them.
    static void keep_base(const Aggregator& from, Aggregator& to,
                          const engine::PlanGeneration& next) {
        for (std::size_t i = 1; i < next.levels_before.size(); ++i) {
            if (next.levels_before[i] == 0) to.coarser_[i - 1].active = false;
        }
        to.base_ = from.base_;
        to.base_.covered_to = TIME_NONE;
    }

    /// Since when nothing is missing in what a new base makes.
    static TimeNs begin_of_base(const Aggregator& to) noexcept {
        return to.base_.active ? std::max(to.newest_ + 1, to.base_close_) : to.newest_ + 1;
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
        // What closed under the old base is closed; up to the newest trade, nothing is known of
        // the new base's bars, and later trades before it are late ones.
        const TimeNs mark = from.judging_watermark();
        if (mark != TIME_NONE) to.watermark_ = std::max(to.watermark_, mark);
    }

    static void begin_level(Aggregator& to, const engine::PlanGeneration& next, int level,
                            std::vector<TimeNs>& begins) {
        const auto at = static_cast<std::size_t>(level);
        const auto output = static_cast<std::size_t>(to.plan_[level].output);
        const bool went_on = next.levels_before[at] != NO_LEVEL;  // unseen
        const int source = level == 0 ? 1 : next.sources[at];     // a base alone has no other
        Aggregator::Level& state = to.at(level);
        state.covered_to = TIME_NONE;
        state.last_close = close_before(to, next, level, source);
        begins[output] = TIME_NONE;
        if (to.newest_ == TIME_NONE) {  // nobody has traded yet
            if (to.genesis_ != TIME_NONE && to.amends()) seed(to, level, state.last_close);
            return;
        }
        const TimeNs mark = to.watermark_ == TIME_NONE ? to.newest_ : to.watermark_;
        if (went_on) begins[output] = begin_again(to, level, mark);
        // A new base knows nothing of the trades up to now.
        if (!went_on && level == 0) begins[output] = begin_of_base(to);
        if (!went_on && level != 0) begins[output] = build(to, next, level, begins, mark);
        // Bars of the old base come before it still.
        const bool is_behind = next.has_new_base && to.base_.active && (level == 0 || source == 0);
        if (!is_behind) remember_last(to, level, mark);
    }

    /// Of a level that was hidden: nobody keeps what it closed unseen, or since when it was there.
    static TimeNs begin_again(const Aggregator& to, int level, TimeNs mark) noexcept {
        Span open;
        const bool is_open = to.plan_[level].interval->locate(mark, open);
        return std::max(to.newest_ + 1, is_open ? open.open : mark);
    }

    /// What the first bar of a new level would keep.
    static double close_before(const Aggregator& to, const engine::PlanGeneration& next, int level,
                               int source) {
        if (next.has_new_base && (level == 0 || source == 0)) {
            // The trades up to now lie in the bar that was the open one of the old base.
            for (std::size_t i = 1; i < next.levels_before.size(); ++i) {
                if (next.levels_before[i] != 0) continue;
                const Aggregator::Level& demoted = to.coarser_[i - 1];
                if (demoted.active && demoted.bar.has_close()) return demoted.bar.close;
            }
        }
        return last_close(to, source);
    }

    static double last_close(const Aggregator& to, int level) {
        if (static_cast<std::size_t>(level) >= to.level_count()) return NO_PRICE;
        const Aggregator::Level& state =
            level == 0 ? to.base_ : to.coarser_[static_cast<std::size_t>(level - 1)];
        // With amendments the level's own is that of the last late trade, or the seed.
        const double kept = to.amends() ? to.histories_[static_cast<std::size_t>(level)].last_close()
                                        : NO_PRICE;
        return kept == kept ? kept : state.last_close;
    }

    static void seed(Aggregator& to, int level, double price) {
        const Span span = to.genesis_span(level);
        if (span.open >= TIME_MAX) return;
        const int flags = BAR_GENESIS | to.cut_flag(span.open, span.close);
        to.history(level).seed(span, price, static_cast<std::uint16_t>(flags));
    }

    /// Makes the level's open bar of the closed finer ones that are held, and returns since when
    /// it is whole.
    static TimeNs build(Aggregator& to, const engine::PlanGeneration& next, int level,
                        const std::vector<TimeNs>& begins, TimeNs mark) {
        const int source = next.sources[static_cast<std::size_t>(level)];
        Span wanted;
        Span finer;
        if (!to.plan_[level].interval->locate(mark, wanted)) return TIME_NONE;
        if (!to.plan_[source].interval->locate(mark, finer)) return TIME_NONE;
        const int output = to.plan_[source].output;
        TimeNs since = output == HIDDEN_LEVEL ? TIME_NONE : begins[static_cast<std::size_t>(output)];
        if (source == 0 && next.has_new_base) since = begin_of_base(to);
        // The level that was there before; of one that is new, only its open bar is there.
        int held = source;
        while (held != 0 && next.levels_before[static_cast<std::size_t>(held)] == NO_LEVEL)
            held = next.sources[static_cast<std::size_t>(held)];
        if (held != 0 || !next.has_new_base)
            since = std::max(since, add_held(to, held, level, {wanted, finer}));
        return since <= wanted.open ? TIME_NONE : since;
    }

    struct Open {
        Span wanted;  // the new level's bar
        Span finer;   // the open one of its source, which comes when it closes
    };

    /// Merges what `held` has kept; returns since when nothing of it is missing.
    static TimeNs add_held(Aggregator& to, int held, int level, const Open& open) {
        Aggregator::Level& state = to.at(level);
        if (!to.amends() || to.plan_[held].output == HIDDEN_LEVEL) {
            // Nothing is kept; it is whole when nothing closed since it began.
            const bool is_known = to.plan_[held].output != HIDDEN_LEVEL;
            const bool none = is_known && to.at(held).covered_to <= open.wanted.open;
            return none ? TIME_NONE : open.finer.open;
        }
        const History& history = to.history(held);
        const double before = history.close_before();
        TimeNs first = open.finer.open;
        bool is_first = true;
        history.each([&](const PartialBar& bar, TimeNs, const KeptBar*) {
            if (std::exchange(is_first, false)) first = bar.open_time;
            if (bar.open_time < open.wanted.open || bar.open_time >= open.finer.open ||
                !bar.has_trades())
                return;
            if (state.active) merge_into(state.bar, bar);
            else (void)begin_with_bars(state.bar, open.wanted, &bar, &bar + 1);
            state.active = true;
        });
        // What was forgotten may have lain in the bar.
        return before == before && (is_first || first > open.wanted.open) ? first : TIME_NONE;
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
