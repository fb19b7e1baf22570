#include "klineagg/engine/core.hpp"

#include <utility>

namespace klineagg::engine {

Core::Core(RollupPlan rollup, EngineOptions chosen)
    : options(std::move(chosen)),
      generation(nullptr),
      close_delay_ns(options.close_delay_ns),
      clock(options.clock ? options.clock : std::make_shared<SystemClock>()),
      slots(*begin(std::move(rollup)), options.keep_bars) {}

const PlanGeneration* Core::begin(RollupPlan plan) {
    generations.push_back(std::make_unique<const PlanGeneration>(
        first_generation(std::move(plan), options.aggregator)));
    generation.store(generations.back().get());
    return generations.back().get();
}

Route Core::admit(std::int32_t symbol) {
    return routes.find_or_make(symbol, [&] {
        const std::uint32_t index = slots.claim();
        SymbolSlot& slot = slots[index];
        slot.symbol = symbol;
        const TimeNs now = clock->now();
        // A clock that was never set knows nothing. With a log its first trade's place there says.
        slot.joined = now == TIME_MIN || journal ? TIME_NONE : now;
        newest_symbol.store(symbol, std::memory_order_relaxed);
        return Route{index, static_cast<std::uint16_t>(
                                index % workers.load(std::memory_order_relaxed))};
    });
}

}  // namespace klineagg::engine
