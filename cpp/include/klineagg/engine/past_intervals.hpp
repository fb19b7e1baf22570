// Which intervals an engine had at which place of its log, looked up before that is replayed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "klineagg/interval.hpp"
#include "klineagg/wal/log.hpp"
#include "klineagg/wal/reader.hpp"

namespace klineagg::engine {

/// An interval that came or went while the engine ran comes and goes at the same place when its
/// log is replayed: else there would be bars that nobody had, or bars would be gone. One that the
/// log knows nothing of is new, and is made from the beginning of the replay.
class PastIntervals {
public:
    /// `live`: of the checkpoint at `from - 1`; none without a checkpoint, then the log says.
    /// `tables`: see get_interval. Throws what reading the log throws.
    PastIntervals(const wal::Log& log, const wal::ReadOptions& options,
                  const std::optional<std::vector<Interval>>& live,
                  const std::vector<Interval>& wanted, const std::vector<Interval>& tables);

    /// Those that the replay begins with.
    [[nodiscard]] const std::vector<Interval>& first() const noexcept { return first_; }
    /// Those that were wanted, then others of first(): by the numbers that rows are to bear.
    [[nodiscard]] const std::vector<Interval>& outputs() const noexcept { return outputs_; }
    /// Those from a record on that names `recorded`. Empty: no record says so.
    [[nodiscard]] std::vector<Interval> at(std::uint64_t position,
                                           const std::vector<Interval>& recorded) const;
    /// Whether some of those that were wanted are new.
    [[nodiscard]] bool has_new() const noexcept { return has_new_; }

private:
    struct Early {
        Interval interval;
        std::uint64_t until;  // the record that names it
    };

    void take(std::uint64_t position, const wal::Reader::Frame& frame, std::uint64_t from,
              const std::vector<Interval>& tables);

    std::vector<Interval> first_;
    std::vector<Interval> outputs_;
    std::vector<Interval> ever_;
    std::vector<Early> early_;
    bool has_new_ = false;
};

/// Names of the tables that an engine recovers by, if somebody can make them: of `checkpoint` (none:
/// of the one that it would begin with) and of the log. Throws what reading the log throws.
[[nodiscard]] std::vector<std::string> past_tables(
    const wal::Log& log, const std::optional<std::span<const std::byte>>& checkpoint);

}  // namespace klineagg::engine
