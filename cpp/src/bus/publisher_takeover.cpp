// How a publisher comes to its ring: a new one, its predecessor's, or one in that one's place.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>

#include "klineagg/bus/publisher.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr DurationNs LOCK_PATIENCE_NS = 50'000'000;
constexpr int ROUNDS_MAX = 1000;

struct Tombstone {
    std::uint64_t sequence = 0;  // 0: there is none
    std::uint64_t generation = 0;
};

Tombstone read_tombstone(const std::string& path) {
    Tombstone last;
    std::ifstream file(path);
    if (!(file >> last.sequence >> last.generation)) last = {};
    return last;
}

void write_tombstone(const std::string& path, const Tombstone& last) {
    const std::string draft = path + ".new";
    {
        std::ofstream file(draft, std::ios::trunc);
        file << last.sequence << ' ' << last.generation << '\n';
        if (!file.flush())
            throw Error(ErrorCode::bus_unavailable, "cannot write " + draft, {{"path", draft}});
    }
    std::filesystem::rename(draft, path);
}

/// Whole and of this version, or nothing: a damaged segment has no sequence to go on with.
std::optional<RingMemory> ring_in(const MappedFile& file) noexcept {
    try {
        return RingMemory::open(file.data(), file.size());
    } catch (const Error&) {
        return std::nullopt;
    }
}

bool removed_orphan(const Topic& topic, const std::string& name, DurationNs orphan_after) {
    const std::string path = topic.ring_path(name);
    if (FileLock::is_locked(path)) return false;
    const auto file = MappedFile::open(path, false);
    if (!file) return false;
    const auto ring = ring_in(*file);
    if (!ring) return false;  // not ours to remove
    const TimeNs seen = ring->header().heartbeat_time.load(std::memory_order_relaxed);
    if (utc_now() - seen < orphan_after) return false;
    const FileLock lock = FileLock::try_lock(path);
    if (!lock.held() || !lock.is_at(path) || !file->is_at(path)) return false;
    // First the note, then the removal: the sequence must not begin anew after a crash between.
    write_tombstone(topic.tombstone_path(name),
                    {ring->header().tail.load(std::memory_order_acquire),
                     ring->header().generation.load(std::memory_order_relaxed)});
    return ::unlink(path.c_str()) == 0;
}

std::size_t remove_drafts(const Topic& topic) {
    constexpr std::int64_t OLD_SECONDS = 10;
    std::size_t removed = 0;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(topic.folder().path(), error)) {
        const std::string file = entry.path().filename().string();
        const bool of_topic =
            file.starts_with(topic.name() + "@") || file.starts_with(topic.name() + ".topic.");
        struct stat status {};
        if (of_topic && file.ends_with(".new") && stat(entry.path().c_str(), &status) == 0 &&
            utc_now() / NS_PER_SECOND - status.st_mtime > OLD_SECONDS &&
            !FileLock::is_locked(entry.path().string()))
            removed += ::unlink(entry.path().c_str()) == 0 ? 1U : 0U;
    }
    return removed;
}

}  // namespace

std::size_t remove_orphans(Topic& topic, DurationNs orphan_after) {
    std::size_t removed = remove_drafts(topic);
    for (const std::string& name : topic.publishers())
        removed += removed_orphan(topic, name, orphan_after) ? 1U : 0U;
    if (removed != 0) topic.roster_changed();
    return removed;
}

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
            const Tombstone last = read_tombstone(topic_.tombstone_path(name_));
            const bool first = last.sequence == 0;
            if (make(options,
                     std::max(options.skip_to, first ? options.first_sequence : last.sequence),
                     first ? 1 : last.generation + 1, nullptr)) {
                ::unlink(topic_.tombstone_path(name_).c_str());
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
    if (!make(options, next, generation, &header)) return false;
    header.state.store(static_cast<std::uint32_t>(RingState::replaced), std::memory_order_release);
    return true;
}

bool Publisher::make(const PublisherOptions& options, std::uint64_t first,
                     std::uint64_t generation, const RingHeader* replaced) {
    const std::string path = topic_.ring_path(name_);
    const std::string draft = path + "." + std::to_string(getpid()) + "-" +
                              std::to_string(reinterpret_cast<std::uintptr_t>(this)) + ".new";
    const std::size_t bytes =
        options.ring_bytes != 0 ? options.ring_bytes : default_ring_bytes(topic_.name());
    const std::uint64_t capacity = ring_capacity(bytes, type_.bytes());
    file_ = MappedFile::create(draft, ring_bytes(capacity, type_.bytes()),
                               topic_.folder().access(), false);
    ring_ = RingMemory::create(file_.data(), capacity, type_, first);
    RingHeader& header = ring_.header();
    header.created = utc_now();
    header.origin_created = replaced != nullptr ? replaced->origin_created : header.created;
    header.origin_sequence = replaced != nullptr ? replaced->origin_sequence : first;
    std::memcpy(header.topic, topic_.name().data(), topic_.name().size());
    set_name(header.publisher, name_);
    header.generation.store(generation, std::memory_order_relaxed);
    header.heartbeat_time.store(utc_now(), std::memory_order_relaxed);
    // Locked before it has its name: nobody ever sees it without an owner.
    lock_ = FileLock::try_lock(draft);
    const bool named = replaced != nullptr ? ::rename(draft.c_str(), path.c_str()) == 0
                                           : ::link(draft.c_str(), path.c_str()) == 0;
    if (replaced == nullptr || !named) ::unlink(draft.c_str());
    if (!named) lock_.release();
    return named;
}

}  // namespace klineagg::bus
