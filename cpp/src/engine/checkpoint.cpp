#include "klineagg/engine/checkpoint.hpp"

#include <string>
#include <utility>

#include "klineagg/engine/checkpoint_records.hpp"

namespace klineagg::engine {

void put_head(ByteWriter& to, const CheckpointHead& head, const PlanGeneration& generation) {
    to.put(CHECKPOINT_MAGIC);
    to.put(CHECKPOINT_VERSION);
    to.put(PARTIAL_BAR_VERSION);
    to.put(head.epoch);
    to.put(head.watermark);
    to.put(head.simulated);
    for (const std::int64_t count :
         {head.applied, head.late, head.beyond_horizon, head.outside, head.duplicates})
        to.put(count);
    to.put(static_cast<std::uint32_t>(head.sources.size()));
    for (const CheckpointHead::Source& source : head.sources) {
        to.put(source.number);
        to.put(source.counts.duplicates);
        to.put(source.counts.gaps);
        to.put(source.counts.out_of_order);
    }
    put_plan(to, generation);
}

CheckpointHead Checkpoint::get_head(ByteReader& from) {
    from.check(from.left() >= CHECKPOINT_STATE_BEGIN, "it ends too early");
    from.check(from.get<std::uint32_t>() == CHECKPOINT_MAGIC, "it is no checkpoint");
    const auto version = from.get<std::uint16_t>();
    const auto bars = from.get<std::uint16_t>();
    if (version != CHECKPOINT_VERSION || bars != PARTIAL_BAR_VERSION) {
        const std::string found = std::to_string(version) + "." + std::to_string(bars);
        const std::string known =
            std::to_string(CHECKPOINT_VERSION) + "." + std::to_string(PARTIAL_BAR_VERSION);
        throw Error(ErrorCode::checkpoint_version,
                    "the checkpoint has version " + found + ", this is " + known,
                    {{"found", found}, {"known", known}});
    }
    CheckpointHead head;
    head.epoch = from.get<std::int64_t>();
    from.check(head.epoch >= 0 && head.epoch <= TIME_MAX, "an epoch that no engine has");
    head.watermark = get_time(from);
    head.simulated = get_time(from);
    for (std::int64_t* const count :
         {&head.applied, &head.late, &head.beyond_horizon, &head.outside, &head.duplicates}) {
        *count = from.get<std::int64_t>();
        from.check(*count >= 0, "a count below 0");
    }
    for (std::size_t count = from.get_count(26); count != 0; --count) {
        CheckpointHead::Source source{};
        source.number = from.get<std::uint16_t>();
        source.counts.duplicates = from.get<std::int64_t>();
        source.counts.gaps = from.get<std::int64_t>();
        source.counts.out_of_order = from.get<std::int64_t>();
        from.check(head.sources.empty() || head.sources.back().number < source.number,
                   "sources that are not in order");
        head.sources.push_back(source);
    }
    return head;
}

Checkpoint::Checkpoint(std::span<const std::byte> bytes, const std::vector<Interval>& tables)
    : Checkpoint(ByteReader(bytes), tables) {}

Checkpoint::Checkpoint(ByteReader from, const std::vector<Interval>& tables)
    : head(get_head(from)), plan(get_plan(from, tables)) {
    for (std::size_t count = from.get_count(9); count != 0; --count) {
        const SymbolName name = get_name(from);
        from.check(symbols.empty() || symbols.back().name < name, "symbols that are not in order");
        const std::size_t size = from.get_count(1);
        symbols.push_back({name, from.get_part(size)});
    }
    from.check_end();
}

void Checkpoint::read(const Symbol& symbol, SymbolSlot& slot, BlockPool* pool) const {
    ByteReader from = symbol.state;
    slot.begins.assign(plan.outputs.size(), TIME_NONE);
    get_slot(from, slot, pool);
    from.check(slot.aggregator.watermark() >= head.watermark, "a symbol behind the clock");
}

PlanGeneration generation_after(const PlanGeneration& from, const std::vector<Interval>& wanted,
                                const std::vector<Interval>& outputs,
                                const AggregatorOptions& rules) {
    if (from.options.late != rules.late) {
        throw Error(ErrorCode::checkpoint_mismatch,
                    "the checkpoint was made with another rule for late trades",
                    {{"option", "late"}});
    }
    const PlanGeneration next = next_generation(from, wanted, rules);
    PlanGeneration numbered = renumbered(next, outputs);
    numbered.levels_before = next.levels_before;
    numbered.has_new_base = next.has_new_base;
    return numbered;
}

}  // namespace klineagg::engine
