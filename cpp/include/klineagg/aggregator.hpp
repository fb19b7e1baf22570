// The aggregator of one symbol: the one authority that closes bars.
//
// Trades and clocks only raise a watermark; `advance` is the only code that closes a bar, fills
// a gap before it and rolls it up. The same class runs over whole records (PartialBar) and over
// records that hold only times (TimeBar): the second run tells how many rows the first will
// make, so results can be written in place, once, without ever growing.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <limits>
#include <string>
#include <vector>

#include "klineagg/builder.hpp"
#include "klineagg/error.hpp"
#include "klineagg/rollup.hpp"
#include "klineagg/time_bar.hpp"

namespace klineagg {

enum class LatePolicy : std::uint8_t { raise, drop };
enum class GapMode : std::uint8_t { none, runs, flat };

/// Lateness of an input that promises order: any step back in time is an error.
inline constexpr DurationNs STRICT_ORDER = -1;

struct AggregatorOptions {
    DurationNs lateness_ns = STRICT_ORDER;
    LatePolicy late = LatePolicy::raise;
    GapMode gaps = GapMode::none;
    bool include_open = true;
    TimeNs coverage_start = TIME_NONE;
    TimeNs coverage_end = TIME_NONE;
};

/// A trade that the order promised by the options does not allow.
struct OutOfOrder {
    TimeNs time;
    TimeNs watermark;  // or the newest time, for strict order
};

enum class Admission : std::uint8_t { applied, late };

/// A Sink receives the rows of one symbol, in order of time for each output (the place of the
/// interval among the configured ones):
///   bar(output, Bar& bar, double previous_close)
///   gap(output, Span range, std::int64_t bars, double price, std::uint16_t flags)
///   outside(output, const Bar& bar): trades in no span of the interval
template <class Bar>
class SymbolAggregator {
public:
    using TradeType = typename BarTraits<Bar>::TradeType;

    SymbolAggregator(const RollupPlan& plan, const AggregatorOptions& options)
        : SymbolAggregator(plan.levels().data(), plan.levels().size(), options) {}

    /// Applies a trade that neither begins a bar nor needs a second look: all but a few.
    /// False, with nothing changed, asks for add_slow.
    bool try_add(const TradeType& trade) noexcept {
        Bar& bar = base_.bar;
        // The first comparison guards four rare things: no open base bar, the end of it, wide
        // sums and split keys, because guard_base lowers the bar's end for them.
        return time_of(trade) < bar.close_time && BarTraits<Bar>::follows(bar, trade) &&
               add_next_trade(bar, trade);
    }

    /// Applies any trade. Throws OutOfOrder when the options promise order or ask to raise.
    template <class Sink>
    Admission add_slow(const TradeType& trade, const Sink& sink);

    template <class Sink>
    Admission add(const TradeType& trade, const Sink& sink) {
        return try_add(trade) ? Admission::applied : add_slow(trade, sink);
    }

    /// Raises the watermark and closes what lies behind it. Calling it again is a no-op.
    template <class Sink>
    void advance(TimeNs watermark, const Sink& sink);

    /// Seeds the genesis bars: the last price known before `start`.
    void seed(double price, TimeNs start);

    /// End of input: closes up to the newest trade, then up to the end of coverage, and hands
    /// out what is still open.
    template <class Sink>
    void finish(const Sink& sink);

    /// Marks this aggregator as a later slice of a symbol's trades: the first bar of each level
    /// is held back for `absorb`.
    void hold_heads() {
        base_.head_pending = true;
        for (Level& level : coarser_) level.head_pending = true;
        heads_.resize(level_count());
    }
    /// Goes on where `later` (a slice with held heads, whose trades follow ours) stopped.
    template <class Sink>
    void absorb(SymbolAggregator& later, const Sink& sink);

    /// The same state over times only.
    [[nodiscard]] SymbolAggregator<TimeBar> times_only() const;

    [[nodiscard]] TimeNs newest() const noexcept { return std::max(newest_, base_.bar.last_time); }
    [[nodiscard]] TimeNs watermark() const noexcept { return watermark_; }

private:
    template <class Other>
    friend class SymbolAggregator;

    struct Level {
        Bar bar{};
        bool active = false;
        bool head_pending = false;      // a later slice: its first bar belongs to a seam
        bool has_head = false;
        TimeNs covered_to = TIME_NONE;  // end of what was emitted; gaps begin here
        double last_close = NO_PRICE;
    };

    SymbolAggregator(const RollupLevel* plan, std::size_t levels, const AggregatorOptions& options)
        : plan_(plan),
          options_(&options),
          has_flat_rows_(options.gaps != GapMode::none),
          coarser_(levels - 1) {}

    static bool is_plain(const TradeType& trade) noexcept { return BarTraits<Bar>::is_plain(trade); }
    [[nodiscard]] std::size_t level_count() const noexcept { return coarser_.size() + 1; }
    Level& at(int level) {
        return level == 0 ? base_ : coarser_[static_cast<std::size_t>(level - 1)];
    }
    std::deque<Bar>& older() {
        if (!older_) older_ = std::make_unique<std::deque<Bar>>();
        return *older_;
    }

    void open_base(TimeNs time);
    Bar& cell_of(TimeNs time);
    void guard_base() noexcept;
    void unguard_base() noexcept { base_.bar.close_time = base_close_; }
    [[nodiscard]] std::uint16_t cut_flag(TimeNs open_time, TimeNs close_time) const noexcept;
    [[nodiscard]] Span genesis_span(int level) const noexcept;
    static std::int64_t extend_run(const RollupLevel& plan, Span& range, TimeNs to) noexcept;

    template <class Sink>
    void close_base(Bar& bar, const Sink& sink);
    template <class Sink>
    void close_level(int level, const Sink& sink);
    template <class Sink>
    void settle_feeds(int level, const Sink& sink);
    template <class Sink>
    void roll_up(int level, const Bar& bar, const Sink& sink);
    template <class Sink>
    void roll_into(int level, const Bar& bar, const Sink& sink);
    template <class Sink>
    void emit(int level, Bar& bar, const Sink& sink);
    template <class Sink>
    void emit_flat(int level, TimeNs to, const Sink& sink);
    template <class Sink>
    void emit_open(int level, const Sink& sink);
    template <class Sink>
    void hand_out_open(int level, const Sink& sink);
    template <class Sink>
    void absorb_level(int level, SymbolAggregator& later, const Sink& sink);

    Level base_;  // first, so that a trade finds its two cache lines without a pointer
    const RollupLevel* plan_;
    const AggregatorOptions* options_;
    TimeNs watermark_ = TIME_NONE;
    TimeNs newest_ = TIME_NONE;
    TimeNs base_close_ = TIME_NONE;  // the true end of the base bar; its own field is the guard
    TimeNs genesis_ = TIME_NONE;     // start of coverage of a seeded symbol
    bool has_flat_rows_;
    std::vector<Level> coarser_;     // levels 1 ...
    std::vector<Bar> heads_;         // of a later slice: the first bar of each level
    // Open base bars before the newest one; made with the first one (lateness > 0).
    std::unique_ptr<std::deque<Bar>> older_;
};

}  // namespace klineagg

#include "klineagg/detail/aggregator.ipp"
