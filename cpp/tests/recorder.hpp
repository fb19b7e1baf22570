// An aggregator together with the rows that it handed out.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "reference.hpp"

namespace klineagg::test {

template <class Bar>
class Run {
public:
    /// Writes into the run that made it.
    struct Sink {
        Run* run;

        void bars(int output, const Bar* bars, std::size_t count, double close_before) const {
            run->counts[at(output)] += static_cast<std::int64_t>(count);
            if constexpr (std::is_same_v<Bar, PartialBar>) {
                for (const Bar* bar = bars; bar != bars + count; ++bar) {
                    run->rows[at(output)].push_back(row_of(*bar, close_before));
                    run->partials[at(output)].push_back(*bar);
                    if (bar->has_close()) close_before = bar->close;
                }
            }
        }
        void gap(int output, Span range, std::int64_t bars, double price, std::uint16_t flags,
                 std::int32_t revision) const {
            ++run->counts[at(output)];
            PartialBar flat = flat_bar(range, bars, flags);
            flat.revision = revision;
            run->rows[at(output)].push_back(row_of(flat, price));
            run->partials[at(output)].push_back(flat);
        }
        void outside(int output, const Bar& bar) const {
            if constexpr (std::is_same_v<Bar, PartialBar>)
                run->outside[at(output)] += bar.trade_count;
        }
        static std::size_t at(int output) { return static_cast<std::size_t>(output); }
    };

    Run(const std::vector<Interval>& intervals, const AggregatorOptions& chosen)
        : plan(intervals), options(chosen), aggregator(plan, options) {
        resize();
    }
    /// Goes on with `from`, which points to a plan and options of its own.
    Run(const std::vector<Interval>& intervals, SymbolAggregator<Bar> from)
        : plan(intervals), aggregator(std::move(from)) {
        resize();
    }
    Run(const Run&) = delete;  // the aggregator points to plan and options
    Run& operator=(const Run&) = delete;

    void add(const std::vector<Trade>& trades) {
        for (const Trade& trade : trades)
            late += aggregator.add(trade, sink()) == Admission::late ? 1 : 0;
    }
    /// As add, by runs: bars close in batches.
    void add_runs(const std::vector<Trade>& trades) {
        const auto room = std::make_unique<ClosedBars<Bar>>();
        const Trade* trade = trades.data();
        const Trade* const end = trade + trades.size();
        while ((trade = aggregator.add_run(trade, end, *room, sink())) != end)
            late += aggregator.add_slow(*trade++, sink()) == Admission::late ? 1 : 0;
        aggregator.settle(sink());
    }
    void add_time(TimeNs time) { late += aggregator.add(time, sink()) == Admission::late ? 1 : 0; }
    void finish() { aggregator.finish(sink()); }
    [[nodiscard]] Sink sink() { return Sink{this}; }

    RollupPlan plan;
    AggregatorOptions options;
    SymbolAggregator<Bar> aggregator;
    std::vector<Rows> rows;  // by output
    std::vector<std::vector<PartialBar>> partials;
    std::vector<std::int64_t> counts;
    std::vector<std::int64_t> outside;
    std::int64_t late = 0;

private:
    void resize() {
        rows.resize(plan.output_count());
        partials.resize(plan.output_count());
        counts.resize(plan.output_count());
        outside.resize(plan.output_count());
    }
};

}  // namespace klineagg::test
