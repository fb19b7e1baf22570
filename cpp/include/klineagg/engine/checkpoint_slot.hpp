// One symbol, and the plan that its bars follow, as they stand in a checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "klineagg/engine/checkpoint_bytes.hpp"
#include "klineagg/engine/plan_generation.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

/// A symbol by the name that is the same in every process; ids that were never given a name are
/// what their user made them.
struct SymbolName {
    std::string text;
    std::int32_t id = -1;  // without a text
    friend auto operator<=>(const SymbolName&, const SymbolName&) = default;
};
SymbolName name_of_symbol(std::int32_t symbol);
/// The id of this process, made when there is none.
std::int32_t symbol_of(const SymbolName& name);
void put_name(ByteWriter& to, const SymbolName& name);
SymbolName get_name(ByteReader& from);

/// One interval; `tables`: see get_plan.
void put_interval(ByteWriter& to, const Interval& interval);
Interval get_interval(ByteReader& from, const std::vector<Interval>& tables);

/// The intervals, the tree of them and the rules. Intervals are numbered anew, without those that
/// went; tables (time zones, sessions) go by name, since they are computed elsewhere.
void put_plan(ByteWriter& to, const PlanGeneration& generation);
/// `tables`: where the tables that are named are looked for. One that is not there has no bars.
PlanGeneration get_plan(ByteReader& from, const std::vector<Interval>& tables);

/// `outputs`: the numbers of the intervals that are written, in their order.
void put_slot(ByteWriter& to, const SymbolSlot& slot, const std::vector<int>& outputs,
              TimeNs clock);
/// Into a new slot of the plan that was written with it. Blocks come from `pool` and have to be
/// given back to it, after an error too: see SymbolSlot::ids.
void get_slot(ByteReader& from, SymbolSlot& slot, BlockPool* pool);

}  // namespace klineagg::engine
