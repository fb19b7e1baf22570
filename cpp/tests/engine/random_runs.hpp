// What engines are told in random tests: their rules, and trades out of order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "klineagg/engine.hpp"
#include "support.hpp"

namespace klineagg::test {

inline EngineOptions random_rules(Rng& rng) {
    EngineOptions options;
    options.workers = 1 + static_cast<int>(pick(rng, 3));
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.keep_bars = chance(rng, 50) ? 0 : 1 + pick(rng, 20);
    options.aggregator.late = chance(rng, 70) ? LatePolicy::amend : LatePolicy::drop;
    options.aggregator.lateness_ns = chance(rng, 50) ? 0 : between(rng, 1, 600) * NS_PER_SECOND;
    options.aggregator.amend_horizon_ns =
        chance(rng, 50) ? HORIZON_UNLIMITED : between(rng, 0, 5) * NS_PER_HOUR;
    options.aggregator.gaps = chance(rng, 50) ? GapMode::runs : GapMode::none;
    return options;
}

/// The same with a coverage and last prices, half of the time.
inline EngineOptions random_options(Rng& rng, const Table& table) {
    EngineOptions options = random_rules(rng);
    if (chance(rng, 50)) {
        options.aggregator.coverage_start =
            table.time.front() - between(rng, -3600, 3600) * NS_PER_SECOND;
        options.last_prices = {{1, 17.0}, {4, 18.0}, {1000, 19.0}};
    }
    return options;
}

struct Disorder {
    unsigned late = 12;      // percent of rows that trade places with a later one
    std::size_t reach = 30;  // less than so many rows later
    unsigned repeated = 4;   // percent of rows in whose place an earlier one comes again
};

/// Some come late, some twice.
inline Table disordered(Rng& rng, const Table& table, const Disorder& of = {}) {
    std::vector<std::size_t> order(table.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (chance(rng, of.late))
            std::swap(order[i], order[std::min(order.size() - 1, i + pick(rng, of.reach))]);
        if (chance(rng, of.repeated)) order[i] = order[pick(rng, i + 1)];
    }
    Table mixed = table.filtered([](std::size_t) { return false; });
    for (const std::size_t row : order) mixed.add(table.symbol[row], table.trade(row));
    return mixed;
}

/// Trades of all kinds, out of order.
inline Table some_trades(Rng& rng) {
    TradeMix mix;
    mix.ids = chance(rng, 60);
    mix.aggregated = chance(rng, 30);
    mix.flags = chance(rng, 40);
    mix.wild_amounts = chance(rng, 20);
    return disordered(rng, random_table(rng, 1 + pick(rng, 6), 200, mix));
}

}  // namespace klineagg::test
