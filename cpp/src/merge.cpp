#include "klineagg/merge.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "klineagg/error.hpp"

namespace klineagg {

namespace {

struct Entry {
    std::int16_t interval;
    std::int32_t symbol;
    const PartialBar* bar;

    [[nodiscard]] auto key() const { return std::tuple(interval, symbol, bar->open_time); }
};

std::vector<Entry> collect(std::span<const PartialRows> results) {
    std::vector<Entry> entries;
    for (const PartialRows& result : results) {
        for (std::size_t row = 0; row < result.size; ++row) {
            const PartialBar& bar = result.bars[row];
            if (bar.version != PARTIAL_BAR_VERSION) {
                throw Error(ErrorCode::record_version,
                            "a partial bar has version " + std::to_string(bar.version) +
                                ", this klineagg reads " + std::to_string(PARTIAL_BAR_VERSION));
            }
            entries.push_back({result.interval[row], result.symbol[row], &bar});
        }
    }
    // Stable: results stay in their order within a bar.
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry& a, const Entry& b) { return a.key() < b.key(); });
    return entries;
}

PartialBar merge_equal(std::span<const Entry> entries) {
    PartialBar merged = *entries.front().bar;
    for (const Entry& entry : entries.subspan(1)) {
        if (entry.bar->close_time != merged.close_time) {
            throw Error(ErrorCode::merge_mismatch,
                        "two bars open together but close at different times",
                        {{"open_time_ns", std::to_string(merged.open_time)}});
        }
        merge_into(merged, *entry.bar);
        // The feed's state is the earlier part's, but closed is closed.
        merged.flags = static_cast<std::uint16_t>(merged.flags | (entry.bar->flags & BAR_CLOSED));
        merged.revision = std::max(merged.revision, entry.bar->revision);
    }
    if (merged.has_trades())
        merged.flags = static_cast<std::uint16_t>(merged.flags & ~(BAR_GENESIS | BAR_GAP));
    return merged;
}

}  // namespace

BarTable merge_results(std::span<const PartialRows> results) {
    const std::vector<Entry> entries = collect(results);
    std::map<std::int32_t, TimeNs> newest;
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        TimeNs& time = newest.try_emplace(entries[i].symbol, TIME_NONE).first->second;
        time = std::max(time, entries[i].bar->last_time);
        if (i == 0 || entries[i].key() != entries[i - 1].key()) ++rows;
    }
    BarTable table(rows, true);
    std::int64_t row = 0;
    for (std::size_t begin = 0; begin < entries.size();) {
        const Entry& series = entries[begin];
        std::size_t series_end = begin;
        std::int64_t series_rows = 0;
        while (series_end < entries.size() && entries[series_end].interval == series.interval &&
               entries[series_end].symbol == series.symbol) {
            const bool first = series_end == begin ||
                               entries[series_end].key() != entries[series_end - 1].key();
            series_rows += first ? 1 : 0;
            ++series_end;
        }
        table.add_series({series.symbol, series.interval, row, row + series_rows});
        double previous_close = NO_PRICE;
        while (begin < series_end) {
            std::size_t end = begin + 1;
            while (end < series_end && entries[end].key() == entries[begin].key()) ++end;
            PartialBar bar = merge_equal(std::span(entries).subspan(begin, end - begin));
            if (bar.close_time <= newest[series.symbol])
                bar.flags = static_cast<std::uint16_t>(bar.flags | BAR_CLOSED);
            canonicalize(bar);
            write_row(table.columns(), row, bar, previous_close);
            table.columns().partials[row] = bar;
            if (bar.has_close()) previous_close = bar.close;
            ++row;
            begin = end;
        }
    }
    return table;
}

}  // namespace klineagg
