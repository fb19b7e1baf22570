#include "klineagg/batch.hpp"

#include <algorithm>
#include <exception>
#include <string>
#include <thread>

#include "klineagg/detail/slice.hpp"

namespace klineagg {

using detail::CountSink;
using detail::FillSink;
using detail::PassContext;
using detail::Slice;
using Aggregator = SymbolAggregator<PartialBar>;
using Times = SymbolAggregator<TimeBar>;

struct BatchAggregator::State {
    detail::SymbolRouter router;
    std::vector<std::int32_t> symbols;
    std::vector<std::unique_ptr<Aggregator>> bars;  // pointers: slices keep them while this grows

    Aggregator& get(std::int32_t symbol, const RollupPlan& plan, const BatchOptions& options) {
        const std::int32_t place = router.find(symbol);
        if (place >= 0) return *bars[static_cast<std::size_t>(place)];
        router.insert(symbol, static_cast<std::int32_t>(bars.size()));
        symbols.push_back(symbol);
        bars.push_back(std::make_unique<Aggregator>(plan, options.aggregator));
        const auto seed = options.last_prices.find(symbol);
        if (seed != options.last_prices.end()) {
            bars.back()->seed(seed->second, options.aggregator.coverage_start);
        }
        return *bars.back();
    }
};

namespace {

/// One symbol of an update: its rows are [slice 0][seam 1][slice 1] ... [end], at each output.
struct Layout {
    std::int32_t symbol;
    std::vector<std::vector<std::int64_t>> slices;  // by slice and output: rows before its own
    std::vector<std::vector<std::int64_t>> seams;   // likewise: rows before its seam
    std::vector<std::int64_t> rows_before_end;
    std::vector<std::int64_t> rows;                 // in all, by output
    std::vector<std::int64_t> base;                 // first row in the table, by output
};

class Update {
public:
    Update(PassContext& context, std::size_t rows) : context_(context) {
        const auto wanted = static_cast<std::size_t>(context.options->threads);
        // A seam is exact for streams in strict order of plain trades; anything else, and what
        // is too short to gain from it, takes one slice.
        const bool cut = context.options->aggregator.lateness_ns == STRICT_ORDER &&
                         std::none_of(context.batches.begin(), context.batches.end(),
                                      [](const TradeColumns& batch) { return batch.flags.present(); });
        const std::size_t slices =
            cut ? std::clamp<std::size_t>(rows / ROWS_PER_SLICE_MIN, 1, wanted) : 1;
        slices_.reserve(slices);
        for (std::size_t i = 0; i < slices; ++i) {
            slices_.emplace_back(context, rows * i / slices, rows * (i + 1) / slices);
        }
    }

    [[nodiscard]] std::vector<Slice>& slices() noexcept { return slices_; }

    /// Runs `body(slice number)` for all slices at once; the first slice's error wins, so that
    /// the same input fails in the same way for any number of threads.
    template <class Body>
    void in_parallel(Body&& body) {
        std::vector<std::exception_ptr> errors(slices_.size());
        const auto guarded = [&](std::size_t i) {
            try {
                body(i);
            } catch (...) {
                errors[i] = std::current_exception();
            }
        };
        std::vector<std::thread> threads;
        for (std::size_t i = 1; i < slices_.size(); ++i) threads.emplace_back(guarded, i);
        guarded(0);
        for (std::thread& thread : threads) thread.join();
        for (const std::exception_ptr& error : errors) {
            if (error) std::rethrow_exception(error);
        }
    }

