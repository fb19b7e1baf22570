// Named consumers of closed and open bars, each with its own place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "klineagg/engine/core.hpp"
#include "klineagg/engine/snapshot.hpp"
#include "klineagg/engine/stats.hpp"
#include "klineagg/engine/worker.hpp"

namespace klineagg {

namespace engine {

/// What a cut of all workers yielded.
struct Taken {
    std::vector<std::uint64_t> log_ends;  // by worker
};

class Snapshotter {
public:
    Snapshotter(Core& core, std::int64_t epoch) : core_(&core), epoch_(epoch) {}

    struct Lost {
        std::uint64_t rows = 0;
    };
    struct Begun {
        SnapshotId id;
        std::uint64_t rows_lost = 0;
        std::vector<std::uint64_t> begins;  // by log
        std::vector<std::uint64_t> ends;
    };

    /// The slots that the consumer is owed besides those that changed; for the freeze of workers.
    /// Throws Error(snapshot_outstanding) while it has one that is neither over nor expired.
    const SlotSet& prepare(const std::string& consumer, TimeNs now);
    /// After the freeze: folds what changed into every consumer's set, and hands out the rows
    /// between the consumer's place and the ends of the logs. They stay until finish_reading.
    Begun begin(const std::string& consumer, TimeNs now, DurationNs lease_ns,
                const std::vector<Worker*>& workers, const std::vector<std::uint64_t>& ends);
    void finish_reading(const std::string& consumer);
    /// Gives the rows back after a failure between prepare and the end of the taking.
    void abandon(const std::string& consumer);

    /// Throws Error(snapshot_over) when the snapshot is not outstanding any more.
    void ack(const std::string& consumer, SnapshotId id, TimeNs now);
    /// Of a snapshot that is over: does nothing.
    void nack(const std::string& consumer, SnapshotId id) noexcept;
    bool is_outstanding(const std::string& consumer, SnapshotId id, TimeNs now) const;
    /// Before any snapshot: those to come are above all of `epoch`, that of the last one taken.
    void rise_above(std::int64_t epoch) noexcept {
        if (epoch_ <= epoch) epoch_ = epoch + 1;
        taken_epoch_ = epoch;
    }
    /// The same of an engine that may not have taken any.
    void rise_over(std::int64_t epoch) noexcept {
        if (epoch_ <= epoch) epoch_ = epoch + 1;
    }
    [[nodiscard]] std::int64_t epoch() const noexcept { return epoch_; }
    /// Of the last snapshot that was taken, here or where this engine went on from; 0: none was.
    /// Of no other one, or engines that were made and restored would differ in their checkpoints.
    [[nodiscard]] std::int64_t taken_epoch() const noexcept { return taken_epoch_; }
    /// False when there is none of that name.
    bool remove(const std::string& consumer);
    [[nodiscard]] std::vector<ConsumerStats> list(const std::vector<Worker*>& workers) const;
    /// Whether there are closed rows that the consumer has not acknowledged.
    [[nodiscard]] bool is_behind(const std::string& consumer,
                                 const std::vector<Worker*>& workers) const;

    /// Takes a log out of the order of logs, when nothing of it is kept any more. Who has not
    /// acknowledged all of it hears of the loss with the next snapshot.
    void drop_log(std::size_t log, std::uint64_t end);
    /// Memory for the workers' logs and back: true when a worker is busy. The keeper's.
    bool keep(const std::vector<Worker*>& workers);
    [[nodiscard]] std::size_t bytes() const;

private:
    struct Consumer {
        std::vector<std::uint64_t> cursors;  // by log: acknowledged up to here
        std::vector<std::uint64_t> ends;     // of the outstanding snapshot
        SlotSet pending;                     // slots whose open bars it has not acknowledged
        SlotSet outstanding_slots;
        std::size_t slots_limit = 0;
        std::int64_t number = 0;
        TimeNs expires = TIME_NONE;
        bool outstanding = false;
        bool is_new = true;  // has had no snapshot: it is owed every open bar
        bool reading = false;
        std::uint64_t lost = 0;  // rows of logs that are gone, to be stated
    };

    Consumer& find(const std::string& name);
    [[nodiscard]] static std::uint64_t cursor_of(const Consumer& consumer,
                                                 std::size_t log) noexcept {
        return log < consumer.cursors.size() ? consumer.cursors[log] : 0;
    }
    void give_back(Consumer& consumer) noexcept;
    [[nodiscard]] std::uint64_t kept_from(std::size_t log, std::uint64_t end) const;

    Core* core_;
    std::int64_t epoch_;
    std::int64_t taken_epoch_ = 0;
    mutable std::mutex mutex_;
    std::map<std::string, Consumer> consumers_;
    std::uint64_t dropped_rows_ = 0;  // of logs that are gone
};

}  // namespace engine

}  // namespace klineagg
