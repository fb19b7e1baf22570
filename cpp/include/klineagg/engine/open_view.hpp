// What is open in an aggregator, put together when somebody looks; nothing is changed.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/aggregator.hpp"

namespace klineagg {

namespace engine {
struct OpenView;
}

/// Reads the aggregator's state as a friend of it.
template <>
class SymbolAggregator<engine::OpenView> {
public:
    using Aggregator = SymbolAggregator<PartialBar>;
    /// Memory of each level above the base.
    static constexpr std::size_t LEVEL_BYTES = sizeof(Aggregator::Level);

    /// Reused from one symbol to the next, so that looking allocates nothing.
    struct Scratch {
        std::vector<PartialBar> single;                // by level: its one open bar
        std::vector<std::vector<PartialBar>> levels;  // by level: its open bars, where several are
        TimeNs clock = TIME_NONE;  // as it stands; a symbol is told of it when something is due

        void fit(std::size_t count) {
            if (single.size() >= count) return;
            single.resize(count);
            levels.resize(count);
            for (std::vector<PartialBar>& bars : levels) bars.reserve(4);
        }
    };

    /// The earliest end of an open bar of any level; TIME_MAX when none is open.
    static TimeNs next_close(const Aggregator& from) noexcept {
        // Whatever else is open ends behind the watermark, which is in the base bar or behind it,
        // where some base bar does. Usual, and the other levels' memory stays untouched.
        if (from.base_open_ && from.older_.empty() && from.options_->lateness_ns <= 0 &&
            from.genesis_ == TIME_NONE) [[likely]] {
            return from.base_close_;
        }
        TimeNs next = TIME_MAX;
        if (!from.older_.empty()) next = from.older_.front()->bar.close_time;
        if (from.base_open_) next = std::min(next, from.base_close_);
        each_open(from, [&next](const Aggregator::Level& level) {
            next = std::min(next, level.bar.close_time);
        });
        // A genesis bar is closed by the clock too; until then it is the first that is kept.
        if (from.owes_genesis_) [[unlikely]] next = std::min(next, next_genesis(from));
        if (from.genesis_ != TIME_NONE) [[unlikely]] {
            for (const History& history : from.histories_) {
                const KeptBar* const first = history.genesis();
                if (first != nullptr && first->bar.close_time > from.watermark_)
                    next = std::min(next, first->bar.close_time);
            }
        }
        return next;
    }

    // These ask for the memory that open_rows will read, of symbols to come: the last one for what
    // the one before it has brought, each a symbol's work later.
    static void prefetch_base(const Aggregator& from) noexcept {
        const auto* const line = reinterpret_cast<const char*>(&from);
        for (std::size_t at = 0; at < sizeof from; at += 64) __builtin_prefetch(line + at);
    }
    static void prefetch_open(const Aggregator& from) noexcept {
        each_open(from, [](const Aggregator::Level& level) {
            const auto* const line = reinterpret_cast<const char*>(&level.bar);
            for (std::size_t at = 0; at < offsetof(PartialBar, close_key); at += 64)
                __builtin_prefetch(line + at);
        });
    }

    /// Calls sink.bars(output, bars, count, close_before) for every open bar, and sink.gap for open
    /// genesis bars in which nobody traded yet. With a lateness also for the gaps that are open:
    /// before an open bar, behind what is closed.
    template <class Sink>
    static void open_rows(const Aggregator& from, Scratch& scratch, const Sink& sink) {
        scratch.fit(from.level_count());
        if (from.older_.empty()) [[likely]] {
            PartialBar* base = nullptr;
            if (from.base_open_) {
                base = &scratch.single[0];
                copy_bar(*base, from.base_.bar);
                base->close_time = from.base_close_;  // its own field is lowered as a guard
            }
            visit_one(from, scratch, 0, base, sink);
            return;
        }
        std::vector<PartialBar>& base = scratch.levels[0];
        base.clear();
        for (const auto* cell = from.older_.front(); cell != nullptr; cell = cell->links.next)
            base.push_back(cell->bar);
        if (from.base_open_) {
            base.push_back(from.base_.bar);
            base.back().close_time = from.base_close_;  // its own field is lowered as a guard
        }
        visit(from, scratch, 0, sink);
    }

private:
    /// Of the levels above the base.
    template <class Visit>
    static void each_open(const Aggregator& from, Visit&& visit) {
        for (std::uint64_t bits = from.open_levels_; bits != 0; bits &= bits - 1)
            visit(from.coarser_[static_cast<std::size_t>(std::countr_zero(bits))]);
    }