    /// Runs the seams and the end over times only, which gives every row its place.
    void lay_out(Times times, Layout& layout, bool finish) {
        const std::size_t outputs = context_.plan->output_count();
        std::vector<std::int64_t> rows(outputs, 0);
        const auto add = [&](const std::int64_t* counted) {
            for (std::size_t i = 0; i < outputs; ++i) rows[i] += counted[i];
        };
        for (std::size_t k = 0; k < slices_.size(); ++k) {
            layout.seams.push_back(rows);
            const std::int32_t place = slices_[k].place_of(layout.symbol);
            if (place >= 0) {
                const auto index = static_cast<std::size_t>(place);
                if (k == 0) {
                    times = std::move(slices_[k].times(index));
                } else {
                    const detail::SliceSymbol& seen = slices_[k].symbols()[index];
                    if (seen.first.time < times.newest()) {
                        detail::throw_out_of_order(detail::order_error(*context_.options),
                                                   layout.symbol, seen.first, times.newest());
                    }
                    CountSink sink{rows.data()};
                    times.absorb(slices_[k].times(index), sink);
                }
                layout.slices.push_back(rows);
                add(slices_[k].counts().data() + index * outputs);
            } else {
                layout.slices.push_back(rows);
            }
        }
        layout.rows_before_end = rows;
        if (finish) {
            CountSink sink{rows.data()};
            times.finish(sink);
        }
        layout.rows = std::move(rows);
    }

private:
    static constexpr std::size_t ROWS_PER_SLICE_MIN = 16384;

    PassContext& context_;
    std::vector<Slice> slices_;
};

/// Rows are in order of interval, then symbol, then time.
BarTable place_rows(std::vector<Layout>& layouts, const RollupPlan& plan, bool with_partials) {
    const std::size_t outputs = plan.output_count();
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
            table.add_series({layout.symbol, static_cast<std::int16_t>(output), begin, end});
        }
    }
    return table;
}

/// cursor = base + rows, in place: sinks hold its address.
void place_cursor(std::int64_t* cursor, const std::vector<std::int64_t>& base,
                  const std::vector<std::int64_t>& rows) {
    for (std::size_t i = 0; i < base.size(); ++i) cursor[i] = base[i] + rows[i];
}

}  // namespace

BatchAggregator::BatchAggregator(RollupPlan plan, BatchOptions options)
    : plan_(std::move(plan)), options_(std::move(options)), state_(std::make_unique<State>()) {
    if (options_.threads < 1 || options_.threads > THREADS_MAX) {
        throw Error(ErrorCode::invalid_option,
                    "threads = " + std::to_string(options_.threads) + " is not in 1 ... " +
                        std::to_string(THREADS_MAX),
                    {{"option", "threads"}});
    }
    if (!options_.last_prices.empty() && options_.aggregator.coverage_start == TIME_NONE) {
        throw Error(ErrorCode::invalid_option, "last_prices need the start of the coverage",
                    {{"option", "last_prices"}});
    }
}

BatchAggregator::~BatchAggregator() = default;

void BatchAggregator::replace_tables(const std::vector<Interval>& intervals) {
    plan_.replace_tables(intervals);
}

