// The aggregator of one symbol: the one authority that closes bars.
//
// Trades and clocks only raise a watermark; `advance` is the only code that closes a bar, fills
// a gap before it and rolls it up. The same class runs over whole records (PartialBar) and over
// records that hold only times (TimeBar): the second run tells how many rows the first will
// make, so results can be written in place, once, without ever growing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "klineagg/block_pool.hpp"
#include "klineagg/builder.hpp"
#include "klineagg/detail/huge_pool.hpp"
#include "klineagg/detail/missing_times.hpp"
#include "klineagg/detail/roll_bars.hpp"
#include "klineagg/detail/time_list.hpp"
#include "klineagg/error.hpp"
#include "klineagg/history.hpp"
#include "klineagg/rollup.hpp"
#include "klineagg/time_bar.hpp"

namespace klineagg {

enum class LatePolicy : std::uint8_t { raise, drop, amend };
enum class GapMode : std::uint8_t { none, runs, flat };

/// Lateness of an input that promises order: any step back in time is an error.
inline constexpr DurationNs STRICT_ORDER = -1;

/// Late trades change closed bars however old these are.
inline constexpr DurationNs HORIZON_UNLIMITED = std::numeric_limits<DurationNs>::max();

struct AggregatorOptions {
    DurationNs lateness_ns = STRICT_ORDER;
    LatePolicy late = LatePolicy::raise;
    DurationNs amend_horizon_ns = HORIZON_UNLIMITED;
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

enum class Admission : std::uint8_t { applied, late, beyond_horizon };

/// Bars that were closed and not yet rolled up and handed out. In batches, because one by one
/// each would wait for the stores of the one before it, and every row would visit all columns
/// of the result.
template <class Bar, std::size_t Capacity>
class BarBatch {
public:
    static constexpr std::size_t CAPACITY = Capacity;

    [[nodiscard]] Bar* data() noexcept { return reinterpret_cast<Bar*>(bytes_); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_full() const noexcept { return size_ == Capacity; }
    void clear() noexcept { size_ = 0; }
    /// One more, with nothing meant in it.
    [[nodiscard]] Bar& grow() noexcept { return data()[size_++]; }

private:
    static_assert(std::is_trivially_copyable_v<Bar> && std::is_trivially_destructible_v<Bar>);
    std::size_t size_ = 0;
    alignas(Bar) std::byte bytes_[Capacity * sizeof(Bar)];  // not cleared: most is never used
};

/// Room for add_run: 40 KiB, so that the rows of a busy symbol come in whole cache lines.
template <class Bar>
using ClosedBars = BarBatch<Bar, 128>;

template <class Sink>
inline constexpr bool emits_at_once = requires { Sink::AT_ONCE; };

/// A Sink receives the rows of one symbol, in order of time for each output (the place of the
/// interval among the configured ones):
///   bars(output, const Bar* bars, std::size_t count, double close_before): that of the bar before
///   gap(output, Span range, std::int64_t bars, double price, std::uint16_t flags, revision)
///   outside(output, const Bar& bar): trades in no span of the interval
/// With LatePolicy::amend rows come from `hand_out` instead, whenever the owner asks, and cost
/// him what has changed. A sink with a member AT_ONCE gets bars that close in order right away.
template <class Bar>
class SymbolAggregator {
public:
    using TradeType = typename BarTraits<Bar>::TradeType;

    /// Takes the memory of what it keeps from `pool`, or from the heap when there is none.
    SymbolAggregator(const RollupPlan& plan, const AggregatorOptions& options,
                     BlockPool* pool = nullptr)
        : SymbolAggregator(plan.levels().data(), plan.levels().size(), options, pool) {}

