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

TableBuilder::TableBuilder(std::size_t rows_max, std::size_t intervals)
    : added_(rows_max * sizeof(Added)),
      rows_(reinterpret_cast<Added*>(added_.data())),
      intervals_(intervals) {}

std::int32_t TableBuilder::see(std::int32_t symbol) {
    const auto place = static_cast<std::int32_t>(symbols_.size());
    series_.resize(series_.size() + intervals_);
    symbols_.push_back(symbol);
    places_.insert(symbol, place);
    return place;
}

std::size_t TableBuilder::settle(std::span<const BarRow*> rows) {
    // Stable: of equal revisions (flags that changed without one) the later one stands.
    std::stable_sort(rows.begin(), rows.end(), before);
    auto kept = rows.begin();
    for (const BarRow* const row : rows) {
        if (kept != rows.begin() && same_span(kept[-1], row)) --kept;
        *kept++ = row;
    }
    return static_cast<std::size_t>(kept - rows.begin());
}

void TableBuilder::write(const BarColumns& to, const std::vector<BarSeries>& all,
                         const std::vector<std::size_t>& begins, const BarRow* const* sorted) {
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
    for (std::size_t k = 0; k < all.size(); ++k) {
        const BarRow* const* const first = sorted + begins[k];
        const BarRow* const* const end = first + (all[k].end - all[k].begin);
        for (const BarRow* const* row = first; row != end; ++row) {
            const auto* const line = reinterpret_cast<const char*>(*row);
            for (std::size_t at = 0; at < sizeof(BarRow); at += 64) __builtin_prefetch(line + at);
            rows[size++] = *row;
            if (size == rows.size()) flush(ROWS);
        }
    }
    while (size != 0) flush(std::min(size, ROWS));
}

BarTable TableBuilder::build(ArenaKind memory) {
    const Arena room(size_ * sizeof(const BarRow*));
    auto* const sorted = reinterpret_cast<const BarRow**>(room.data());
    // A counting sort: rows are many, series are few, and most rows come in order of time.
    std::vector<std::size_t> order(symbols_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [this](std::size_t a, std::size_t b) { return symbols_[a] < symbols_[b]; });
    std::vector<std::size_t> next(series_.size());
    std::size_t begin = 0;
    for (std::size_t interval = 0; interval < intervals_; ++interval)
        for (const std::size_t place : order)
            next[place * intervals_ + interval] =
                std::exchange(begin, begin + series_[place * intervals_ + interval].rows);
    for (std::size_t i = 0; i < size_; ++i) sorted[next[rows_[i].series]++] = rows_[i].row;

    std::vector<BarSeries> all;
    std::vector<std::size_t> begins;  // in `sorted`
    std::int64_t total = 0;
    for (std::size_t interval = 0; interval < intervals_; ++interval) {
        for (const std::size_t place : order) {
            const std::size_t number = place * intervals_ + interval;
            std::size_t count = series_[number].rows;
            if (count == 0) continue;
            const std::size_t first = next[number] - count;
            if (series_[number].last_open == DISORDERED) count = settle({sorted + first, count});
            const std::int64_t from = std::exchange(total, total + static_cast<std::int64_t>(count));
            all.push_back({symbols_[place], static_cast<std::int16_t>(interval), from, total});
            begins.push_back(first);
        }
    }
    BarTable table(total, false, memory);
    table.outside_trades.resize(intervals_, 0);
    write(table.columns(), all, begins, sorted);
    publish_rows();
    table.set_series(std::move(all));
    size_ = 0;
    return table;
}

}  // namespace klineagg::engine