BarTable BatchAggregator::run(std::span<const TradeColumns> batches, bool finish) {
    if (finished_) throw Error(ErrorCode::invalid_option, "the aggregator is already finished");
    cancelled_.store(false);
    rows_passed_.store(0);
    std::size_t rows = 0;
    for (const TradeColumns& batch : batches) rows += batch.size;

    PassContext context{batches, &plan_, &options_, &rows_passed_, &cancelled_};
    const std::size_t outputs = plan_.output_count();

    struct Owner {
        State* state;
        const RollupPlan* plan;
        const BatchOptions* options;
    } owner{state_.get(), &plan_, &options_};
    const auto known_state = [](void* from, std::int32_t symbol) {
        const auto& known = *static_cast<Owner*>(from);
        const std::int32_t place = known.state->router.find(symbol);
        if (place >= 0) return known.state->bars[static_cast<std::size_t>(place)]->times_only();
        Times times(*known.plan, known.options->aggregator);
        const auto seed = known.options->last_prices.find(symbol);
        if (seed != known.options->last_prices.end()) {
            times.seed(seed->second, known.options->aggregator.coverage_start);
        }
        return times;
    };
    const auto fresh_state = [](void* from, std::int32_t) {
        const auto& known = *static_cast<Owner*>(from);
        Times times(*known.plan, known.options->aggregator);
        times.hold_heads();
        return times;
    };

    Update update(context, rows);
    std::vector<Slice>& slices = update.slices();
    update.in_parallel([&](std::size_t k) {
        if (k == 0) slices[k].count(known_state, &owner);
        else slices[k].count(fresh_state, &owner);
    });

    std::vector<std::int32_t> symbols;
    for (const Slice& slice : slices) {
        for (const detail::SliceSymbol& seen : slice.symbols()) symbols.push_back(seen.symbol);
    }
    if (finish) {
        symbols.insert(symbols.end(), state_->symbols.begin(), state_->symbols.end());
        for (const auto& [symbol, price] : options_.last_prices) symbols.push_back(symbol);
    }
    std::sort(symbols.begin(), symbols.end());
    symbols.erase(std::unique(symbols.begin(), symbols.end()), symbols.end());

    std::vector<Layout> layouts(symbols.size());
    for (std::size_t i = 0; i < symbols.size(); ++i) {
        layouts[i].symbol = symbols[i];
        update.lay_out(known_state(&owner, symbols[i]), layouts[i], finish);
    }
    BarTable table = place_rows(layouts, plan_, options_.with_partials);

    // From here on nothing throws but for lack of memory.
    std::vector<std::vector<Aggregator*>> bars(slices.size());
    std::vector<std::vector<std::unique_ptr<Aggregator>>> later(slices.size());
    std::vector<std::vector<std::int64_t>> cursors(slices.size());
    std::vector<std::vector<std::int64_t>> outside(slices.size(), table.outside_trades);
    for (std::size_t k = 0; k < slices.size(); ++k) {
        for (const detail::SliceSymbol& seen : slices[k].symbols()) {
            const auto at = std::lower_bound(symbols.begin(), symbols.end(), seen.symbol);
            const Layout& layout = layouts[static_cast<std::size_t>(at - symbols.begin())];
            cursors[k].resize(cursors[k].size() + outputs);
            place_cursor(cursors[k].data() + (cursors[k].size() - outputs), layout.base, layout.slices[k]);
            if (k == 0) {
                bars[k].push_back(&state_->get(seen.symbol, plan_, options_));
            } else {
                later[k].push_back(std::make_unique<Aggregator>(plan_, options_.aggregator));
                later[k].back()->hold_heads();
                bars[k].push_back(later[k].back().get());
            }
        }
    }
    update.in_parallel([&](std::size_t k) {
        slices[k].fill(bars[k], table.columns(), cursors[k], outside[k]);
    });

    for (Layout& layout : layouts) {
        Aggregator& state = state_->get(layout.symbol, plan_, options_);
        std::vector<std::int64_t> cursor(outputs);
        const FillSink sink{&table.columns(), cursor.data(), outside[0].data()};
        for (std::size_t k = 1; k < slices.size(); ++k) {
            const std::int32_t place = slices[k].place_of(layout.symbol);
            if (place < 0) continue;
            place_cursor(cursor.data(), layout.base, layout.seams[k]);
            state.absorb(*later[k][static_cast<std::size_t>(place)], sink);
        }
        if (finish) {
            place_cursor(cursor.data(), layout.base, layout.rows_before_end);
            state.finish(sink);
        }
    }
    for (const auto& counted : outside) {
        for (std::size_t i = 0; i < counted.size(); ++i) table.outside_trades[i] += counted[i];
    }
    report_.offered += static_cast<std::int64_t>(rows);
    std::int64_t refused = 0;
    for (const Slice& slice : slices) {
        report_.late += slice.late();
        refused += slice.late();
        for (std::size_t i = 0; i < REJECT_REASONS; ++i) {
            report_.rejected[i] += slice.rejected()[i];
            refused += slice.rejected()[i];
        }
    }
    report_.accepted += static_cast<std::int64_t>(rows) - refused;
    finished_ = finish;
    return table;
}

}  // namespace klineagg
