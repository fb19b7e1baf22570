#include "klineagg/engine/table_builder.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>
#include <utility>

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

TableBuilder::TableBuilder(std::size_t rows_max)
    : added_(rows_max * sizeof(Added)), rows_(reinterpret_cast<Added*>(added_.data())) {}

std::int32_t TableBuilder::see(std::int32_t symbol) {
    const auto place = static_cast<std::int32_t>(symbols_.size());
    seen_.insert(symbol, place);
    symbols_.push_back(symbol);
    return place;
}

std::vector<TableBuilder::Series> TableBuilder::sort_by_series(std::size_t intervals,
                                                               std::span<Sorted> sorted) const {
    // A counting sort: rows are many, series are few, and most rows come in order of time.
    const std::size_t count = symbols_.size();
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [this](std::size_t a, std::size_t b) { return symbols_[a] < symbols_[b]; });
    std::vector<std::size_t> ranks(count);
    for (std::size_t i = 0; i < count; ++i) ranks[order[i]] = i;
    std::vector<std::size_t> next(intervals * count + 1, 0);
    const auto series_of = [&](const Added& added) {
        return static_cast<std::size_t>(added.interval) * count +
               ranks[static_cast<std::size_t>(added.place)];
    };
    for (std::size_t i = 0; i < size_; ++i) ++next[series_of(rows_[i]) + 1];
    std::vector<Series> series;
    for (std::size_t i = 0; i + 1 < next.size(); ++i) {
        const std::size_t begin = next[i];
        next[i + 1] += begin;
        if (next[i + 1] == begin) continue;
        series.push_back({symbols_[order[i % count]], static_cast<std::int16_t>(i / count), begin,
                          next[i + 1]});
    }
    for (std::size_t i = 0; i < size_; ++i)
        sorted[next[series_of(rows_[i])]++] = {rows_[i].row, rows_[i].open_time};
    return series;
}

std::size_t TableBuilder::settle(std::span<Sorted> rows, const Series& series) {
    const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(series.begin);
    const auto end = rows.begin() + static_cast<std::ptrdiff_t>(series.end);
    const auto disordered = std::adjacent_find(begin, end, [](const Sorted& a, const Sorted& b) {
        return !(a.open_time < b.open_time);
    });
    if (disordered == end) return series.end;
    // Stable: of equal revisions (flags that changed without one) the later one stands.
    std::stable_sort(begin, end,
                     [](const Sorted& a, const Sorted& b) { return before(a.row, b.row); });
    auto kept = begin;
    for (auto row = begin; row != end; ++row) {
        if (kept != begin && same_span((kept - 1)->row, row->row)) --kept;
        *kept++ = *row;
    }
    return static_cast<std::size_t>(kept - rows.begin());
}

void TableBuilder::write(const BarColumns& to, const std::vector<Series>& all,
                         std::span<const Sorted> sorted) {
    // Whole lines of columns, across the ends of series, while the rows behind them come.
    constexpr std::size_t ROWS = 64;
    std::array<const BarRow*, 2 * ROWS> rows;
    std::size_t size = 0;
    std::int64_t place = 0;
    const auto flush = [&](std::size_t count) {
        write_rows(to, place, rows.data(), count);
        place += static_cast<std::int64_t>(count);
        std::copy(rows.begin() + count, rows.begin() + size, rows.begin());
        size -= count;
    };
    for (const Series& each : all) {
        for (std::size_t i = each.begin; i < each.end; ++i) {
            const auto* const line = reinterpret_cast<const char*>(sorted[i].row);
            for (std::size_t at = 0; at < sizeof(BarRow); at += 64) __builtin_prefetch(line + at);
            rows[size++] = sorted[i].row;
            if (size == rows.size()) flush(ROWS);
        }
    }
    while (size != 0) flush(std::min(size, ROWS));
}

BarTable TableBuilder::build(std::size_t intervals, ArenaKind memory) {
    const Arena room(size_ * sizeof(Sorted));
    const std::span<Sorted> sorted(reinterpret_cast<Sorted*>(room.data()), size_);
    std::vector<Series> all = sort_by_series(intervals, sorted);
    std::int64_t total = 0;
    std::vector<BarSeries> series;
    series.reserve(all.size());
    for (Series& each : all) {
        each.end = settle(sorted, each);
        const std::int64_t begin = total;
        total += static_cast<std::int64_t>(each.end - each.begin);
        series.push_back({each.symbol, each.interval, begin, total});
    }
    BarTable table(total, false, memory);
    table.outside_trades.resize(intervals, 0);
    write(table.columns(), all, sorted);
    publish_rows();
    table.set_series(std::move(series));
    size_ = 0;
    return table;
}

}  // namespace klineagg::engine
