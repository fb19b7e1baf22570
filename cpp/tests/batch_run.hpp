// Runs of a batch aggregator over tables, and what should come out.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "columns.hpp"
#include "klineagg/batch.hpp"
#include "reference.hpp"

namespace klineagg::test {

/// By interval and symbol.
using Series = std::map<std::pair<int, std::int32_t>, Rows>;

/// Appends the rows of a table, after a look at its shape.
inline void collect(const BarTable& table, Series& series) {
    std::int64_t next = 0;
    std::pair<int, std::int32_t> last{-1, -1};
    for (const BarSeries& at : table.series()) {
        const std::pair<int, std::int32_t> key{at.interval, at.symbol};
        if (at.begin != next || at.end <= at.begin || key <= last)
            throw std::logic_error("series are not sorted, not contiguous or empty");
        next = at.end;
        last = key;
        for (std::int64_t row = at.begin; row < at.end; ++row) {
            if (table.columns().symbol[row] != at.symbol ||
                table.columns().interval[row] != at.interval)
                throw std::logic_error("a row names another symbol or interval than its series");
            series[key].push_back(row_of(table, row));
            if (table.columns().partials == nullptr) continue;
            PartialBar partial = table.columns().partials[row];
            const PartialBar stored = partial;
            canonicalize(partial);
            if (std::memcmp(&partial, &stored, sizeof partial) != 0)
                throw std::logic_error("a partial record is not in its canonical form");
        }
    }
    if (next != table.rows()) throw std::logic_error("rows without a series");
}

class BatchRun {
public:
    BatchRun(const std::vector<Interval>& intervals, const BatchOptions& options)
        : aggregator(RollupPlan(intervals), options), outside(intervals.size(), 0) {}

    void add(const std::vector<TradeColumns>& batches, bool finish = false) {
        const BarTable table = aggregator.run(batches, finish);
        collect(table, series);
        for (std::size_t i = 0; i < outside.size(); ++i) outside[i] += table.outside_trades.at(i);
    }
    void finish() { add({}, true); }

    /// The whole table, in chunks of up to `chunk_max` rows, some of them empty.
    void add_chunks(Rng& rng, const Table& table, std::size_t chunk_max) {
        for (std::size_t from = 0; from < table.size();) {
            std::vector<TradeColumns> batches;
            const std::size_t count = 1 + pick(rng, 3);
            for (std::size_t i = 0; i < count; ++i) {
                const std::size_t to = std::min(table.size(), from + pick(rng, chunk_max + 1));
                batches.push_back(table.view(from, to));
                from = to;
            }
            add(batches);
        }
    }

    BatchAggregator aggregator;
    Series series;
    std::vector<std::int64_t> outside;
};

/// The rows of every symbol of the table, by the reference.
inline Series expected_series(const Table& table, const std::vector<Interval>& intervals,
                              const BatchOptions& options,
                              std::vector<std::int64_t>* outside = nullptr) {
    Series series;
    auto streams = table.by_symbol();
    for (const auto& [symbol, price] : options.last_prices) streams[symbol];
    for (const auto& [symbol, trades] : streams) {
        std::optional<double> seed;
        const auto known = options.last_prices.find(symbol);
        if (known != options.last_prices.end()) seed = known->second;
        for (std::size_t i = 0; i < intervals.size(); ++i) {
            const ExpectedBars expected(trades, intervals[i], options.aggregator, seed);
            if (outside != nullptr) (*outside)[i] += expected.outside;
            if (!expected.rows.empty())
                series[{static_cast<int>(i), symbol}] = expected.rows;
        }
    }
    return series;
}

/// The first row in which two results differ, as text; empty when they are equal.
inline std::string difference(const Series& a, const Series& b) {
    std::ostringstream text;
    for (const auto& [key, rows] : a) {
        const auto other = b.find(key);
        const std::string name =
            "interval " + std::to_string(key.first) + ", symbol " + std::to_string(key.second);
        if (other == b.end()) return name + " is only in the first";
        for (std::size_t i = 0; i < std::min(rows.size(), other->second.size()); ++i) {
            if (rows[i] == other->second[i]) continue;
            text << name << ", row " << i << rows[i] << other->second[i];
            return text.str();
        }
        if (rows.size() != other->second.size()) return name + " has another number of rows";
    }
    for (const auto& [key, rows] : b) {
        if (a.count(key) != 0) continue;
        text << "interval " << key.first << ", symbol " << key.second << " is only in the second"
             << rows.front();
        return text.str();
    }
    return "";
}

}  // namespace klineagg::test