    /// From now on it takes from this pool, and gives to it what it took from another.
    void set_pool(BlockPool* pool) noexcept {
        older_.set_pool(pool);
        missing_.set_pool(pool);
        for (History& history : histories_) history.set_pool(pool);
    }
    /// Gives back the memory of what it keeps; of one that is not used any more, by the thread
    /// that its pool belongs to.
    void release() noexcept {
        older_.clear();
        missing_.clear();
        for (History& history : histories_) history.clear();
    }
    /// Coverage began at `start`, whatever the options say: for a symbol that joins a live feed.
    void cover_from(TimeNs start) noexcept { coverage_start_ = start; }
    [[nodiscard]] TimeNs covered_from() const noexcept { return coverage_start_; }

    /// Applies a trade that neither begins a bar nor needs a second look: all but a few.
    /// False, with nothing changed, asks for add_slow.
    bool try_add(const TradeType& trade) noexcept {
        Bar& bar = base_.bar;
        // The first comparison guards six rare things: no open base bar, the end of it, wide
        // sums, split keys, a clock by which trades are late, and with a lateness a trade by
        // which something may close. guard_base lowers the bar's end for them.
        return time_of(trade) < bar.close_time && BarTraits<Bar>::follows(bar, trade) &&
               add_next_trade(bar, trade);
    }

    /// Applies any trade. Throws OutOfOrder when the options promise order or ask to raise.
    template <class Sink>
    Admission add_slow(const TradeType& trade, const Sink& sink);

    /// Applies trades that follow each other in order, closing bars in batches; returns the first
    /// that asks for add_slow. `closed` is room to work in. Coarser bars that ended, and that no
    /// bar followed yet, are left to settle: most have a follower in the next run.
    template <class AnyTrade, class Sink>
    const AnyTrade* add_run(const AnyTrade* trade, const AnyTrade* end, ClosedBars<Bar>& closed,
                            const Sink& sink);
    /// Closes what ended. After the last run of those that are handed out together.
    template <class Sink>
    void settle(const Sink& sink);

    template <class Sink>
    Admission add(const TradeType& trade, const Sink& sink) {
        return try_add(trade) ? Admission::applied : add_slow(trade, sink);
    }

    /// Raises the watermark and closes what lies behind it. Calling it again is a no-op.
    template <class Sink>
    void advance(TimeNs watermark, const Sink& sink);

    /// Seeds the genesis bars: the last price known before `start`. Once, and not when has_price():
    /// a second one would put genesis bars behind bars of later times.
    void seed(double price, TimeNs start);
    /// Whether a price is known from before the first trade: it was seeded, or warmed.
    [[nodiscard]] bool has_price() const noexcept {
        const auto known = [](const Level& level) { return level.last_close == level.last_close; };
        return genesis_ != TIME_NONE || known(base_) ||
               std::any_of(coarser_.begin(), coarser_.end(), known);
    }

    /// LatePolicy::drop: hands out the genesis bars that the watermark has closed. A batch has
    /// them when the next bar closes; for one that looks on, that may be never.
    template <class Sink>
    void close_genesis(const Sink& sink);

    /// End of input: closes up to the newest trade, then up to the end of coverage, and hands
    /// out what is still open.
    template <class Sink>
    void finish(const Sink& sink);

    /// LatePolicy::amend: the rows that are new or revised since `mark_given`, and with `finished`
    /// (after prepare_finish) the open ones and the flat ones behind the last.
    template <class Sink>
    void hand_out(const Sink& sink, bool finished);
    template <class Sink>
    void prepare_finish(const Sink& sink);
    void mark_given();
    /// Trades in [from, to] are known to be missing: marks the bars over it as INCOMPLETE, those
    /// without trades and those to come too. Of what was handed out those within reach of
    /// amendments, as revisions of them.
    void mark_incomplete(TimeNs from, TimeNs to);
    /// Whether anything may have come since `mark_given`.
    [[nodiscard]] bool has_news() const noexcept { return has_news_; }

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
        bool head_pending = false;      // a later slice: its first bar belongs to a seam
        bool has_head = false;
        TimeNs covered_to = TIME_NONE;  // end of what was emitted; gaps begin here
        double last_close = NO_PRICE;
    };

