// What an engine is made with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "klineagg/aggregator.hpp"
#include "klineagg/arena.hpp"
#include "klineagg/engine/clock.hpp"
#include "klineagg/engine/accepted.hpp"
#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/wait.hpp"
#include "klineagg/wal/log.hpp"

namespace klineagg {

namespace engine {
class Observer;
}

/// What happens when consumers leave more rows unacknowledged than the bound allows.
enum class BoundPolicy : std::uint8_t {
    lose,   // the oldest go; the consumer's next snapshot says how many it lost
    block,  // the workers wait, so lanes fill and their policy acts
    evict,  // the oldest lie in a file until they are asked for; where it cannot be written: block
};

/// With a log an engine accepts a trade when the log has it, and goes on where the log ends.
struct JournalOptions {
    std::shared_ptr<wal::Log> log;                      // none: an engine without memory
    std::shared_ptr<const std::vector<std::byte>> checkpoint;  // in place of the files beside it
    std::shared_ptr<engine::AcceptObserver> observer;
    /// Tables (time zones, sessions) of intervals that nobody wants any more: the log has only their
    /// names, see engine::past_tables. Rows of one that is not here do not come back.
    std::vector<Interval> past_tables;
    /// All tables are good for these times. A log with other trades is refused with
    /// Error(recovery_mismatch), whose fields low_ns and high_ns say which, before anything is
    /// written: they would be in no bar.
    Span reach{TIME_MIN, TIME_MAX};
};

/// A bar, or a run of flat ones, that somebody holds with a revision.
struct KnownRevision {
    std::int32_t symbol = -1;
    int output = 0;
    Span span{0, 0};
    std::int32_t revision = 0;
};

struct EngineOptions {
    EngineOptions() {
        aggregator.lateness_ns = 0;
        aggregator.late = LatePolicy::amend;
        aggregator.amend_horizon_ns = NS_PER_HOUR;
        aggregator.gaps = GapMode::runs;
    }

    AggregatorOptions aggregator;
    int workers = 1;
    std::vector<int> cores;  // one for each worker, or none: not pinned
    engine::WaitKind wait = engine::WaitKind::backoff;
    engine::LanePolicy policy = engine::LanePolicy::block;
    std::size_t lane_capacity = 65536;
    DurationNs block_timeout_ns = 10 * NS_PER_SECOND;
    DurationNs close_delay_ns = 0;
    DurationNs max_ahead_ns = NS_PER_MINUTE;
    DurationNs lease_ns = 30 * NS_PER_SECOND;
    bool admit_unknown = true;
    std::size_t keep_bars = 0;  // closed rows of each symbol and interval held for Engine::bars
    bool allow_nonpositive_prices = false;
    std::uint64_t unacknowledged_rows_max = std::uint64_t{1} << 21U;  // for each worker
    BoundPolicy on_bound = BoundPolicy::lose;
    std::string eviction_folder;  // for `evict`; the file has no name
    ArenaKind snapshot_memory = ArenaKind::own;  // shared: other processes may map snapshots
    std::map<std::int32_t, double> last_prices;  // genesis seeds; need a coverage start
    std::shared_ptr<engine::Clock> clock;        // none: the system's
    JournalOptions journal;
    /// What the bars of a checkpoint are called elsewhere: amended again they get higher ones.
    std::shared_ptr<const std::vector<KnownRevision>> revisions;
    std::shared_ptr<engine::Observer> observer;  // is told what the workers do; none: nobody
};

}  // namespace klineagg
