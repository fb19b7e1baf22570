#include "klineagg/detail/layout.hpp"

#include <algorithm>
#include <unordered_map>

namespace klineagg::detail {

namespace {

/// What is open at one level between two slices, and the rows made so far.
struct OpenSpan {
    bool active = false;
    TimeNs open_time = TIME_NONE;
    TimeNs close_time = TIME_NONE;
};

OpenSpan open_at(const RollupLevel& level, TimeNs time) {
    Span span;
    (void)level.interval->locate(time, span);  // plain streams have no sessions
    return {true, span.open, span.close};
}

/// Rows of one level at the seam before a slice and inside it. A slice holds its first bar back
/// for the seam and its last one stays open; only slice 0 goes on where the state before it was.
struct SliceRows {
    std::int64_t seam;
    std::int64_t own;
};

SliceRows rows_of(const OpenedBars& opened, const OpenSpan& before, bool held_back) {
    if (opened.count == 0) return {0, 0};
    const bool same = before.active && before.open_time == opened.first_open;
    const std::int64_t tail = before.active && !same ? 1 : 0;  // the bar before it ends
    if (!held_back) return {0, tail + opened.count - 1};
    const std::int64_t head = opened.count > 1 ? 1 : 0;
    return {tail + head, std::max<std::int64_t>(opened.count - 2, 0)};
}

}  // namespace

Layout lay_out_plain(const PassContext& context, const std::vector<Slice>& slices,
                     std::int32_t symbol, TimeNs newest, bool finish) {
    const RollupPlan& plan = *context.plan;
    const AggregatorOptions& options = context.options->aggregator;
    Layout layout;
    layout.symbol = symbol;
    std::vector<OpenSpan> open(plan.levels().size());
    if (newest != TIME_NONE) {
        for (std::size_t level = 0; level < open.size(); ++level)
            open[level] = open_at(plan.levels()[level], newest);
    }
    std::vector<std::int64_t> rows(plan.output_count(), 0);
    for (std::size_t k = 0; k < slices.size(); ++k) {
        layout.seams.push_back(rows);
        layout.slices.push_back(rows);
        const std::int32_t place = slices[k].place_of(symbol);
        if (place < 0) continue;
        const auto index = static_cast<std::size_t>(place);
        for (std::size_t level = 0; level < open.size(); ++level) {
            const OpenedBars& opened = slices[k].counter().opened(index, static_cast<int>(level));
            const SliceRows made = rows_of(opened, open[level], k > 0);
            if (opened.count > 0) open[level] = open_at(plan.levels()[level], opened.last_open);
            const int output = plan.levels()[level].output;
            if (output == HIDDEN_LEVEL) continue;
            layout.slices[k][static_cast<std::size_t>(output)] += made.seam;
            rows[static_cast<std::size_t>(output)] += made.seam + made.own;
        }
    }
    layout.rows_before_end = rows;
    if (finish) {
        for (std::size_t level = 0; level < open.size(); ++level) {
            const int output = plan.levels()[level].output;
            if (output == HIDDEN_LEVEL || !open[level].active) continue;
            const bool closes = options.coverage_end != TIME_NONE &&
                                open[level].close_time <= options.coverage_end;
            if (closes || options.include_open) ++rows[static_cast<std::size_t>(output)];
        }
    }
    layout.rows = std::move(rows);
    return layout;
}

std::optional<Disorder> first_disorder(const std::vector<Slice>& slices, std::size_t count) {
    std::optional<Disorder> first;
    std::unordered_map<std::int32_t, TimeNs> newest;
    for (std::size_t k = 0; k < count; ++k) {
        for (std::size_t place = 0; place < slices[k].symbols().size(); ++place) {
            const SliceSymbol& seen = slices[k].symbols()[place];
            TimeNs& before = newest.try_emplace(seen.symbol, TIME_NONE).first->second;
            if (k > 0 && seen.first.time < before && (!first || seen.first.row < first->place.row))
                first = Disorder{seen.symbol, seen.first, before};
            before = std::max(before, slices[k].newest(place));
        }
    }
    return first;
}

Layout lay_out(const PassContext& context, std::vector<Slice>& slices, std::int32_t symbol,
               SymbolAggregator<TimeBar> times, bool finish) {
    const std::size_t outputs = context.plan->output_count();
    Layout layout;
    layout.symbol = symbol;
    std::vector<std::int64_t> rows(outputs, 0);
    const CountSink sink{rows.data()};
    for (std::size_t k = 0; k < slices.size(); ++k) {
        layout.seams.push_back(rows);
        const std::int32_t place = slices[k].place_of(symbol);
        if (place < 0) {
            layout.slices.push_back(rows);
            continue;
        }
        const auto index = static_cast<std::size_t>(place);
        if (k == 0) {
            times = std::move(slices[k].times(index));
        } else {
            times.absorb(slices[k].times(index), sink);
        }
        layout.slices.push_back(rows);
        const std::int64_t* counted = slices[k].counts().data() + index * outputs;
        for (std::size_t i = 0; i < outputs; ++i) rows[i] += counted[i];
    }
    layout.rows_before_end = rows;
    if (finish) times.finish(sink);
    layout.rows = std::move(rows);
    return layout;
}

BarTable place_rows(std::vector<Layout>& layouts, std::size_t outputs, bool with_partials) {
    std::int64_t total = 0;
    for (Layout& layout : layouts) layout.base.resize(outputs, 0);
    for (std::size_t output = 0; output < outputs; ++output) {
        for (Layout& layout : layouts) {
            layout.base[output] = total;
            total += layout.rows[output];
        }
    }
    BarTable table(total, with_partials);
    table.outside_trades.resize(outputs, 0);
    for (std::size_t output = 0; output < outputs; ++output) {
        for (const Layout& layout : layouts) {
            const std::int64_t begin = layout.base[output];
            const std::int64_t end = begin + layout.rows[output];
            if (begin == end) continue;
            table.name_series({layout.symbol, static_cast<std::int16_t>(output), begin, end});
        }
    }
    return table;
}

}  // namespace klineagg::detail
