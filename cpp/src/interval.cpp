#include "klineagg/interval.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>

#include "klineagg/detail/span_table.hpp"
#include "klineagg/error.hpp"

namespace klineagg {
namespace {

constexpr std::int64_t MONTHS_PER_YEAR = 12;

// C++ division rounds towards zero; before 1970 that would merge two spans into one.
constexpr std::int64_t floor_div(std::int64_t value, std::int64_t divisor) noexcept {
    const std::int64_t quotient = value / divisor;
    return quotient - ((value % divisor < 0) ? 1 : 0);
}

constexpr std::int64_t floor_mod(std::int64_t value, std::int64_t divisor) noexcept {
    return value - (floor_div(value, divisor) * divisor);
}

/// Months since January of year 0 of the UTC day that holds `time`.
std::int64_t month_of(TimeNs time) noexcept {
    const std::chrono::sys_days day{std::chrono::days{floor_div(time, NS_PER_DAY)}};
    const std::chrono::year_month_day date{day};
    return (std::int64_t{static_cast<int>(date.year())} * MONTHS_PER_YEAR) +
           std::int64_t{static_cast<unsigned>(date.month())} - 1;
}

TimeNs month_open(std::int64_t month) noexcept {
    const std::chrono::year_month_day first{
        std::chrono::year{static_cast<int>(floor_div(month, MONTHS_PER_YEAR))},
        std::chrono::month{static_cast<unsigned>(floor_mod(month, MONTHS_PER_YEAR) + 1)},
        std::chrono::day{1}};
    return std::chrono::sys_days{first}.time_since_epoch().count() * NS_PER_DAY;
}

[[noreturn]] void refuse(const std::string& name, const std::string& reason) {
    throw Error(ErrorCode::invalid_interval, "interval '" + name + "': " + reason,
                {{"text", name}, {"reason", reason}});
}

void check_name(const std::string& name) {
    if (name.empty()) refuse(name, "the name is empty");
    if (name.size() > INTERVAL_NAME_MAX) {
        refuse(name.substr(0, INTERVAL_NAME_MAX) + "...", "the name is longer than 64 bytes");
    }
    // Control characters in a name would break tables and logs that print it.
    const bool printable = std::all_of(name.begin(), name.end(), [](char letter) {
        const auto byte = static_cast<unsigned char>(letter);
        return byte >= 0x20 && byte != 0x7f;
    });
    if (!printable) refuse("?", "the name has control characters");
}

[[noreturn]] void refuse_row(const std::string& name, std::size_t row, const std::string& reason) {
    throw Error(ErrorCode::invalid_session_table,
                "sessions '" + name + "', row " + std::to_string(row) + ": " + reason,
                {{"name", name}, {"row", std::to_string(row)}, {"reason", reason}});
}

void check_rows(const std::string& name, const std::vector<Span>& spans) {
    if (spans.empty()) refuse_row(name, 0, "the table is empty");
    if (spans.size() > INTERVAL_SPANS_MAX) {
        refuse_row(name, INTERVAL_SPANS_MAX, "the table has more than 2^26 rows");
    }
    TimeNs previous_close = TIME_MIN;
    for (std::size_t row = 0; row < spans.size(); ++row) {
        const auto [open, close] = spans[row];
        if (open < TIME_MIN || close > TIME_MAX) refuse_row(name, row, "outside 1900 to 2200");
        if (open >= close) refuse_row(name, row, "it closes before it has opened");
        if (open < previous_close) refuse_row(name, row, "it opens before the row above closes");
        if (open % NS_PER_SECOND != 0 || close % NS_PER_SECOND != 0) {
            refuse_row(name, row, "not on a whole second");
        }
        previous_close = close;
    }
}

Interval::Grid grid_of(const std::vector<Span>& spans) noexcept {
    const TimeNs first = spans.front().open;
    // Distances from the first boundary; unsigned, since 1900 to 2200 exceeds int64.
    const auto distance = [first](TimeNs boundary) {
        return static_cast<std::uint64_t>(boundary) - static_cast<std::uint64_t>(first);
    };
    std::uint64_t period = distance(spans.front().close);
    for (const Span& span : spans) {
        for (const TimeNs boundary : {span.open, span.close}) {
            // The remainder is nearly always zero, and much cheaper than a gcd.
            if (distance(boundary) % period != 0) period = std::gcd(period, distance(boundary));
        }
    }
    // Keeps sums with the period inside int64, as for every other interval; a divisor of a grid
    // is a grid too.
    if (period > static_cast<std::uint64_t>(INTERVAL_PERIOD_MAX)) {
        period = std::gcd(period, static_cast<std::uint64_t>(NS_PER_DAY));
    }
    const auto signed_period = static_cast<DurationNs>(period);
    return {signed_period, floor_mod(first, signed_period)};
}

}  // namespace

Interval::Interval(std::string name, IntervalKind kind, DurationNs period, DurationNs phase)
    : name_(std::move(name)), kind_(kind), period_(period), phase_(phase), grid_{period, phase} {
    if (kind == IntervalKind::fixed) cells_ = FixedGrid(period, phase);
}

Interval Interval::fixed(std::string name, DurationNs period, DurationNs phase) {
    check_name(name);
    if (period < NS_PER_SECOND) refuse(name, "the period is shorter than 1s");
    if (period > INTERVAL_PERIOD_MAX) refuse(name, "the period is longer than 10000d");
    if (period % NS_PER_SECOND != 0 || phase % NS_PER_SECOND != 0) {
        refuse(name, "period and offset must be whole seconds");
    }
    return {std::move(name), IntervalKind::fixed, period, floor_mod(phase, period)};
}

Interval Interval::months(std::string name, std::int64_t count, DurationNs phase,
                          std::int64_t month_phase) {
    check_name(name);
    if (count < 1) refuse(name, "it needs at least one month");
    if (count > INTERVAL_MONTHS_MAX) refuse(name, "it is longer than 300M");
    if (phase % NS_PER_SECOND != 0) refuse(name, "the offset must be whole seconds");
    // Above 28 days an offset could pass the next boundary in some months and not in others.
    if (phase <= -INTERVAL_MONTH_PHASE_MAX || phase >= INTERVAL_MONTH_PHASE_MAX) {
        refuse(name, "the offset within the month must be less than 28d");
    }
    Interval made{std::move(name), IntervalKind::month, count, phase};
    made.month_phase_ = floor_mod(month_phase, count);
    made.grid_ = {NS_PER_DAY, floor_mod(phase, NS_PER_DAY)};
    return made;
}

Interval Interval::table(std::string name, std::vector<Span> spans, DurationNs grid) {
    check_name(name);
    check_rows(name, spans);
    if (grid < 0 || grid % NS_PER_SECOND != 0) refuse(name, "its grid is not of whole seconds");
    Interval made{std::move(name), IntervalKind::table, 0, 0};
    made.grid_ = grid_of(spans);
    made.grid_.period = std::gcd(made.grid_.period, grid);
    made.grid_.phase = floor_mod(made.grid_.phase, made.grid_.period);
    made.table_ = std::make_shared<const detail::SpanTable>(std::move(spans));
    return made;
}

const std::vector<Span>& Interval::spans() const noexcept {
    static const std::vector<Span> none;
    return table_ ? table_->spans() : none;
}

std::int64_t Interval::month_group(TimeNs time) const noexcept {
    return floor_div(month_of(time - phase_) - month_phase_, period_);
}

TimeNs Interval::month_group_open(std::int64_t group) const noexcept {
    return month_open((group * period_) + month_phase_) + phase_;
}

bool Interval::locate_slow(TimeNs time, Span& span) const noexcept {
    if (kind_ == IntervalKind::month) {
        const std::int64_t group = month_group(time);
        span = {month_group_open(group), month_group_open(group + 1)};
        return true;
    }
    const std::vector<Span>& rows = table_->spans();
    const std::size_t after = table_->opens_before(time + 1);
    if (after > 0 && time < rows[after - 1].close) {
        span = rows[after - 1];
        return true;
    }
    span.open = after > 0 ? rows[after - 1].close : TIME_MIN;
    span.close = after < rows.size() ? rows[after].open : TIME_MAX;
    return false;
}

std::int64_t Interval::opens_before(TimeNs time) const noexcept {
    switch (kind_) {
        case IntervalKind::fixed: return floor_div(time - 1 - phase_, period_) + 1;
        case IntervalKind::month: return month_group(time - 1) + 1;
        case IntervalKind::table: break;
    }
    return static_cast<std::int64_t>(table_->opens_before(time));
}

std::int64_t Interval::count(TimeNs from, TimeNs to) const noexcept {
    return to <= from ? 0 : opens_before(to) - opens_before(from);
}

Span Interval::next_slow(TimeNs time) const noexcept {
    if (kind_ == IntervalKind::table) {
        const std::size_t row = table_->opens_before(time);
        const std::vector<Span>& rows = table_->spans();
        return row < rows.size() ? rows[row] : Span{TIME_MAX, TIME_MAX};
    }
    Span span;
    locate(time, span);
    if (span.open < time) locate(span.close, span);
    return span;
}

bool Interval::refines(const Interval& coarse) const noexcept {
    if (kind_ != IntervalKind::fixed) return same_spans(coarse);
    const Grid target = coarse.grid();
    return target.period % period_ == 0 && floor_mod(target.phase - phase_, period_) == 0;
}

bool Interval::same_spans(const Interval& other) const noexcept {
    if (kind_ != other.kind_) return false;
    if (kind_ == IntervalKind::table) return table_ == other.table_ || spans() == other.spans();
    return period_ == other.period_ && phase_ == other.phase_ && month_phase_ == other.month_phase_;
}

}  // namespace klineagg
