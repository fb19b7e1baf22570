// What of an engine can be changed while it runs.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "klineagg/aggregator.hpp"
#include "klineagg/engine/lane.hpp"
#include "klineagg/interval.hpp"

namespace klineagg {

/// What is set is changed; all of it, or nothing.
struct ConfigChange {
    std::optional<std::vector<Interval>> intervals;  // all that are wanted, the present ones too
    std::optional<DurationNs> lateness_ns;
    std::optional<DurationNs> amend_horizon_ns;
    std::optional<GapMode> gaps;
    std::optional<DurationNs> close_delay_ns;
    std::optional<DurationNs> lease_ns;  // of snapshots to come
    std::optional<engine::LanePolicy> policy;
    std::optional<std::size_t> lane_capacity;
};

/// What has changed. Empty when everything was as asked for already.
struct ConfigReport {
    struct Value {
        std::string option;
        std::string before;
        std::string after;
    };
    std::vector<Value> changed;
    std::vector<int> added;    // outputs: see Engine::intervals
    std::vector<int> removed;
    bool has_new_base = false;  // trades are added to finer bars than before
};

}  // namespace klineagg
