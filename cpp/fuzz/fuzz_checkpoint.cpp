// Checkpoints made of any bytes: refused with a typed error, or an engine that works.
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "klineagg/engine.hpp"
#include "klineagg/engine/checkpoint.hpp"

namespace {

using namespace klineagg;

void require(bool good) {
    if (!good) throw std::logic_error("a checkpoint that was taken is not what it was");
}

std::vector<Interval> intervals() {
    return {Interval::parse("1m"), Interval::parse("1h"),
            Interval::table("sessions", {{0, NS_PER_DAY}, {NS_PER_DAY, 2 * NS_PER_DAY}})};
}

EngineOptions options(bool drops, bool late) {
    EngineOptions chosen;
    chosen.clock = std::make_shared<engine::SimulatedClock>();
    chosen.keep_bars = 2;
    chosen.lane_capacity = 2;
    chosen.unacknowledged_rows_max = 1024;
    chosen.aggregator.late = drops ? LatePolicy::drop : LatePolicy::amend;
    chosen.aggregator.lateness_ns = late ? NS_PER_MINUTE : 0;
    return chosen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const bool drops = (data[0] & 1U) != 0;
    const bool late = (data[0] & 2U) != 0;
    const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
    Engine engine(RollupPlan(intervals()), options(drops, late));
    try {
        (void)engine.restore(bytes);
    } catch (const Error& error) {
        require(error.code() != ErrorCode::internal && error.code() != ErrorCode::worker_failed);
        (void)engine.view();
        return 0;
    }
    (void)engine.view();
    const std::vector<std::byte> again = engine.checkpoint();
    Engine other(RollupPlan(intervals()), options(drops, late));
    (void)other.restore(again);
    const std::vector<std::byte> third = other.checkpoint();
    require(again == third);
    return 0;
}
