// A slice of the rows of an update: what one thread passes over, twice.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "klineagg/batch.hpp"
#include "klineagg/detail/row_counter.hpp"
#include "klineagg/detail/row_errors.hpp"
#include "klineagg/detail/symbol_router.hpp"
#include "klineagg/detail/symbol_sorter.hpp"

namespace klineagg::detail {

/// Counts the rows of one symbol by output.
struct CountSink {
    std::int64_t* rows;

    template <class Bar>
    void bars(int output, const Bar*, std::size_t count, double) const noexcept {
        rows[output] += static_cast<std::int64_t>(count);
    }
    void gap(int output, Span, std::int64_t, double, std::uint16_t, std::int32_t) const noexcept {
        ++rows[output];
    }
    template <class Bar>
    void outside(int, const Bar&) const noexcept {}
};

/// Writes the rows of one symbol where the count said they belong.
struct FillSink {
    const BarColumns* to;
    std::int64_t* cursor;    // by output: the next row
    std::int64_t* outside_;  // by output: trades in no session

    /// So many rows come soon.
    void expect(int output, std::size_t count) const noexcept {
        prefetch_rows(*to, cursor[output], count);
    }
    void bars(int output, const PartialBar* bars, std::size_t count,
              double close_before) const noexcept {
        const std::int64_t row = cursor[output];
        cursor[output] += static_cast<std::int64_t>(count);
        write_rows(*to, row, bars, count, close_before);
        if (to->partials != nullptr) [[unlikely]] {
            for (std::size_t i = 0; i < count; ++i) {
                PartialBar& kept = to->partials[row + static_cast<std::int64_t>(i)];
                kept = bars[i];
                canonicalize(kept);
            }
        }
    }
    void gap(int output, Span range, std::int64_t bars, double price, std::uint16_t flags,
             std::int32_t revision) const noexcept {
        PartialBar flat = flat_bar(range, bars, flags);
        flat.revision = revision;
        this->bars(output, &flat, 1, price);
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
    bool plain;       // rows can be counted by RowCounter
    bool judge_only;  // amendments: rows are counted afterwards
    // One pass less over the amounts: the second pass judges them, and may throw. Only where
    // nobody can go on with the state after that.
    bool judge_amounts_late;
};

/// What a trade out of order is: unsorted where order was promised, else late.
[[nodiscard]] ErrorCode order_error(const BatchOptions& options) noexcept;

/// Where the symbols of a slice come from.
class KnownSymbols {
public:
    virtual ~KnownSymbols() = default;
    /// The state over times before the slice.
    [[nodiscard]] virtual SymbolAggregator<TimeBar> times(std::int32_t symbol) const = 0;
    /// The newest time before the slice, TIME_NONE for none.
    [[nodiscard]] virtual TimeNs newest(std::int32_t symbol) const = 0;
};

class Slice {
public:
    Slice(const PassContext& context, std::size_t begin, std::size_t end)
        : context_(&context), begin_(begin), end_(end), counter_(*context.plan) {}

    /// First pass: judges every row and counts the rows of the result. Throws Error.
    void count(const KnownSymbols& known);
    /// Throws for the first row before `end` whose amounts the first pass did not judge and that
    /// is no trade.
    void judge_amounts_before(std::size_t end) const;
    /// Second pass: `bars` and `cursors` hold one symbol after the other, as in symbols().
    /// Returns how many trades came too late to be amended.
    std::int64_t fill(const std::vector<SymbolAggregator<PartialBar>*>& bars, const BarColumns& to,
              std::vector<std::int64_t>& cursors, std::vector<std::int64_t>& outside) const;

    [[nodiscard]] const std::vector<SliceSymbol>& symbols() const noexcept { return symbols_; }
    [[nodiscard]] std::int32_t place_of(std::int32_t symbol) const noexcept {
        return router_.find(symbol);
    }
    /// The newest time of a symbol after the slice.
    [[nodiscard]] TimeNs newest(std::size_t place) const noexcept {
        if (context_->judge_only) return TIME_NONE;
        return context_->plain ? counter_.newest(place) : times_[place].newest();
    }
    /// Of plain streams.
    [[nodiscard]] const RowCounter& counter() const noexcept { return counter_; }
    /// Of others: the state over times, and the rows counted, by symbol and output.
    [[nodiscard]] SymbolAggregator<TimeBar>& times(std::size_t place) { return times_[place]; }
    [[nodiscard]] const std::vector<std::int64_t>& counts() const noexcept { return counts_; }
    [[nodiscard]] const RejectCounts& rejected() const noexcept { return rejected_; }
    [[nodiscard]] std::int64_t late() const noexcept { return late_; }

private:
    static constexpr std::size_t COUNT_BLOCK = 2048;
    static constexpr std::size_t FILL_BLOCK = 65536;  // records of 32 bytes: long runs of a symbol, in the last cache

    template <class Body>
    void each_block(bool counting, std::size_t block_rows, Body&& body) const;
    template <class Rows>
    void count_block(const TradeColumns& batch, const Rows& rows, std::size_t from, std::size_t to,
                     std::size_t first_row);
    template <class Rows>
    void count_plain(const TradeColumns& batch, const Rows& rows, std::size_t from, std::size_t to,
                     std::size_t first_row);
    template <class Rows>
    void count_times(const TradeColumns& batch, const Rows& rows, std::size_t from, std::size_t to,
                     std::size_t first_row);
    void count_row(std::int32_t symbol, TimeNs time, std::size_t global_row);
    template <class Rows>
    void judge_amounts(const TradeColumns& batch, const Rows& rows, std::size_t from,
                       std::size_t to, std::size_t first_row) const;
    template <class Rows>
    const typename Rows::Record* sort_block(SymbolSorter& sorter, const Rows& rows,
                                            std::size_t from, std::size_t end,
                                            std::size_t first_row) const;
    bool judge(const TradeColumns& batch, std::size_t row, std::size_t global_row);
    std::int32_t add_symbol(std::int32_t symbol, RowPlace place);
    [[nodiscard]] bool is_rejected(std::size_t global_row) const;

    const PassContext* context_;
    std::size_t begin_;
    std::size_t end_;
    const KnownSymbols* known_ = nullptr;
    SymbolRouter router_;
    std::vector<SliceSymbol> symbols_;
    RowCounter counter_;
    std::vector<SymbolAggregator<TimeBar>> times_;
    std::vector<std::int64_t> counts_;
    RejectCounts rejected_{};
    std::int64_t late_ = 0;
    std::vector<std::size_t> rejected_rows_;  // sorted, since rows are passed in order
};

}  // namespace klineagg::detail
