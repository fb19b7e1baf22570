#include "engine_options.hpp"

#include <pybind11/stl.h>

#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "klineagg/bus/engine_feed.hpp"
#include "klineagg/error.hpp"

namespace py = pybind11;

namespace klineagg {
namespace {

class OptionReader {
public:
    explicit OptionReader(const py::dict& options) : options_(options) {}

    template <class T>
    void read(const char* name, T& to) {
        if (!options_.contains(name)) return;
        to = py::cast<T>(options_[name]);
        ++read_;
    }
    void check_all_read() const {
        if (read_ != options_.size())
            throw Error(ErrorCode::internal, "the core does not know all of the engine's options");
    }

private:
    const py::dict& options_;
    std::size_t read_ = 0;
};

}  // namespace

EngineOptions engine_options_of(const py::dict& given) {
    EngineOptions options;
    OptionReader reader(given);
    reader.read("lateness_ns", options.aggregator.lateness_ns);
    reader.read("late", options.aggregator.late);
    reader.read("amend_horizon_ns", options.aggregator.amend_horizon_ns);
    reader.read("gaps", options.aggregator.gaps);
    reader.read("coverage_start", options.aggregator.coverage_start);
    reader.read("workers", options.workers);
    reader.read("cores", options.cores);
    reader.read("wait", options.wait);
    reader.read("policy", options.policy);
    reader.read("lane_capacity", options.lane_capacity);
    reader.read("block_timeout_ns", options.block_timeout_ns);
    reader.read("close_delay_ns", options.close_delay_ns);
    reader.read("max_ahead_ns", options.max_ahead_ns);
    reader.read("lease_ns", options.lease_ns);
    reader.read("admit_unknown", options.admit_unknown);
    reader.read("keep_bars", options.keep_bars);
    bool shared = false;
    reader.read("shared_snapshots", shared);
    options.snapshot_memory = shared ? ArenaKind::shared : ArenaKind::own;
    reader.read("allow_nonpositive_prices", options.allow_nonpositive_prices);
    reader.read("unacknowledged_rows_max", options.unacknowledged_rows_max);
    reader.read("on_bound", options.on_bound);
    reader.read("eviction_folder", options.eviction_folder);
    reader.read("last_prices", options.last_prices);
    std::vector<std::tuple<std::int32_t, int, TimeNs, TimeNs, std::int32_t>> revisions;
    reader.read("revisions", revisions);
    auto known = std::make_shared<std::vector<KnownRevision>>();
    for (const auto& [symbol, output, open, close, revision] : revisions)
        known->push_back({symbol, output, {open, close}, revision});
    options.revisions = std::move(known);
    reader.read("past_tables", options.journal.past_tables);
    std::pair<TimeNs, TimeNs> reach{TIME_MIN, TIME_MAX};
    reader.read("reach", reach);
    options.journal.reach = {reach.first, reach.second};
    std::shared_ptr<bus::EngineFeed> feed;
    reader.read("feed", feed);
    options.observer = std::move(feed);
    reader.check_all_read();
    return options;
}

ConfigChange config_change_of(const py::dict& given) {
    ConfigChange change;
    OptionReader reader(given);
    reader.read("intervals", change.intervals);
    reader.read("lateness_ns", change.lateness_ns);
    reader.read("amend_horizon_ns", change.amend_horizon_ns);
    reader.read("gaps", change.gaps);
    reader.read("close_delay_ns", change.close_delay_ns);
    reader.read("lease_ns", change.lease_ns);
    reader.read("policy", change.policy);
    reader.read("lane_capacity", change.lane_capacity);
    reader.check_all_read();
    return change;
}

}  // namespace klineagg
