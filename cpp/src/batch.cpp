#include "klineagg/batch.hpp"

#include <algorithm>
#include <exception>
#include <string>
#include <thread>

#include "klineagg/detail/layout.hpp"
#include "klineagg/detail/slice.hpp"

namespace klineagg {

using detail::CountSink;
using detail::FillSink;
using detail::Layout;
using detail::Slice;
using detail::SliceSymbol;
using Aggregator = SymbolAggregator<PartialBar>;
using Times = SymbolAggregator<TimeBar>;

struct BatchAggregator::State final : detail::KnownSymbols {
    State(const RollupPlan& rollup, const BatchOptions& batch) : plan(&rollup), options(&batch) {}

    const RollupPlan* plan;
    const BatchOptions* options;
    detail::SymbolRouter router;
    std::vector<std::int32_t> symbols;
    std::vector<std::unique_ptr<Aggregator>> bars;  // pointers: slices keep them while this grows

    Aggregator& get(std::int32_t symbol) {
        const std::int32_t place = router.find(symbol);
        if (place >= 0) return *bars[static_cast<std::size_t>(place)];
        router.insert(symbol, static_cast<std::int32_t>(bars.size()));
        symbols.push_back(symbol);
        bars.push_back(std::make_unique<Aggregator>(*plan, options->aggregator));
        seed(symbol, *bars.back());
        return *bars.back();
    }

    [[nodiscard]] Times times(std::int32_t symbol) const override {
        const std::int32_t place = router.find(symbol);
        if (place >= 0) return bars[static_cast<std::size_t>(place)]->times_only();
        Times fresh(*plan, options->aggregator);
        seed(symbol, fresh);
        return fresh;
    }

    [[nodiscard]] TimeNs newest(std::int32_t symbol) const override {
        const std::int32_t place = router.find(symbol);
        return place < 0 ? TIME_NONE : bars[static_cast<std::size_t>(place)]->newest();
    }

private:
    template <class Any>
    void seed(std::int32_t symbol, Any& aggregator) const {
        const auto seed = options->last_prices.find(symbol);
        if (seed == options->last_prices.end()) return;
        aggregator.seed(seed->second, options->aggregator.coverage_start);
    }
};

namespace {

/// What a later slice knows of the symbols before it: nothing, the seams will.
struct UnknownSymbols final : detail::KnownSymbols {
    UnknownSymbols(const RollupPlan& rollup, const AggregatorOptions& aggregator)
        : plan(&rollup), options(&aggregator) {}

    [[nodiscard]] Times times(std::int32_t) const override {
        Times fresh(*plan, *options);
        fresh.hold_heads();
        return fresh;
    }
    [[nodiscard]] TimeNs newest(std::int32_t) const override { return TIME_NONE; }

    const RollupPlan* plan;
    const AggregatorOptions* options;
};

bool is_plain(const RollupPlan& plan, const BatchOptions& options) {
    return options.aggregator.lateness_ns == STRICT_ORDER &&
           options.aggregator.gaps == GapMode::none && options.last_prices.empty() &&
           std::none_of(plan.levels().begin(), plan.levels().end(), [](const RollupLevel& level) {
               return level.interval->kind() == IntervalKind::table;
           });
}

/// cursor = base + rows, in place: sinks hold its address.
void place_cursor(std::int64_t* cursor, const std::vector<std::int64_t>& base,
                  const std::vector<std::int64_t>& rows) {
    for (std::size_t i = 0; i < base.size(); ++i) cursor[i] = base[i] + rows[i];
}

}  // namespace

namespace detail {

/// One update: its rows, cut into a slice for each thread.
class Update {
public:
    Update(PassContext from, std::size_t all_rows) : context(from), rows(all_rows) {
        // A seam is exact for streams in strict order of trades that count for everything; what
        // is not, and what is too short to gain from it, takes one slice.
        const bool cut = context.options->aggregator.lateness_ns == STRICT_ORDER &&
                         std::none_of(context.batches.begin(), context.batches.end(),
                                      [](const TradeColumns& batch) { return batch.flags.present(); });
        const auto wanted = static_cast<std::size_t>(context.options->threads);
        const std::size_t count =
            cut ? std::clamp<std::size_t>(rows / ROWS_PER_SLICE_MIN, 1, wanted) : 1;
        slices.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            slices.emplace_back(context, rows * i / count, rows * (i + 1) / count);
        }
    }
    Update(const Update&) = delete;  // slices point to our context
    Update& operator=(const Update&) = delete;