    static TimeNs next_genesis(const Aggregator& from) noexcept {
        TimeNs next = TIME_MAX;
        for (std::size_t i = 0; i < from.level_count(); ++i) {
            const Aggregator::Level& state = from.at(static_cast<int>(i));
            if (from.plan_[i].output == HIDDEN_LEVEL || state.covered_to != TIME_NONE) continue;
            next = std::min(next, from.genesis_span(static_cast<int>(i)).close);
        }
        return next;
    }

    /// `bar`: the one open bar of `level`, nullptr when it has none.
    template <class Sink>
    static void visit_one(const Aggregator& from, Scratch& scratch, int level,
                          const PartialBar* bar, const Sink& sink) {
        const RollupLevel& plan = from.plan_[level];
        if (plan.output != HIDDEN_LEVEL)
            emit(from, scratch, level, bar, bar == nullptr ? 0 : 1, sink);
        for (int feed = plan.first_feed; feed != NO_LEVEL; feed = from.plan_[feed].sibling) {
            const bool is_open = from.is_open(feed);
            const Aggregator::Level& state = from.at(feed);
            PartialBar& up = scratch.single[static_cast<std::size_t>(feed)];
            if (bar == nullptr) {
                visit_one(from, scratch, feed, is_open ? &state.bar : nullptr, sink);
            } else if (is_open && bar->open_time < state.bar.close_time) {
                copy_bar(up, state.bar);
                merge_into(up, *bar);
                visit_one(from, scratch, feed, &up, sink);
            } else if (is_open) {
                scratch.levels[static_cast<std::size_t>(level)].assign(1, *bar);
                roll_up(from, feed, scratch.levels[static_cast<std::size_t>(level)],
                        scratch.levels[static_cast<std::size_t>(feed)]);
                visit(from, scratch, feed, sink);
            } else {
                Span span;
                const bool inside = from.plan_[feed].interval->locate(bar->open_time, span);
                if (inside) (void)begin_with_bars(up, span, bar, bar + 1);
                visit_one(from, scratch, feed, inside ? &up : nullptr, sink);
            }
        }
    }

    template <class Sink>
    static void visit(const Aggregator& from, Scratch& scratch, int level, const Sink& sink) {
        const RollupLevel& plan = from.plan_[level];
        const std::vector<PartialBar>& bars = scratch.levels[static_cast<std::size_t>(level)];
        if (plan.output != HIDDEN_LEVEL) emit(from, scratch, level, bars.data(), bars.size(), sink);
        for (int feed = plan.first_feed; feed != NO_LEVEL; feed = from.plan_[feed].sibling) {
            roll_up(from, feed, bars, scratch.levels[static_cast<std::size_t>(feed)]);
            visit(from, scratch, feed, sink);
        }
    }

    /// The open bars of `level`: what closed finer bars have left in it, and the open finer ones.
    static void roll_up(const Aggregator& from, int level, const std::vector<PartialBar>& finer,
                        std::vector<PartialBar>& bars) {
        const Aggregator::Level& state = from.coarser_[static_cast<std::size_t>(level - 1)];
        bars.clear();
        if (from.is_open(level)) bars.push_back(state.bar);
        for (const PartialBar& bar : finer) {
            if (!bars.empty() && bar.open_time < bars.back().close_time) {
                merge_into(bars.back(), bar);
                continue;
            }
            Span span;
            if (!from.plan_[level].interval->locate(bar.open_time, span)) continue;
            bars.emplace_back();
            (void)begin_with_bars(bars.back(), span, &bar, &bar + 1);
        }
    }

