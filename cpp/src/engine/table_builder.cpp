#include "klineagg/engine/table_builder.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "klineagg/detail/symbol_router.hpp"

namespace klineagg::engine {

namespace {

/// Runs at one open time: the newest revision is the longest-lived statement about it.
bool before(const BarRow* a, const BarRow* b) noexcept {
    return std::tie(a->open_time, a->close_time, a->revision) <
           std::tie(b->open_time, b->close_time, b->revision);
}

bool same_span(const BarRow* a, const BarRow* b) noexcept {
    return a->open_time == b->open_time && a->close_time == b->close_time;
}

}  // namespace

std::vector<TableBuilder::Series> TableBuilder::sort_by_series(
    std::size_t intervals, std::vector<const BarRow*>& sorted) const {
    // A counting sort: rows are many, series are few, and most rows come in order of time.
    detail::SymbolRouter seen;
    std::vector<std::int32_t> symbols;
    for (const BarRow* row : rows_) {
        if (seen.find(row->symbol) >= 0) continue;
        seen.insert(row->symbol, 0);
        symbols.push_back(row->symbol);
    }
    std::sort(symbols.begin(), symbols.end());
    detail::SymbolRouter places;
    for (std::size_t i = 0; i < symbols.size(); ++i)
        places.insert(symbols[i], static_cast<std::int32_t>(i));
    std::vector<std::size_t> next(intervals * symbols.size() + 1, 0);
    const auto series_of = [&](const BarRow* row) {
        return static_cast<std::size_t>(row->interval) * symbols.size() +
               static_cast<std::size_t>(places.find(row->symbol));
    };
    for (const BarRow* row : rows_) ++next[series_of(row) + 1];
    std::vector<Series> series;
    for (std::size_t i = 0; i + 1 < next.size(); ++i) {
        const std::size_t begin = next[i];
        next[i + 1] += begin;
        if (next[i + 1] == begin) continue;
        series.push_back({symbols[i % symbols.size()],
                          static_cast<std::int16_t>(i / symbols.size()), begin, next[i + 1]});
    }
    sorted.resize(rows_.size());
    for (const BarRow* row : rows_) sorted[next[series_of(row)]++] = row;
    return series;
}

std::size_t TableBuilder::settle(std::vector<const BarRow*>& rows, const Series& series) {
    const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(series.begin);
    const auto end = rows.begin() + static_cast<std::ptrdiff_t>(series.end);
    const auto disordered = std::adjacent_find(begin, end, [](const BarRow* a, const BarRow* b) {
        return !(a->open_time < b->open_time);
    });
    if (disordered == end) return series.end;
    // Stable: of equal revisions (flags that changed without one) the later one stands.
    std::stable_sort(begin, end, before);
    auto kept = begin;
    for (auto row = begin; row != end; ++row) {
        if (kept != begin && same_span(*(kept - 1), *row)) --kept;
        *kept++ = *row;
    }
    return static_cast<std::size_t>(kept - rows.begin());
}

BarTable TableBuilder::build(std::size_t intervals, ArenaKind memory) {
    std::vector<const BarRow*> sorted;
    std::vector<Series> all = sort_by_series(intervals, sorted);
    std::int64_t total = 0;
    for (Series& each : all) {
        each.end = settle(sorted, each);
        total += static_cast<std::int64_t>(each.end - each.begin);
    }
    BarTable table(total, false, memory);
    table.outside_trades.resize(intervals, 0);
    std::vector<BarSeries> series;
    series.reserve(all.size());
    std::int64_t place = 0;
    for (const Series& each : all) {
        const std::size_t count = each.end - each.begin;
        write_rows(table.columns(), place, sorted.data() + each.begin, count);
        const std::int64_t end = place + static_cast<std::int64_t>(count);
        series.push_back({each.symbol, each.interval, place, end});
        place = end;
    }
    publish_rows();
    table.set_series(std::move(series));
    rows_.clear();
    return table;
}

}  // namespace klineagg::engine
