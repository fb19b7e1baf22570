#include "klineagg/engine/checkpoint_state.hpp"

namespace klineagg {

using engine::ByteReader;
using engine::ByteWriter;
using engine::get_bar;
using engine::get_time;
using engine::put_bar;

void engine::AggregatorState::put_level(ByteWriter& to, const Aggregator::Level& level,
                                        bool is_open, TimeNs close) {
    to.put(static_cast<std::uint8_t>(is_open));
    if (is_open) {
        PartialBar bar = level.bar;
        bar.close_time = close;
        put_bar(to, bar);
    }
    to.put(level.covered_to);
    to.put_price(level.last_close);
}

void engine::AggregatorState::put_history(ByteWriter& to, const History& history,
                                          TimeNs forgotten_to) {
    // What nothing reaches any more is forgotten sooner or later: as if it were by now.
    std::uint32_t count = 0;
    std::uint32_t forgotten = 0;
    double close_before = history.close_before();
    double close = close_before;
    bool may_go = true;  // the bars so far
    history.each([&](const PartialBar& bar, TimeNs, const KeptBar* kept) {
        may_go = may_go && (count == 0 || bar.close_time <= forgotten_to);
        if (may_go) {
            forgotten = count;
            close_before = close;
        }
        may_go = may_go && (kept == nullptr || !kept->is_news());
        if (bar.has_close()) close = bar.close;
        ++count;
    });
    to.put_price(close_before);
    to.put(count - forgotten);
    history.each([&](const PartialBar& bar, TimeNs given_to, const KeptBar* kept) {
        if (forgotten != 0) {
            --forgotten;
            return;
        }
        put_bar(to, bar);
        to.put(given_to);
        const bool cuts = kept != nullptr && !kept->revisions.empty();
        const bool changed = kept != nullptr && kept->changed();
        to.put(static_cast<std::uint8_t>((changed ? 1U : 0U) | (cuts ? 2U : 0U)));
        if (!cuts) return;
        const std::size_t place = to.size();
        std::uint32_t revisions = 0;
        to.put(revisions);
        kept->revisions.each([&](const FlatRevision& cut) {
            ++revisions;
            to.put(cut.until);
            to.put(cut.revision);
        });
        to.put_at(place, revisions);
    });
}

void engine::AggregatorState::put(ByteWriter& to, const Aggregator& from, TimeNs clock) {
    // As far as it could be raised without anything closing by it.
    const TimeNs watermark = std::max(from.judging_watermark(), clock);
    to.put(watermark);
    to.put(from.newest());
    to.put(from.genesis_);
    to.put(from.coverage_start_);
    for (std::size_t i = 0; i < from.level_count(); ++i) {
        const auto level = static_cast<int>(i);
        const Aggregator::Level& state = from.at(level);
        put_level(to, state, from.is_open(level), i == 0 ? from.base_close_ : state.bar.close_time);
    }
    std::uint32_t cells = 0;
    for (const auto* cell = from.older_.front(); cell != nullptr; cell = cell->links.next) ++cells;
    to.put(cells);
    for (const auto* cell = from.older_.front(); cell != nullptr; cell = cell->links.next)
        put_bar(to, cell->bar);
    std::uint8_t stretches = 0;
    from.missing_.each([&](TimeNs, TimeNs, TimeNs) { ++stretches; });
    to.put(stretches);
    from.missing_.each([&](TimeNs begin, TimeNs end, TimeNs until) {
        to.put(begin);
        to.put(end);
        to.put(until);
    });
    // A shorter horizon of before matters as long as that of now reaches further back.
    to.put(from.forgotten_to_ > from.horizon_at(watermark) ? from.forgotten_to_ : TIME_NONE);
    const TimeNs reach = from.reach_at(watermark);
    for (const History& history : from.histories_) put_history(to, history, reach);
}

void engine::AggregatorState::check_span(const ByteReader& from, const Aggregator& to, int level,
                                         const PartialBar& bar) {
    Span span;
    const Interval& interval = *to.plan_[level].interval;
    if (engine::is_unwanted(interval)) return;
    const bool inside = interval.locate(bar.open_time, span);
    if (inside && span.open == bar.open_time && span.close == bar.close_time) return;
    // Flat bars in which trades are missing are kept as one; and a finer base that came with a
    // lateness, which may be none by now, has bars of the one before it.
    if (inside && span.open == bar.open_time && span.close <= bar.close_time) return;
    if (interval.kind() != IntervalKind::table) from.fail("a bar that is not one of its interval");
    throw Error(ErrorCode::checkpoint_mismatch,
                "a bar of '" + interval.name() + "' has other boundaries than it has here",
                {{"interval", interval.name()},
                 {"low_ns", std::to_string(bar.open_time)},
                 {"high_ns", std::to_string(bar.close_time)}});
}

Span engine::AggregatorState::trade_times(const Aggregator& of) {
    Span times{TIME_MAX, TIME_MIN};
    const auto see = [&](const PartialBar& bar) {
        if (!bar.has_trades()) return;
        times.open = std::min(times.open, bar.first.time);
        times.close = std::max(times.close, bar.last_time + 1);
    };
    if (of.base_open_) see(of.base_.bar);
    for (std::size_t i = 1; i < of.level_count(); ++i)
        if (of.is_open(static_cast<int>(i))) see(of.at(static_cast<int>(i)).bar);
    for (const auto* cell = of.older_.front(); cell != nullptr; cell = cell->links.next)
        see(cell->bar);
    for (const History& history : of.histories_)
        history.each([&](const PartialBar& bar, TimeNs, const KeptBar*) { see(bar); });
    return times;
}

void engine::AggregatorState::get_level(ByteReader& from, Aggregator& to, int level) {
    Aggregator::Level& state = to.at(level);
    to.set_open(level, from.get_bool());
    if (to.is_open(level)) {
        state.bar = get_bar(from);
        check_span(from, to, level, state.bar);
        // The clock would close it over and over.
        from.check(state.bar.close_time > to.watermark_, "an open bar that is closed");
    }
    state.covered_to = get_time(from);
    state.last_close = from.get<double>();
}

void engine::AggregatorState::get_older(ByteReader& from, Aggregator& to) {
    TimeNs before = to.watermark_;
    for (std::size_t cells = from.get_count(8); cells != 0; --cells) {
        const PartialBar bar = get_bar(from);
        check_span(from, to, 0, bar);
        const bool is_last = to.base_open_ && bar.open_time >= to.base_.bar.open_time;
        from.check(bar.close_time > before && !is_last && to.options_->lateness_ns > 0,
                   "open bars that are not in order");
        before = bar.close_time;
        to.older_.push_back(bar);
    }
}

void engine::AggregatorState::get_missing(ByteReader& from, Aggregator& to) {
    const auto stretches = from.get<std::uint8_t>();
    from.check(stretches <= detail::MissingTimes::STRETCHES_MAX, "too many holes");
    for (std::size_t i = 0; i < stretches; ++i) {
        const TimeNs begin = from.get<TimeNs>();
        const TimeNs end = from.get<TimeNs>();
        const TimeNs until = from.get<TimeNs>();
        from.check(begin >= TIME_MIN && begin <= end && end < until && until <= TIME_MAX,
                   "a hole that ends before it begins");
        to.missing_.add(begin, end, until);
    }
}

void engine::AggregatorState::get_history(ByteReader& from, Aggregator& to, int level) {
    History& history = to.history(level);
    history.restore_close(from.get<double>());
    // In the order in which they closed: with a lateness, a bar of the base before a finer one may
    // close behind bars that late trades made within its span.
    for (std::size_t bars = from.get_count(8); bars != 0; --bars) {
        const PartialBar bar = get_bar(from);
        if (to.plan_[level].output != HIDDEN_LEVEL) check_span(from, to, level, bar);
        const TimeNs given_to = get_time(from);
        const auto marks = from.get<std::uint8_t>();
        from.check(marks <= 3, "an unknown mark of a bar");
        KeptBar& kept = history.restore(bar, given_to, (marks & 1U) != 0);
        if ((marks & 2U) == 0) continue;
        TimeNs until = bar.close_time;
        for (std::size_t cuts = from.get_count(12); cuts != 0; --cuts) {
            const TimeNs next = get_time(from);
            from.check(next >= until, "flat bars that are not in order");
            until = next;
            history.restore_flats(kept, {until, from.get<std::int32_t>()});
        }
    }
}

void engine::AggregatorState::get(ByteReader& from, Aggregator& to) {
    to.watermark_ = get_time(from);
    to.newest_ = get_time(from);
    to.genesis_ = get_time(from);
    to.coverage_start_ = get_time(from);
    to.has_flat_rows_ = to.has_flat_rows_ || to.genesis_ != TIME_NONE;
    to.owes_genesis_ = to.genesis_ != TIME_NONE && !to.amends();
    for (std::size_t i = 0; i < to.level_count(); ++i) get_level(from, to, static_cast<int>(i));
    if (to.base_open_) {
        to.base_close_ = to.base_.bar.close_time;
        from.check(to.newest() == to.newest_, "a newest trade that is not the newest");
    }
    get_older(from, to);
    get_missing(from, to);
    to.forgotten_to_ = get_time(from);
    for (std::size_t i = 0; i < to.histories_.size(); ++i) {
        get_history(from, to, static_cast<int>(i));
        to.has_news_ = to.has_news_ || to.histories_[i].news() != nullptr;
    }
    if (to.options_->lateness_ns > 0 && to.watermark_ != TIME_NONE) {
        Span span;
        to.plan_->interval->locate(to.watermark_, span);
        to.raise_at_ = span.close + to.options_->lateness_ns;
    }
    to.guard_base();
}

}  // namespace klineagg