    /// Runs `body(slice number)` for all slices at once and returns what each threw.
    template <class Body>
    [[nodiscard]] std::vector<std::exception_ptr> in_parallel(Body&& body) {
        std::vector<std::exception_ptr> errors(slices.size());
        const auto guarded = [&](std::size_t i) {
            try {
                body(i);
            } catch (...) {
                errors[i] = std::current_exception();
            }
        };
        std::vector<std::thread> threads;
        for (std::size_t i = 1; i < slices.size(); ++i) threads.emplace_back(guarded, i);
        guarded(0);
        for (std::thread& thread : threads) thread.join();
        return errors;
    }

    /// First pass. Throws for the first bad row of all, so that the same input fails in the same way for any
    /// number of threads.
    void throw_first(const std::vector<std::exception_ptr>& errors) const {
        std::size_t failed = 0;
        while (failed < errors.size() && !errors[failed]) ++failed;
        const auto disorder = first_disorder(slices, std::min(failed + 1, slices.size()));
        if (failed < errors.size()) {
            try {
                std::rethrow_exception(errors[failed]);
            } catch (const Error& error) {
                if (!disorder || disorder->place.row > row_of(error)) {
                    for (const Slice& slice : slices) slice.judge_amounts_before(row_of(error));
                    throw;
                }
            }
        }
        if (disorder) {
            for (const Slice& slice : slices) slice.judge_amounts_before(disorder->place.row);
            throw_out_of_order(order_error(*context.options), disorder->symbol, disorder->place,
                               disorder->newest);
        }
    }

    PassContext context;
    std::size_t rows;
    std::vector<Slice> slices;

private:
    static constexpr std::size_t ROWS_PER_SLICE_MIN = 16384;

    static std::size_t row_of(const Error& error) {
        for (const auto& [name, value] : error.fields()) {
            if (name == "row") return std::stoull(value);
        }
        return 0;
    }
};

}  // namespace detail

using detail::Update;

BatchAggregator::BatchAggregator(RollupPlan plan, BatchOptions options)
    : plan_(std::move(plan)),
      options_(std::move(options)),
      state_(std::make_unique<State>(plan_, options_)) {
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

    const bool amends = options_.aggregator.late == LatePolicy::amend;
    const bool plain = !amends && is_plain(plan_, options_);
    const bool only_run = finish && state_->symbols.empty();
    Update update({batches, &plan_, &options_, &rows_passed_, &cancelled_, plain, amends,
                   plain && only_run && options_.on_bad == BadRows::raise},
                  rows);
    const UnknownSymbols unknown(plan_, options_.aggregator);
    update.throw_first(update.in_parallel([&](std::size_t k) {
        if (k == 0) update.slices[k].count(*state_);
        else update.slices[k].count(unknown);
    }));
    BarTable table = amends ? run_amending(update, finish) : run_in_place(update, finish);
    publish_rows();
    return table;
}

std::vector<std::int32_t> BatchAggregator::symbols_of(Update& update, bool finish) const {
    std::vector<std::int32_t> symbols;
    for (const Slice& slice : update.slices) {
        for (const SliceSymbol& seen : slice.symbols()) symbols.push_back(seen.symbol);
    }
    if (finish) {
        symbols.insert(symbols.end(), state_->symbols.begin(), state_->symbols.end());
        for (const auto& [symbol, price] : options_.last_prices) symbols.push_back(symbol);
    }
    std::sort(symbols.begin(), symbols.end());
    symbols.erase(std::unique(symbols.begin(), symbols.end()), symbols.end());
    return symbols;
}

