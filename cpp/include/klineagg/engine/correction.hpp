// Bars of one symbol that are put right: a trade in them was cancelled or corrected, or they are
// rebuilt from trades that are known to be complete.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klineagg/aggregator.hpp"

namespace klineagg {

/// What is asked for. Trades are those of the symbol alone, in the order in which they came.
struct Correction {
    std::int32_t symbol = -1;
    std::vector<Trade> before;   // as the bars have them; of a repair: nobody knows
    std::vector<Trade> after;    // as they should
    std::vector<TimeNs> times;   // the bars over these are looked at
    Span range{0, 0};            // of a repair: the closed bars within it
    bool is_repair = false;
};

/// Of the bars that were looked at.
struct CorrectionReport {
    std::size_t replaced = 0;     // closed ones as a revision of them
    std::size_t same = 0;         // they hold what they should
    std::size_t unexplained = 0;  // their trades are not all known here: marked INCOMPLETE
    std::size_t pending = 0;      // they change, or wait for a trade: nothing was done yet
    std::uint64_t position = 0;   // in the log; 0: nothing had to be written
};

namespace engine {

/// One bar in the place of another. It goes there if the bar holds what is expected.
struct Replacement {
    Interval interval;
    TimeNs open_time = 0;
    PartialBar expected;  // its flags and revision say nothing
    PartialBar content;   // of its flags, INCOMPLETE counts
};

/// All of it or nothing, at one place in the order of trades.
struct Replacements {
    std::vector<Replacement> bars;
    std::vector<Interval> marked;    // INCOMPLETE: of these intervals the bars
    std::vector<TimeNs> marked_at;   // that hold these times
};

/// A bar as an aggregator has it.
struct HeldBar {
    int level = 0;
    Span span{0, 0};
    TimeNs limit = 0;       // it holds the trades before this
    bool is_open = false;
    bool is_known = false;  // otherwise it is forgotten, or was never kept
    PartialBar bar;
};

struct Correct;

}  // namespace engine

/// Reads and changes the aggregator's state as a friend of it.
template <>
class SymbolAggregator<engine::Correct> {
public:
    using Aggregator = SymbolAggregator<PartialBar>;

    /// The bars of all levels over a time.
    static void look(Aggregator& from, TimeNs time, std::vector<engine::HeldBar>& bars);
    /// The closed bars within a range that are handed out.
    static void look(Aggregator& from, Span range, std::vector<engine::HeldBar>& bars);
    [[nodiscard]] static bool is_same(const PartialBar& a, const PartialBar& b) noexcept;
    /// Whether every bar holds what is expected.
    [[nodiscard]] static bool fits(Aggregator& in, const engine::Replacements& all);
    static void apply(Aggregator& to, const engine::Replacements& all);
    /// See History::raise_revision.
    static void raise(Aggregator& to, int output, Span span, std::int32_t revision);

private:
    static bool held(Aggregator& from, int level, TimeNs time, engine::HeldBar& bar);
    static void put(Aggregator& to, const engine::HeldBar& at, const PartialBar& content);
    static void mark(Aggregator& to, const engine::HeldBar& at);
    [[nodiscard]] static int level_of(const Aggregator& in, const Interval& interval) noexcept;
    [[nodiscard]] static int source_of(const Aggregator& in, int level) noexcept;
};

namespace engine {
using Corrected = SymbolAggregator<Correct>;
}

}  // namespace klineagg
