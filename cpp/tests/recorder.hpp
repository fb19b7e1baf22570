// An aggregator together with the rows that it handed out.
#pragma once

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

        void bar(int output, const Bar& bar, double previous_close) const {
            ++run->counts[at(output)];
            if constexpr (std::is_same_v<Bar, PartialBar>) {
                run->rows[at(output)].push_back(row_of(bar, previous_close));
                run->partials[at(output)].push_back(bar);
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
