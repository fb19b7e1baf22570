// The whole state of one symbol's aggregator as bytes, and back.
#pragma once

#include <algorithm>
#include <cstddef>

#include "klineagg/aggregator.hpp"
#include "klineagg/engine/checkpoint_records.hpp"

namespace klineagg {

namespace engine {
struct StateCode;
}

/// Reads and makes the aggregator's state as a friend of it.
///
/// What is written is what follows from here on, and nothing else: how far a clock has been told
/// of, and what memory still holds beyond its horizon, is left out. So equal states are equal bytes.
template <>
class SymbolAggregator<engine::StateCode> {
public:
    using Aggregator = SymbolAggregator<PartialBar>;

    /// `clock`: the clock's watermark, of which the symbol may not have heard yet; it closes nothing.
    static void put(engine::ByteWriter& to, const Aggregator& from, TimeNs clock);

    /// Into one that is new, of the same plan and rules, whose pool is set. What is wrong with the
    /// bytes is Error(checkpoint_format); then it may be destroyed, and no more.
    static void get(engine::ByteReader& from, Aggregator& to);

    /// From the first trade to behind the last one, of the bars that it holds; empty without any.
    [[nodiscard]] static Span trade_times(const Aggregator& of);

private:
    static void put_level(engine::ByteWriter& to, const Aggregator::Level& level, bool is_open,
                          TimeNs close);
    static void put_history(engine::ByteWriter& to, const History& history, TimeNs forgotten_to);
    static void get_level(engine::ByteReader& from, Aggregator& to, int level);
    static void get_older(engine::ByteReader& from, Aggregator& to);
    static void get_missing(engine::ByteReader& from, Aggregator& to);
    static void get_history(engine::ByteReader& from, Aggregator& to, int level);
    static void check_span(const engine::ByteReader& from, const Aggregator& to, int level,
                           const PartialBar& bar);
};

namespace engine {
using AggregatorState = SymbolAggregator<StateCode>;
}

}  // namespace klineagg