BarTable BatchAggregator::run_in_place(Update& update, bool finish) {
    const std::size_t outputs = plan_.output_count();
    std::vector<Slice>& slices = update.slices;
    const std::vector<std::int32_t> symbols = symbols_of(update, finish);
    std::vector<Layout> layouts;
    layouts.reserve(symbols.size());
    for (const std::int32_t symbol : symbols) {
        layouts.push_back(
            update.context.plain
                ? lay_out_plain(update.context, slices, symbol, state_->newest(symbol), finish)
                : lay_out(update.context, slices, symbol, state_->times(symbol), finish));
    }
    BarTable table = place_rows(layouts, outputs, options_.with_partials);

    // From here on nothing throws but for lack of memory, or where the caller has no state to
    // lose (see PassContext::judge_amounts_late).
    finished_ = finish;
    std::vector<std::vector<Aggregator*>> bars(slices.size());
    std::vector<std::vector<std::unique_ptr<Aggregator>>> later(slices.size());
    std::vector<std::vector<std::int64_t>> cursors(slices.size());
    std::vector<std::vector<std::int64_t>> outside(slices.size(), table.outside_trades);
    for (std::size_t k = 0; k < slices.size(); ++k) {
        for (const SliceSymbol& seen : slices[k].symbols()) {
            const auto at = std::lower_bound(symbols.begin(), symbols.end(), seen.symbol);
            const Layout& layout = layouts[static_cast<std::size_t>(at - symbols.begin())];
            cursors[k].resize(cursors[k].size() + outputs);
            place_cursor(cursors[k].data() + (cursors[k].size() - outputs), layout.base,
                         layout.slices[k]);
            if (k == 0) {
                bars[k].push_back(&state_->get(seen.symbol));
            } else {
                later[k].push_back(std::make_unique<Aggregator>(plan_, options_.aggregator));
                later[k].back()->hold_heads();
                bars[k].push_back(later[k].back().get());
            }
        }
    }
    // First of all rows what is not the trades', as the rare rows that differ in it come behind.
    (void)update.in_parallel([&](std::size_t k) {
        const auto part = [&](std::size_t i) {
            return table.rows() * static_cast<std::int64_t>(i) /
                   static_cast<std::int64_t>(slices.size());
        };
        table.fill_series(part(k), part(k + 1));
        publish_rows();
    });
    for (const std::exception_ptr& error : update.in_parallel([&](std::size_t k) {
             (void)slices[k].fill(bars[k], table.columns(), cursors[k], outside[k]);
         })) {
        if (error) std::rethrow_exception(error);
    }

    for (const Layout& layout : layouts) {
        Aggregator& state = state_->get(layout.symbol);
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
    count_report(update, 0);
    return table;
}

BarTable BatchAggregator::run_amending(Update& update, bool finish) {
    // Bars are kept by the aggregators while they can change: rows are counted when they are
    // handed out, after all trades.
    const std::size_t outputs = plan_.output_count();
    const Slice& slice = update.slices.front();
    std::vector<Aggregator*> bars;
    for (const SliceSymbol& seen : slice.symbols()) bars.push_back(&state_->get(seen.symbol));
    std::vector<std::int64_t> unused(slice.symbols().size() * outputs, 0);
    std::vector<std::int64_t> outside(outputs, 0);
    const BarColumns nowhere;
    const std::int64_t beyond_horizon = slice.fill(bars, nowhere, unused, outside);

    std::vector<Layout> layouts;
    for (const std::int32_t symbol : symbols_of(update, finish)) {
        Aggregator& state = state_->get(symbol);
        if (finish) state.prepare_finish(FillSink{&nowhere, unused.data(), outside.data()});
        Layout layout;
        layout.symbol = symbol;
        layout.rows.resize(outputs, 0);
        state.hand_out(CountSink{layout.rows.data()}, finish);
        layouts.push_back(std::move(layout));
    }
    BarTable table = place_rows(layouts, outputs, options_.with_partials);
    table.fill_series(0, table.rows());
    finished_ = finish;
    table.outside_trades = outside;
    for (Layout& layout : layouts) {
        Aggregator& state = state_->get(layout.symbol);
        state.hand_out(FillSink{&table.columns(), layout.base.data(), outside.data()}, finish);
        state.mark_given();
    }
    count_report(update, beyond_horizon);
    return table;
}

void BatchAggregator::count_report(Update& update, std::int64_t beyond_horizon) {
    const auto rows = static_cast<std::int64_t>(update.rows);
    std::int64_t refused = beyond_horizon;
    for (const Slice& slice : update.slices) {
        report_.late += slice.late();
        refused += slice.late();
        for (std::size_t i = 0; i < REJECT_REASONS; ++i) {
            report_.rejected[i] += slice.rejected()[i];
            refused += slice.rejected()[i];
        }
    }
    report_.beyond_horizon += beyond_horizon;
    report_.offered += rows;
    report_.accepted += rows - refused;
}

}  // namespace klineagg
