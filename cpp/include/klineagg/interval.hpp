// Intervals: where bars begin and end. Fixed periods, calendar months, and tables of
// spans (time zones, sessions) that are computed elsewhere and only looked up here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/fixed_grid.hpp"
#include "klineagg/time.hpp"

namespace klineagg {

namespace detail {
class SpanTable;
}

/// A half-open range of time [open, close).
struct Span {
    TimeNs open = 0;
    TimeNs close = 0;
    friend bool operator==(const Span&, const Span&) = default;
};

enum class IntervalKind : std::uint8_t { fixed, month, table };

// The limits keep every sum of a time and two periods inside int64 (TIME_MAX is the year 2200).
inline constexpr std::size_t INTERVAL_NAME_MAX = 64;
inline constexpr DurationNs INTERVAL_PERIOD_MAX = 10'000 * NS_PER_DAY;
inline constexpr std::int64_t INTERVAL_MONTHS_MAX = 300;
inline constexpr DurationNs INTERVAL_MONTH_PHASE_MAX = 28 * NS_PER_DAY;  // exclusive
inline constexpr std::size_t INTERVAL_SPANS_MAX = std::size_t{1} << 26U;

/// A partition of time into spans, with holes only where a session table has them.
/// Every boundary lies on a whole second, so lateness can be judged on a grid that no
/// set of intervals changes. All functions take times in [TIME_MIN, TIME_MAX].
class Interval {
public:
    /// `<n><unit>[(+|-)<n><unit>...]`: unit s m h d w M; weeks start on Monday 00:00 UTC, `3d`
    /// counts from the epoch, `3M` are quarters; the part after the sign shifts every boundary
    /// (`1d+8h`, `1d+9h30m`, `12M+3M`). Spaces between the parts are dropped from the name.
    /// Throws Error(invalid_interval) with the fields text, position and reason.
    static Interval parse(std::string_view text);

    static Interval fixed(std::string name, DurationNs period, DurationNs phase);
    /// `count` months, counted from year 0, so that 3 are quarters and 12 years. `month_phase`
    /// moves the first month (3: years that begin in April), `phase` the time within it.
    static Interval months(std::string name, std::int64_t count, DurationNs phase,
                           std::int64_t month_phase = 0);
    /// Sorted, disjoint, non-empty spans on whole seconds; touching spans leave no hole.
    /// `grid`: what the boundaries of longer tables that take its place lie on too; 0: only these.
    /// Throws Error(invalid_session_table) with the fields name, row and reason.
    static Interval table(std::string name, std::vector<Span> spans, DurationNs grid = 0);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] IntervalKind kind() const noexcept { return kind_; }
    /// Nanoseconds (fixed), a number of months (month), 0 (table).
    [[nodiscard]] DurationNs period() const noexcept { return period_; }
    [[nodiscard]] DurationNs phase() const noexcept { return phase_; }
    [[nodiscard]] std::int64_t month_phase() const noexcept { return month_phase_; }
    /// The rows of a table; empty for other kinds.
    [[nodiscard]] const std::vector<Span>& spans() const noexcept;

    /// True with the span that holds `time`; false with the hole around it, outside every session
    /// (it reaches to TIME_MIN before the first session and to TIME_MAX behind the last).
    bool locate(TimeNs time, Span& span) const noexcept {
        if (kind_ == IntervalKind::fixed) {
            span.open = cells_.open_of(time);
            span.close = span.open + period_;
            return true;
        }
        return locate_slow(time, span);
    }

    /// How many spans open in [from, to).
    [[nodiscard]] std::int64_t count(TimeNs from, TimeNs to) const noexcept;
    /// The first span with open >= time; {TIME_MAX, TIME_MAX} behind the end of a table.
    [[nodiscard]] Span next(TimeNs time) const noexcept {
        if (kind_ != IntervalKind::fixed) return next_slow(time);
        TimeNs open = cells_.open_of(time);
        open += open < time ? period_ : 0;
        return {open, open + period_};
    }

    /// The coarsest fixed grid {period, phase} on which every boundary lies (months: days).
    struct Grid {
        DurationNs period;
        DurationNs phase;
    };
    [[nodiscard]] Grid grid() const noexcept { return grid_; }
    /// Of a fixed interval: its boundaries.
    [[nodiscard]] const FixedGrid& cells() const noexcept { return cells_; }
    /// True when this (fixed) interval's spans subdivide every span of `coarse`, and its holes.
    [[nodiscard]] bool refines(const Interval& coarse) const noexcept;

    /// The same spans, whatever the names ("60s" and "1m").
    [[nodiscard]] bool same_spans(const Interval& other) const noexcept;
    friend bool operator==(const Interval& a, const Interval& b) noexcept {
        return a.name_ == b.name_ && a.same_spans(b);
    }

private:
    Interval(std::string name, IntervalKind kind, DurationNs period, DurationNs phase);
    bool locate_slow(TimeNs time, Span& span) const noexcept;
    [[nodiscard]] Span next_slow(TimeNs time) const noexcept;
    [[nodiscard]] std::int64_t month_group(TimeNs time) const noexcept;
    [[nodiscard]] TimeNs month_group_open(std::int64_t group) const noexcept;
    [[nodiscard]] std::int64_t opens_before(TimeNs time) const noexcept;

    std::string name_;
    IntervalKind kind_;
    DurationNs period_;
    DurationNs phase_;
    std::int64_t month_phase_ = 0;
    Grid grid_{};
    FixedGrid cells_;  // fixed only
    std::shared_ptr<const detail::SpanTable>
        table_;  // table only; shared, so that copies are cheap
};

}  // namespace klineagg
