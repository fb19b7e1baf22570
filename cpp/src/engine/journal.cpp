#include "klineagg/engine/journal.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace klineagg::engine {

namespace {

// What a block of trades may take, with its numbers and prices in full.
constexpr std::size_t BLOCK_BYTES_MAX = std::size_t{300} << 10U;

}  // namespace

Journal::Journal(std::shared_ptr<wal::Log> log) : log_(std::move(log)) {
    if (log_->payload_bytes_max() < BLOCK_BYTES_MAX)
        throw Error(ErrorCode::invalid_option, "an engine's log needs a ring of 1 MiB or more",
                    {{"option", "ring_bytes"}});
    read_committed();
    if (!log_->listen(*this))
        throw Error(ErrorCode::engine_state, "another engine writes this log");
}

Journal::~Journal() { detach(); }

void Journal::detach() noexcept { log_->end_listening(*this); }

Sequence Journal::bound() noexcept {
    Sequence frozen = frozen_.load(std::memory_order_acquire);
    if (frozen != EVERYTHING) [[unlikely]] return frozen;
    if (log_->state() == wal::LogState::running) [[likely]] return log_->accepted();
    // Decided once: a cut would not be one if some workers went on behind it.
    Sequence none = EVERYTHING;
    frozen_.compare_exchange_strong(none, log_->accepted(), std::memory_order_acq_rel);
    return frozen_.load(std::memory_order_acquire);
}

bool Journal::has_room() const noexcept {
    const std::uint64_t made = ticks_made_.load(std::memory_order_relaxed);
    return std::all_of(followers_.begin(), followers_.end(), [&](const Follower* each) {
        return made - each->done.load(std::memory_order_acquire) < TICKS;
    });
}

wal::Appended Journal::append_tick(const ClockRecord& record, TimeNs now) noexcept {
    if (!has_room()) return {wal::AppendStatus::would_block, 0, 0};
    std::array<std::byte, CLOCK_RECORD_BYTES> bytes;
    put_clock(bytes.data(), record);
    // Shown before it has its number: who appends something behind it sees that, and waits until
    // it is in the list.
    ticking_.store(true, std::memory_order_seq_cst);
    const wal::Appended done = append(wal::Topic::clock, bytes, 1, JOURNAL_SCHEMA, now);
    if (done.status == wal::AppendStatus::ok) {
        const std::uint64_t made = ticks_made_.load(std::memory_order_relaxed);
        highest_ = std::max(highest_, record.watermark);
        ticks_[made % TICKS] = {done.first, highest_};
        ticks_made_.store(made + 1, std::memory_order_release);
    }
    ticking_.store(false, std::memory_order_seq_cst);
    return done;
}

bool Journal::tick(TimeNs watermark, TimeNs now) noexcept {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    if (watermark <= highest_) return true;
    return append_tick({watermark, TIME_NONE}, now).status == wal::AppendStatus::ok;
}

wal::Appended Journal::mark(const ClockRecord& record, TimeNs now) noexcept {
    const std::lock_guard lock(mutex_);
    return append_tick(record, now);
}

void Journal::follow(Follower& follower) {
    const std::lock_guard lock(mutex_);
    // What the log has not accepted yet is still to come.
    const std::uint64_t made = ticks_made_.load();
    const Sequence accepted = bound();
    std::uint64_t done = made;
    while (done > 0 && made - done < TICKS - 1 && ticks_[(done - 1) % TICKS].sequence > accepted)
        --done;
    follower.done.store(done);
    follower.begin = done == 0 ? begin_ : ticks_[(done - 1) % TICKS].watermark;
    followers_.push_back(&follower);
}

void Journal::unfollow(Follower& follower) noexcept {
    const std::lock_guard lock(mutex_);
    std::erase(followers_, &follower);
}

void Journal::log_moved() noexcept {
    const std::lock_guard lock(mutex_);
    for (Follower* const each : followers_) each->waiter->notify();
}

void Journal::check() {
    if (!is_halted()) return;
    if (const auto failure = log_->failure()) {
        Error::Fields fields = failure->fields();
        fields.emplace_back("cause", std::string(error_info(failure->code()).name));
        const bool is_full = failure->code() == ErrorCode::wal_full;
        throw Error(is_full ? ErrorCode::wal_full : ErrorCode::wal_halted,
                    std::string("the engine accepts nothing since: ") + failure->what(),
                    std::move(fields));
    }
    if (log_->state() == wal::LogState::closed)
        throw Error(ErrorCode::wal_closed, "the engine's log is closed");
    throw Error(ErrorCode::wal_halted, "the engine accepts nothing until it is resumed");
}

void Journal::wait_accepted(Sequence sequence) {
    const bool always = log_->sync_mode() == wal::SyncMode::always;
    if (always) (void)log_->wait_durable(sequence, NO_DEADLINE);
    else (void)log_->wait_written(sequence, NO_DEADLINE);
}

Sequence Journal::write(const std::vector<std::byte>& record, TimeNs now) {
    while (true) {
        check();
        const wal::Appended done = append(record, now);
        if (done.status == wal::AppendStatus::ok) {
            wait_accepted(done.first);
            return done.first;
        }
        if (done.status == wal::AppendStatus::too_large)
            throw Error(ErrorCode::wal_record, "a record of the engine is too large for its log");
        (void)log_->wait_written(log_->written(), deadline_after(NS_PER_SECOND));
    }
}

Sequence Journal::write_mark(const ClockRecord& record, TimeNs now) {
    while (true) {
        check();
        const wal::Appended done = mark(record, now);
        if (done.status == wal::AppendStatus::ok) {
            wait_accepted(done.first);
            return done.first;
        }
    }
}

void Journal::resume() {
    log_->resume();
    frozen_.store(EVERYTHING, std::memory_order_release);
    log_moved();
}

JournalStats Journal::stats() {
    JournalStats stats;
    stats.log = log_->stats();
    stats.accepted = bound();
    stats.halted = is_halted();
    if (stats.halted)
        if (const auto failure = log_->failure())
            stats.cause = std::string(error_info(failure->code()).name);
    stats.committed = stats.log.committed;
    stats.checkpoint_failures = failures_.load();
    return stats;
}

}  // namespace klineagg::engine