    /// A base bar before the newest one, open still.
    struct Cell {
        explicit Cell(Span span) noexcept { start_bar(bar, span.open, span.close); }
        explicit Cell(const Bar& from) noexcept : bar(from) {}
        Bar bar;
        detail::TimeLinks<Cell> links;
    };

    SymbolAggregator(const RollupLevel* plan, std::size_t levels, const AggregatorOptions& options,
                     BlockPool* pool)
        : plan_(plan),
          options_(&options),
          raise_at_(options.lateness_ns > 0 ? TIME_NONE : std::numeric_limits<TimeNs>::max()),
          coverage_start_(options.coverage_start),
          has_flat_rows_(options.gaps != GapMode::none),
          coarser_(levels - 1),
          older_(pool),
          missing_(pool) {
        if (options.late != LatePolicy::amend) return;
        histories_.reserve(levels);
        for (std::size_t i = 0; i < levels; ++i) histories_.emplace_back(pool);
    }

    /// Whether the level has an open bar. Of all but the base in one word: who asks most levels in
    /// vain must not ask for the memory of each.
    [[nodiscard]] bool is_open(int level) const noexcept {
        return level == 0 ? base_open_ : ((open_levels_ >> (level - 1)) & 1U) != 0;
    }
    void set_open(int level, bool open) noexcept {
        static_assert(INTERVALS_MAX <= 64);  // a plan has a base beside them, at most
        if (level == 0) {
            base_open_ = open;
            return;
        }
        const std::uint64_t bit = std::uint64_t{1} << (level - 1);
        open_levels_ = open ? open_levels_ | bit : open_levels_ & ~bit;
    }

    static bool is_plain(const TradeType& trade) noexcept { return BarTraits<Bar>::is_plain(trade); }
    [[nodiscard]] std::size_t level_count() const noexcept { return coarser_.size() + 1; }
    [[nodiscard]] Level& at(int level) noexcept {
        return level == 0 ? base_ : coarser_[static_cast<std::size_t>(level - 1)];
    }
    [[nodiscard]] const Level& at(int level) const noexcept {
        return level == 0 ? base_ : coarser_[static_cast<std::size_t>(level - 1)];
    }

    /// By which trades are late. The watermark itself rises only as far as bars can close, which
    /// depends on the intervals; which trades are late must not.
    [[nodiscard]] TimeNs judging_watermark() const noexcept;
    /// Closes what lies behind the watermark.
    template <class Sink>
    void close_due(const Sink& sink);
    /// Adds a trade to its base bar, which is open still or begins with it.
    void add_in_time(const TradeType& trade);
    void open_base(TimeNs time);
    Bar& cell_of(TimeNs time);
    void guard_base() noexcept;
    /// Trades may come that follow the bar's last one and are late nevertheless.
    [[nodiscard]] bool clock_is_ahead() const noexcept;
    void unguard_base() noexcept { base_.bar.close_time = base_close_; }
    [[nodiscard]] std::uint16_t cut_flag(TimeNs open_time, TimeNs close_time) const noexcept;
    [[nodiscard]] Span genesis_span(int level) const noexcept;
    /// Where a run of flat bars ends, and how many they are.
    struct GapRun {
        TimeNs close;
        std::int64_t bars;
    };
    /// Those that open in [first.open, to), up to the end of the day.
    static GapRun run_from(const RollupLevel& plan, Span first, TimeNs to) noexcept;
    /// Emits the flat bars that open in [from, to) and returns the end of the last.
    template <class Sink>
    TimeNs emit_gaps(const RollupLevel& plan, TimeNs from, TimeNs to, double price,
                     std::int32_t revision, const Sink& sink,
                     int flags = BAR_GAP | BAR_CLOSED) const;

