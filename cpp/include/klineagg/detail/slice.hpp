// A slice of the rows of an update: what one thread passes over, twice.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "klineagg/batch.hpp"
#include "klineagg/detail/row_errors.hpp"
#include "klineagg/detail/symbol_router.hpp"

namespace klineagg::detail {

/// Counts the rows of one symbol by output.
struct CountSink {
    std::int64_t* rows;

    void bar(int output, const TimeBar&, double) const noexcept { ++rows[output]; }
    void gap(int output, Span, std::int64_t, double, std::uint16_t) const noexcept { ++rows[output]; }
    void outside(int, const TimeBar&) const noexcept {}
};

/// Writes the rows of one symbol where the count said they belong.
struct FillSink {
    const BarColumns* to;
    std::int64_t* cursor;    // by output: the next row
    std::int64_t* outside_;  // by output: trades in no session

    void bar(int output, const PartialBar& bar, double previous_close) const noexcept {
        const std::int64_t row = cursor[output]++;
        write_row(*to, row, bar, previous_close);
        if (to->partials != nullptr) [[unlikely]] {
            to->partials[row] = bar;
            canonicalize(to->partials[row]);
        }
    }
    void gap(int output, Span range, std::int64_t bars, double price,
             std::uint16_t flags) const noexcept {
        bar(output, flat_bar(range, bars, flags), price);
    }
    void outside(int output, const PartialBar& bar) const noexcept {
        outside_[output] += bar.trade_count;
    }
};

struct SliceSymbol {
    std::int32_t symbol;
    RowPlace first;  // its first row in the slice
};

/// What the slices share; nothing here changes during a pass.
struct PassContext {
    std::span<const TradeColumns> batches;
    const RollupPlan* plan;
    const BatchOptions* options;
    std::atomic<std::int64_t>* rows_passed;
    const std::atomic<bool>* cancelled;
};

/// What a trade out of order is: unsorted where order was promised, else late.
[[nodiscard]] ErrorCode order_error(const BatchOptions& options) noexcept;

/// Provides the state of a symbol that a slice meets for the first time.
using StateOf = SymbolAggregator<TimeBar> (*)(void* owner, std::int32_t symbol);

class Slice {
public:
    Slice(const PassContext& context, std::size_t begin, std::size_t end)
        : context_(&context), begin_(begin), end_(end) {}

    /// First pass: judges every row and counts the rows of the result. Throws Error.
    void count(StateOf state_of, void* owner);
    /// Second pass: `bars` and `cursors` hold one symbol after the other, as in symbols().
    void fill(const std::vector<SymbolAggregator<PartialBar>*>& bars, const BarColumns& to,
              std::vector<std::int64_t>& cursors, std::vector<std::int64_t>& outside) const;

    [[nodiscard]] const std::vector<SliceSymbol>& symbols() const noexcept { return symbols_; }
    [[nodiscard]] std::int32_t place_of(std::int32_t symbol) const noexcept {
        return router_.find(symbol);
    }
    [[nodiscard]] SymbolAggregator<TimeBar>& times(std::size_t place) { return times_[place]; }
    /// Rows that the first pass counted, by symbol and output.
    [[nodiscard]] const std::vector<std::int64_t>& counts() const noexcept { return counts_; }
    [[nodiscard]] const RejectCounts& rejected() const noexcept { return rejected_; }
    [[nodiscard]] std::int64_t late() const noexcept { return late_; }

private:
    static constexpr std::size_t BLOCK = 2048;

    template <class Body>
    void each_block(bool counting, Body&& body) const;
    template <class Rows>
    void count_block(const TradeColumns& batch, const Rows& rows, std::size_t from, std::size_t to,
                     std::size_t first_row);
    void count_row(std::int32_t symbol, TimeNs time, std::size_t global_row);
    bool judge(const TradeColumns& batch, std::size_t row, std::size_t global_row);
    std::int32_t add_symbol(std::int32_t symbol, RowPlace place);
    [[nodiscard]] bool is_rejected(std::size_t global_row) const;

    const PassContext* context_;
    std::size_t begin_;
    std::size_t end_;
    StateOf state_of_ = nullptr;
    void* owner_ = nullptr;
    SymbolRouter router_;
    std::vector<SliceSymbol> symbols_;
    std::vector<SymbolAggregator<TimeBar>> times_;
    std::vector<std::int64_t> counts_;
    RejectCounts rejected_{};
    std::int64_t late_ = 0;
    std::vector<std::size_t> rejected_rows_;  // sorted, since rows are passed in order
};

}  // namespace klineagg::detail
