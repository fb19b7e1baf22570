// What became of a producer's rows, added up over all the lanes it ever had.
#include <algorithm>

#include "klineagg/engine/producer.hpp"
#include "pause.hpp"

namespace klineagg {

using engine::Intake;
using engine::LaneCounts;

namespace {

void add(ProducerStats& stats, const LaneCounts& counts) noexcept {
    stats.offered += counts.offered;
    stats.accepted += counts.applied;
    stats.in_flight += counts.in_flight;
    stats.dropped_newest += counts.dropped_newest;
    stats.dropped_oldest += counts.dropped_oldest;
    stats.refused += counts.refused;
}

}  // namespace

std::uint64_t ProducerStats::rejected_total() const noexcept {
    std::uint64_t total = 0;
    for (const std::uint64_t count : rejected) total += count;
    return total;
}

void Producer::keep_counts_of(const std::vector<std::shared_ptr<Intake>>& intakes) {
    const std::lock_guard lock(all_);
    for (const std::shared_ptr<Intake>& intake : intakes) {
        if (std::find(all_intakes_.begin(), all_intakes_.end(), intake) == all_intakes_.end())
            all_intakes_.push_back(intake);
    }
}

ProducerStats Producer::stats() const {
    const std::lock_guard lock(all_);
    ProducerStats stats = gone_;
    stats.name = name_;
    stats.source = source_;
    auto kept = all_intakes_.begin();
    for (const std::shared_ptr<Intake>& intake : all_intakes_) {
        // Asked before the counts are read: then these are its last.
        const bool is_over = intake->is_sealed() && intake->lane.applied() >= intake->lane.pushed();
        const LaneCounts counts = intake->lane.counts();
        add(stats, counts);
        if (is_over) {
            add(gone_, counts);
            continue;
        }
        if (!intake->is_sealed())
            stats.lanes.push_back(
                {intake->worker(), intake->lane.capacity(), intake->lane.policy(), counts});
        *kept++ = intake;
    }
    all_intakes_.erase(kept, all_intakes_.end());
    for (std::size_t i = 0; i < ENGINE_REJECT_REASONS; ++i)
        stats.rejected[i] = static_cast<std::uint64_t>(rejected_[i].load(std::memory_order_relaxed));
    stats.offered += stats.rejected_total();
    return stats;
}

void Producer::wait_until_outside(const engine::Failure& failure) const {
    engine::Pause pause;
    while (taken_.load() || section_.load() == PUSHING) {
        failure.check();
        pause();
    }
}

std::size_t Producer::bytes() const {
    const std::lock_guard lock(all_);
    std::size_t bytes = sizeof *this + stages_.size() * sizeof(Stage);
    for (const std::shared_ptr<Intake>& intake : all_intakes_)
        bytes += sizeof *intake - sizeof intake->lane + intake->lane.memory_bytes();
    return bytes;
}

bool Producer::flush(std::optional<DurationNs> timeout) const {
    struct Target {
        std::shared_ptr<Intake> intake;
        std::uint64_t position;
    };
    std::vector<Target> targets;
    {
        const std::lock_guard lock(all_);
        for (const std::shared_ptr<Intake>& intake : all_intakes_)
            targets.push_back({intake, intake->lane.pushed()});
    }
    const engine::MonotonicNs deadline =
        timeout ? engine::deadline_after(*timeout) : engine::NO_DEADLINE;
    engine::Pause pause;
    for (const Target& target : targets) {
        while (target.intake->lane.applied() < target.position) {
            core_->failure.check();
            if (core_->journal) core_->journal->check();
            if (deadline != engine::NO_DEADLINE && engine::monotonic_ns() >= deadline) return false;
            pause();
        }
    }
    return true;
}

}  // namespace klineagg