    template <class Sink>
    static void emit(const Aggregator& from, const Scratch& scratch, int level, const PartialBar* bars, std::size_t count,
                     const Sink& sink) {
        const Aggregator::Level& state = from.at(level);
        const int output = from.plan_[level].output;
        if (from.genesis_ != TIME_NONE && state.covered_to == TIME_NONE) [[unlikely]]
            emit_genesis(from, level, bars, count, sink);
        double previous = NO_PRICE;
        bool is_known = false;
        const bool has_gaps = from.options_->lateness_ns > 0 && count != 0 &&
                              from.options_->gaps != GapMode::none;
        TimeNs gap = has_gaps ? first_gap(from, scratch, level, *bars) : TIME_MAX;
        for (const PartialBar* bar = bars; bar != bars + count; ++bar) {
            const bool has_gap = gap < bar->open_time;
            if ((has_gap || !bar->has_close()) && !is_known) [[unlikely]] {
                // Not asked for by others: the history is far away in memory.
                previous = close_before(from, level, state);
            }
            if (has_gap) [[unlikely]]
                from.emit_gaps(from.plan_[level], gap, bar->open_time, previous, 0, sink, BAR_GAP);
            if (has_gaps) gap = bar->close_time;
            const double before = previous;
            is_known = true;
            if (bar->has_close()) previous = bar->close;
            const std::uint16_t cut = from.cut_flag(bar->open_time, bar->close_time);
            if (cut == 0) [[likely]] {
                sink.bars(output, bar, 1, before);
                continue;
            }
            PartialBar flagged = *bar;
            flagged.flags = static_cast<std::uint16_t>(flagged.flags | cut);
            sink.bars(output, &flagged, 1, before);
        }
    }

    /// Where open gaps before the first open bar may begin; TIME_MAX when nothing lies before it.
    static TimeNs first_gap(const Aggregator& from, const Scratch& scratch, int level,
                            const PartialBar& first) noexcept {
        const Aggregator::Level& state = from.at(level);
        TimeNs end = state.covered_to;
        if (from.amends()) {
            end = from.history(level).last_end();
        } else if (end == TIME_NONE && from.genesis_ != TIME_NONE) {
            const Span span = from.genesis_span(level);
            if (span.open < first.open_time) end = span.close;
        }
        if (end == TIME_NONE) return TIME_MAX;
        const TimeNs watermark = std::max(from.judging_watermark(), scratch.clock);
        if (watermark == TIME_NONE) return end;
        Span span;
        const bool inside = from.plan_[level].interval->locate(watermark, span);
        return std::max(end, inside ? span.open : watermark);
    }

    static double close_before(const Aggregator& from, int level,
                               const Aggregator::Level& state) noexcept {
        return from.histories_.empty()
                   ? state.last_close
                   : from.history(level).last_close();
    }

    /// The genesis bar in which nobody has traded yet; it lies before all others.
    template <class Sink>
    static void emit_genesis(const Aggregator& from, int level, const PartialBar* bars,
                             std::size_t count, const Sink& sink) {
        const Span span = from.genesis_span(level);
        if (span.close <= from.watermark_ || span.open >= TIME_MAX) return;
        if (count != 0 && bars->open_time <= span.open) return;
        if (from.amends()) {
            // There is none any more when a bar has closed before it, which no other field says.
            if (from.history(level).genesis() == nullptr) return;
        }
        const Aggregator::Level& state = from.at(level);
        const int flags = BAR_GENESIS | from.cut_flag(span.open, span.close);
        sink.gap(from.plan_[level].output, span, 1, close_before(from, level, state),
                 static_cast<std::uint16_t>(flags), 0);
    }
};

namespace engine {
using OpenBars = SymbolAggregator<OpenView>;
}

}  // namespace klineagg
