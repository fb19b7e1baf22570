#include "klineagg/engine/snapshotter.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace klineagg::engine {

namespace {

std::string text_of(SnapshotId id) {
    return std::to_string(id.epoch) + "." + std::to_string(id.number);
}

}  // namespace

Snapshotter::Consumer& Snapshotter::find(const std::string& name) { return consumers_[name]; }

const SlotSet& Snapshotter::prepare(const std::string& name, TimeNs now) {
    const std::lock_guard lock(mutex_);
    Consumer& consumer = find(name);
    if (consumer.outstanding) {
        if (now < consumer.expires) {
            const std::string id = text_of({epoch_, consumer.number});
            throw Error(ErrorCode::snapshot_outstanding,
                        "snapshot " + id + " of consumer '" + name + "' is outstanding",
                        {{"consumer", name}, {"snapshot", id}});
        }
        give_back(consumer);
    }
    const std::size_t slots = core_->slots.made();
    consumer.pending.grow(slots);
    if (std::exchange(consumer.is_new, false)) {
        for (std::size_t word = 0; word * 64 < slots; ++word)
            consumer.pending.set_word(word, ~std::uint64_t{0});
    }
    return consumer.pending;
}

Snapshotter::Begun Snapshotter::begin(const std::string& name, TimeNs now, DurationNs lease_ns,
                                      const std::vector<Worker*>& workers,
                                      const std::vector<std::uint64_t>& ends) {
    const std::lock_guard lock(mutex_);
    const std::size_t slots = core_->slots.made();
    for (auto& [other, consumer] : consumers_) {
        consumer.pending.grow(slots);
        consumer.outstanding_slots.grow(slots);
        consumer.slots_limit = slots;
        for (const Worker* worker : workers) {
            for (std::size_t i = 0; i < worker->dirty().frozen(); ++i)
                (void)consumer.pending.insert(worker->dirty().frozen(i));
        }
    }
    Consumer& consumer = find(name);
    consumer.cursors.resize(workers.size(), 0);
    Begun begun;
    if (consumer.number == 0) consumer.lost = dropped_rows_;
    begun.rows_lost = std::exchange(consumer.lost, 0);
    begun.id = {epoch_, ++consumer.number};
    taken_epoch_ = epoch_;
    for (std::size_t log = 0; log < workers.size(); ++log) {
        const std::uint64_t kept = workers[log]->log().begin();
        if (kept > consumer.cursors[log]) {
            begun.rows_lost += kept - consumer.cursors[log];
            consumer.cursors[log] = kept;
        }
    }
    begun.begins = consumer.cursors;
    begun.ends = ends;
    consumer.ends = ends;
    for (std::size_t log = 0; log < workers.size(); ++log)
        consumer.ends[log] = std::max(ends[log], consumer.cursors[log]);  // lost since the cut
    consumer.reading = true;
    for (std::size_t word = 0; word * 64 < slots; ++word) {
        consumer.outstanding_slots.set_word(word, consumer.pending.word(word));
        consumer.pending.set_word(word, 0);
    }
    consumer.outstanding = true;
    consumer.expires = lease_ns >= TIME_MAX - std::max<TimeNs>(now, 0) ? TIME_MAX : now + lease_ns;
    return begun;
}

void Snapshotter::finish_reading(const std::string& name) {
    const std::lock_guard lock(mutex_);
    find(name).reading = false;
}

void Snapshotter::abandon(const std::string& name) {
    const std::lock_guard lock(mutex_);
    Consumer& consumer = find(name);
    consumer.reading = false;
    if (consumer.outstanding) give_back(consumer);
}

void Snapshotter::give_back(Consumer& consumer) noexcept {
    // The cursors have not moved: the same closed rows come again.
    for (std::size_t word = 0; word * 64 < consumer.slots_limit; ++word) {
        consumer.pending.set_word(
            word, consumer.pending.word(word) | consumer.outstanding_slots.word(word));
    }
    consumer.outstanding = false;
}

void Snapshotter::ack(const std::string& name, SnapshotId id, TimeNs now) {
    const std::lock_guard lock(mutex_);
    const auto place = consumers_.find(name);  // not made anew: it may have been removed
    if (place != consumers_.end()) {
        Consumer& consumer = place->second;
        const bool current = consumer.outstanding && id == SnapshotId{epoch_, consumer.number};
        if (current && now < consumer.expires) {
            consumer.cursors = consumer.ends;
            consumer.outstanding = false;
            return;
        }
        if (current) give_back(consumer);
    }
    throw Error(ErrorCode::snapshot_over,
                "snapshot " + text_of(id) + " of consumer '" + name + "' is over",
                {{"consumer", name}, {"snapshot", text_of(id)}});
}

