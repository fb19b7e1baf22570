// How a publisher comes to its ring: a new one, its predecessor's, or one in that one's place.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/tombstone.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr DurationNs LOCK_PATIENCE_NS = 50'000'000;
constexpr int ROUNDS_MAX = 1000;

}  // namespace

void Publisher::check_topic_records(const PublisherOptions& options) const {
    std::size_t living = 0;
    for (const std::string& other : topic_.publishers()) {
        const std::string path = topic_.ring_path(other);
        if (other == name_ || !FileLock::is_locked(path)) continue;
        const auto file = MappedFile::open(path, false);
        if (!file) continue;
        const RingMemory ring = RingMemory::open(file->data(), file->size());
        if (ring.header().type_hash != type_.hash()) {
            throw Error(ErrorCode::record_mismatch,
                        "the publisher " + other + " of the topic " + topic_.name() + " sends " +
                            ring.type().text() + ", not " + type_.text(),
                        {{"topic", topic_.name()}, {"publisher", other}});
        }
        ++living;
    }
    if (living >= options.publishers_max) {
        throw Error(ErrorCode::too_many_publishers,
                    "the topic " + topic_.name() + " has " + std::to_string(living) +
                        " publishers already",
                    {{"topic", topic_.name()}, {"most", std::to_string(options.publishers_max)}});
    }
}

void Publisher::acquire(const PublisherOptions& options) {
    const std::string path = topic_.ring_path(name_);
    // Others may make, replace or remove the file at the same time; each round one of us wins.
    // A process that was killed a moment ago holds its lock until the kernel has torn it down.
    const engine::MonotonicNs patience = engine::deadline_after(LOCK_PATIENCE_NS);
    for (int round = 0; round < ROUNDS_MAX; ++round) {
        lock_ = FileLock::try_lock(path);
        if (lock_.held()) {
            if (lock_.is_at(path) && take_over(options)) return;
            lock_.release();
        } else if (FileLock::is_locked(path)) {
            if (engine::monotonic_ns() < patience) {
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
                continue;
            }
            throw Error(ErrorCode::publisher_exists,
                        "a publisher " + name_ + " of the topic " + topic_.name() + " lives",
                        {{"topic", topic_.name()}, {"publisher", name_}});
        } else if (::access(path.c_str(), F_OK) != 0) {
            const std::string note = topic_.tombstone_path(name_);
            const Tombstone last = Tombstone::read(note);
            const bool first = last.sequence == 0;
            // Beginning anew would give numbers a second time.
            if (first && ::access(note.c_str(), F_OK) == 0) {
                throw Error(ErrorCode::bus_unavailable,
                            "cannot read " + note + ", which says where the sequence goes on",
                            {{"path", note}});
            }
            const Place place{
                std::max(options.skip_to, first ? options.first_sequence : last.sequence),
                first ? 1 : last.generation + 1, last.origin_created, last.origin_sequence,
                false};
            if (make(options, place)) {
                ::unlink(note.c_str());
                return;
            }
        }
    }
    throw Error(ErrorCode::bus_unavailable, "cannot get hold of " + path, {{"path", path}});
}

bool Publisher::take_over(const PublisherOptions& options) {
    const std::string path = topic_.ring_path(name_);
    auto file = MappedFile::open(path, true);
    if (!file || !file->is_at(path)) return false;
    const RingMemory old = RingMemory::open(file->data(), file->size());
    RingHeader& header = old.header();
    const std::uint64_t generation = header.generation.load(std::memory_order_relaxed) + 1;
    const std::size_t bytes =
        options.ring_bytes != 0 ? options.ring_bytes : default_ring_bytes(topic_.name());
    const std::uint64_t tail = header.tail.load(std::memory_order_acquire);
    if (options.skip_to <= tail && header.type_hash == type_.hash() &&
        old.capacity() == ring_capacity(bytes, type_.bytes())) {
        // `tail_intent` stays where the dead one left it, see RingWriter::begin.
        header.generation.store(generation, std::memory_order_relaxed);
        file_ = std::move(*file);
        ring_ = old;
        return true;
    }
    // Another size or record, or a hole: readers have the old file mapped, so it is neither cut nor reused,
    // but replaced. They drain it and then go on with the new one.
    const std::uint64_t next = std::max(tail, options.skip_to);
    FileLock of_old = std::move(lock_);
    if (!make(options, {next, generation, header.origin_created, header.origin_sequence, true}))
        return false;
    header.state.store(static_cast<std::uint32_t>(RingState::replaced), std::memory_order_release);
    return true;
}

bool Publisher::make(const PublisherOptions& options, const Place& place) {
    const std::string path = topic_.ring_path(name_);
    const std::string draft = path + "." + std::to_string(getpid()) + "-" +
                              std::to_string(reinterpret_cast<std::uintptr_t>(this)) + ".new";
    const std::size_t bytes =
        options.ring_bytes != 0 ? options.ring_bytes : default_ring_bytes(topic_.name());
    const std::uint64_t capacity = ring_capacity(bytes, type_.bytes());
    file_ = MappedFile::create(draft, ring_bytes(capacity, type_.bytes()),
                               topic_.folder().access(), false);
    ring_ = RingMemory::create(file_.data(), capacity, type_, place.first);
    RingHeader& header = ring_.header();
    header.created = utc_now();
    const bool follows = place.origin_created != 0;
    header.origin_created = follows ? place.origin_created : header.created;
    header.origin_sequence = follows ? place.origin_sequence : place.first;
    std::memcpy(header.topic, topic_.name().data(), topic_.name().size());
    set_name(header.publisher, name_);
    header.generation.store(place.generation, std::memory_order_relaxed);
    header.heartbeat_time.store(utc_now(), std::memory_order_relaxed);
    // Locked before it has its name: nobody ever sees it without an owner.
    lock_ = FileLock::try_lock(draft);
    const bool named = place.is_taken ? ::rename(draft.c_str(), path.c_str()) == 0
                                      : ::link(draft.c_str(), path.c_str()) == 0;
    if (!place.is_taken || !named) ::unlink(draft.c_str());
    if (!named) lock_.release();
    return named;
}

}  // namespace klineagg::bus