    [[nodiscard]] bool amends() const noexcept { return !histories_.empty(); }
    [[nodiscard]] History& history(int level) noexcept {
        return histories_[static_cast<std::size_t>(level)];
    }
    [[nodiscard]] const History& history(int level) const noexcept {
        return histories_[static_cast<std::size_t>(level)];
    }
    [[nodiscard]] TimeNs closed_to(int level) const noexcept;
    /// Late trades change no bar that ended by this, at this watermark; TIME_NONE: they change any.
    [[nodiscard]] TimeNs reach_at(TimeNs watermark) const noexcept {
        return std::max(horizon_at(watermark), forgotten_to_);
    }
    [[nodiscard]] TimeNs horizon_at(TimeNs watermark) const noexcept {
        const DurationNs horizon = options_->amend_horizon_ns;
        const bool is_known = horizon != HORIZON_UNLIMITED && watermark != TIME_NONE;
        return is_known ? watermark - horizon : TIME_NONE;
    }
    template <class Sink>
    Admission add_late(const TradeType& trade, TimeNs mark, const Sink& sink);
    template <class Sink>
    void amend_level(int level, const Trade& trade, const Sink& sink);
    /// The open bar over `span`, nullptr when nobody has traded in it. Trades that lie in open
    /// bars below it yet are its own too.
    Bar* open_bar(int level, Span span);
    void mark_beyond_horizon(int level, TimeNs time);
    template <class Sink>
    void hand_out_flats(int level, const KeptBar& from, TimeNs to, double price,
                        const Sink& sink) const;
    /// The end of what was said of a level, or may be left unsaid.
    [[nodiscard]] TimeNs told_to(int level) const noexcept;
    /// Whether flat bars that are to be told of before `bar` lack trades.
    [[nodiscard]] bool misses_before(int level, TimeNs open_time) const noexcept;
    void keep_missing(int level);
    template <class Sink>
    void hand_out_level(int level, const Sink& sink, bool finished);

    template <class Sink>
    void close_bars(int level, Bar* bars, std::size_t count, const Sink& sink);
    template <class Sink>
    void close_run(Bar* bars, std::size_t count, TimeNs watermark, const Sink& sink);
    template <class Sink>
    void close_level(int level, const Sink& sink);
    template <class Sink>
    void settle_feeds(int level, const Sink& sink);
    template <class Sink>
    void roll_up(int level, const Bar* bars, std::size_t count, const Sink& sink);
    template <class Sink>
    void roll_into(int level, const Bar* bars, std::size_t count, const Sink& sink);
    /// As roll_into, for any interval and any bars.
    template <class Sink>
    void roll_any(int level, const Bar* bars, const Bar* end, const Sink& sink);
    template <class Sink>
    void emit(int level, Bar* bars, std::size_t count, const Sink& sink);
    /// The last price of bars that were closed.
    static void keep_close(Level& state, const Bar* bars, std::size_t count) noexcept;
    template <class Sink>
    void emit_kept(int level, Bar* bars, std::size_t count, const Sink& sink);
    template <class Sink>
    void emit_one(int level, Bar& bar, const Sink& sink);
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
    TimeNs raise_at_;  // lateness > 0: the next trade from here on raises the watermark
    TimeNs genesis_ = TIME_NONE;     // start of coverage of a seeded symbol
    TimeNs coverage_start_;
    TimeNs forgotten_to_ = TIME_NONE;  // by a shorter horizon than that of now: see reach_at
    std::uint64_t open_levels_ = 0;  // a bit each, of levels 1 ...
    bool base_open_ = false;
    bool has_flat_rows_;
    bool has_news_ = false;
    bool owes_genesis_ = false;      // see close_genesis
    std::vector<Level, detail::HugeAllocator<Level>> coarser_;  // levels 1 ...
    std::vector<Bar> heads_;         // of a later slice: the first bar of each level
    std::vector<History> histories_;  // by level; with LatePolicy::amend only
    detail::TimeList<Cell> older_;    // lateness > 0: open base bars before the newest one
    detail::MissingTimes missing_;
};

}  // namespace klineagg

#include "klineagg/detail/aggregator.ipp"
#include "klineagg/detail/aggregator_amend.ipp"
#include "klineagg/detail/aggregator_rows.ipp"
#include "klineagg/detail/aggregator_slices.ipp"