void Snapshotter::nack(const std::string& name, SnapshotId id) noexcept {
    const std::lock_guard lock(mutex_);
    const auto place = consumers_.find(name);
    if (place == consumers_.end()) return;
    Consumer& consumer = place->second;
    if (consumer.outstanding && id == SnapshotId{epoch_, consumer.number}) give_back(consumer);
}

bool Snapshotter::is_outstanding(const std::string& name, SnapshotId id, TimeNs now) const {
    const std::lock_guard lock(mutex_);
    const auto place = consumers_.find(name);
    return place != consumers_.end() && place->second.outstanding && now < place->second.expires &&
           id == SnapshotId{epoch_, place->second.number};
}

bool Snapshotter::remove(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return consumers_.erase(name) != 0;
}

std::vector<ConsumerStats> Snapshotter::list(const std::vector<Worker*>& workers) const {
    const std::lock_guard lock(mutex_);
    std::vector<ConsumerStats> list;
    for (const auto& [name, consumer] : consumers_) {
        ConsumerStats stats{name, 0, consumer.outstanding, consumer.expires, consumer.lost};
        for (std::size_t log = 0; log < workers.size(); ++log) {
            const ClosedLog& rows = workers[log]->log();
            const std::uint64_t from = cursor_of(consumer, log);
            if (consumer.number != 0 && rows.begin() > from) stats.rows_lost += rows.begin() - from;
            stats.rows_behind += rows.end() - std::min(rows.end(), std::max(from, rows.begin()));
        }
        list.push_back(std::move(stats));
    }
    return list;
}

bool Snapshotter::is_behind(const std::string& name, const std::vector<Worker*>& workers) const {
    const std::lock_guard lock(mutex_);
    const auto place = consumers_.find(name);
    for (std::size_t log = 0; log < workers.size(); ++log) {
        const ClosedLog& rows = workers[log]->log();
        const std::uint64_t from = place == consumers_.end() ? 0 : cursor_of(place->second, log);
        if (rows.end() > std::max(from, rows.begin())) return true;
    }
    return false;
}

std::uint64_t Snapshotter::kept_from(std::size_t log, std::uint64_t end) const {
    // Before the first consumer came, rows are kept for those to come.
    if (consumers_.empty()) return 0;
    std::uint64_t from = end;
    for (const auto& [name, consumer] : consumers_)
        from = std::min(from, cursor_of(consumer, log));
    return from;
}

void Snapshotter::drop_log(std::size_t log, std::uint64_t end) {
    const std::lock_guard lock(mutex_);
    for (auto& [name, consumer] : consumers_) {
        const std::uint64_t cursor = cursor_of(consumer, log);
        if (consumer.number != 0) consumer.lost += end - cursor;
        for (auto* const places : {&consumer.cursors, &consumer.ends}) {
            if (log < places->size())
                places->erase(places->begin() + static_cast<std::ptrdiff_t>(log));
        }
    }
    dropped_rows_ += end;
}

bool Snapshotter::keep(const std::vector<Worker*>& workers) {
    const std::lock_guard lock(mutex_);
    bool busy = false;
    bool reading = false;
    for (const auto& [name, consumer] : consumers_) reading = reading || consumer.reading;
    for (std::size_t i = 0; i < workers.size(); ++i) {
        ClosedLog& log = workers[i]->log();
        bool evicts = false;  // so that nobody waits for long who waits for room
        if (!reading) {
            std::uint64_t from = std::max(log.begin(), kept_from(i, log.end()));
            const BoundPolicy policy = core_->options.on_bound;
            evicts = policy == BoundPolicy::evict && log.evict();
            if (policy == BoundPolicy::lose || (core_->stopping.load() && !evicts))
                from = std::max(from, log.begin() + log.rows_over());
            log.trim(from);
        }
        // A cut comes behind rows that are not in the log yet, and what it is for may be to read
        // the log: the bound must not hold it up.
        const bool beyond_bound = reading || (core_->cuts_waited_for.load() != 0 && !evicts);
        if (!workers[i]->is_retired()) busy = log.refill(beyond_bound) || busy;
    }
    return busy;
}

std::size_t Snapshotter::bytes() const {
    const std::lock_guard lock(mutex_);
    std::size_t bytes = 0;
    for (const auto& [name, consumer] : consumers_)
        bytes += sizeof consumer + consumer.pending.bytes() + consumer.outstanding_slots.bytes();
    return bytes;
}

}  // namespace klineagg::engine
