#include "log_writer.hpp"

#include <algorithm>
#include <cstring>

#include "klineagg/wal/segment.hpp"

namespace klineagg::wal {
namespace {

constexpr std::size_t SEAL_BYTES = sizeof(FrameHeader);

}  // namespace

void Log::Writer::start() {
    thread_ = engine::Thread("kla-wal", std::nullopt, [this] { run(); });
}

void Log::Writer::stop() {
    shared_->closing.store(true);
    shared_->waiter.notify();
    thread_.join();
}

void Log::Writer::run() {
    while (true) {
        bool busy = false;
        if (shared_->state.load() == LogState::halted) {
            if (shared_->closing.load()) break;
            if (shared_->resume_wanted.load()) try_resume();
        } else {
            try {
                // Asked before the turn, so that it sees all that was appended before stop(): asked
                // after it, the last record of a log that is closed at once may stay unwritten.
                const bool closing = shared_->closing.load();
                busy = turn();
                if (!busy && closing) {
                    finish();
                    break;
                }
            } catch (const Error& error) {
                halt(error);
            } catch (const std::exception& error) {
                halt(Error(ErrorCode::internal, error.what()));
            }
        }
        if (busy)
            shared_->waiter.reset();
        else
            shared_->waiter.idle([this] { return has_work(); }, next_deadline());
    }
    shared_->notify();
}

bool Log::Writer::has_work() const {
    const bool closing = shared_->closing.load();
    if (shared_->state.load() == LogState::halted) return closing || shared_->resume_wanted.load();
    std::uint64_t position = read_position_;
    return closing || shared_->ring.peek(position) != nullptr || shared_->retention_wanted.load() ||
           shared_->sync_wanted.load() > shared_->durable.load();
}

engine::MonotonicNs Log::Writer::next_deadline() const {
    return shared_->state.load() == LogState::halted ? engine::NO_DEADLINE : sync_due_;
}

bool Log::Writer::turn() {
    bool busy = write_committed();
    busy |= sync_if_due();
    if (shared_->retention_wanted.exchange(false)) {
        retain(0);
        busy = true;
    }
    return busy;
}

bool Log::Writer::write_committed() {
    std::uint64_t position = read_position_;
    while (const Ring::Entry* const entry = shared_->ring.peek(position)) {
        const std::size_t need = frame_bytes(entry->bytes);
        if (segment_ == nullptr) begin_segment(entry->sequence, need);
        if (segment_->room() < staged_ + need + SEAL_BYTES) {
            flush();
            roll();
            begin_segment(entry->sequence, need);
        }
        if (staged_ != 0 && staged_ + need > STAGING_BYTES) break;
        stage(*entry);
        position += entry->grains;
        staged_position_ = position;
        if (entry->topic == Topic::names) remember(*entry);
    }
    if (staged_ == 0) return false;
    flush();
    return true;
}

void Log::Writer::stage(const Ring::Entry& entry) {
    const std::size_t need = frame_bytes(entry.bytes);
    if (staging_.size() < staged_ + need) staging_.resize(staged_ + need);
    FrameHeader header;
    header.count = entry.count;
    header.sequence = entry.sequence;
    header.time = entry.time;
    header.durable = shared_->durable.load(std::memory_order_relaxed);
    header.topic = entry.topic;
    header.flags = entry.flags;
    header.schema = entry.schema;
    staged_ +=
        write_frame(header, Ring::payload_of(entry), segment_->salt(), staging_.data() + staged_);
    staged_next_ = entry.sequence + entry.count;
    last_time_ = std::max(last_time_, entry.time);
    ++staged_frames_;
}

void Log::Writer::flush() {
    if (staged_ == 0) return;
    const std::size_t bytes = staged_;
    staged_ = 0;
    segment_->write(Bytes(staging_).first(bytes));
    read_position_ = staged_position_;
    unsynced_bytes_ += bytes;
    ++counts_.writes;
    counts_.bytes += bytes;
    counts_.frames += staged_frames_;
    staged_frames_ = 0;
    if (!syncs())
        shared_->ring.free_to(read_position_, staged_next_);
    else if (sync_due_ == engine::NO_DEADLINE)
        sync_due_ = engine::deadline_after(shared_->options.interval_ns);
    show_counts();
    shared_->publish(shared_->written, staged_next_ - 1);
}

bool Log::Writer::sync_if_due() {
    if (!syncs() || unsynced_bytes_ == 0 || segment_ == nullptr) return false;
    const bool wanted = shared_->sync_wanted.load() > shared_->durable.load();
    const bool due = shared_->options.sync == SyncMode::always || wanted ||
                     // What is not synced stays in the ring, and the ring must not fill up.
                     shared_->ring.used_bytes() > shared_->ring.bytes() / 4 ||
                     engine::monotonic_ns() >= sync_due_;
    if (due) sync();
    return due;
}

void Log::Writer::sync() {
    const engine::MonotonicNs begin = engine::monotonic_ns();
    segment_->sync();
    counts_.sync_ns_max = std::max(counts_.sync_ns_max, engine::monotonic_ns() - begin);
    ++counts_.syncs;
    unsynced_bytes_ = 0;
    sync_due_ = engine::NO_DEADLINE;
    const Sequence written = shared_->written.load();
    shared_->ring.free_to(read_position_, written + 1);
    show_counts();
    shared_->publish(shared_->durable, written);
}

void Log::Writer::show_counts() {
    const std::lock_guard lock(shared_->mutex);
    shared_->counts = counts_;
}

void Log::Writer::remember(const Ring::Entry& entry) {
    std::vector<Name> names;
    (void)read_names(Ring::payload_of(entry), names);  // made by append_names
    for (Name& each : names)
        if (known_.emplace(each.kind, each.id).second) names_.push_back(std::move(each));
}

void Log::Writer::halt(const Error& error) {
    // What was staged and not written is still in the ring.
    staged_ = 0;
    staged_frames_ = 0;
    ++counts_.halts;
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->failure = error;
        shared_->counts = counts_;
    }
    shared_->state.store(LogState::halted);
    shared_->notify();
}

void Log::Writer::add_seal() {
    FrameHeader header;
    header.sequence = shared_->written.load() + 1;
    header.time = last_time_;
    header.durable = shared_->durable.load();
    header.topic = Topic::seal;
    std::array<std::byte, SEAL_BYTES> frame;
    write_frame(header, {}, segment_->salt(), frame.data());
    segment_->write(frame);
    unsynced_bytes_ += frame.size();
}

void Log::Writer::finish() {
    if (segment_ == nullptr) return;
    // Synced first, so that the seal can say that everything before it is on the disk.
    if (syncs()) sync();
    add_seal();
    segment_->finish();
    if (syncs()) sync();
    segment_.reset();
}

}  // namespace klineagg::wal
