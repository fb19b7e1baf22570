// The table of a topic's subscribers: what each shows, and how far it is behind the rings.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "klineagg/bus/ring.hpp"
#include "klineagg/bus/topic.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

/// A ring at the time of the look.
struct RingEnd {
    std::uint64_t publisher = 0;
    std::uint64_t type_hash = 0;
    std::uint64_t tail = 0;
    std::uint64_t capacity = 0;
    std::uint64_t first = 0;
    TimeNs origin_created = 0;
    std::uint64_t origin = 0;
};

std::vector<RingEnd> ring_ends(const Topic& topic) {
    std::vector<RingEnd> ends;
    for (const std::string& name : topic.publishers()) {
        try {
            const auto file = MappedFile::open(topic.ring_path(name), false);
            if (!file) continue;  // gone again
            const RingMemory ring = RingMemory::open(file->data(), file->size());
            const RingHeader& header = ring.header();
            ends.push_back({hash_of(name), header.type_hash,
                            header.tail.load(std::memory_order_acquire), ring.capacity(),
                            header.first_sequence, header.origin_created,
                            header.origin_sequence});
        } catch (const Error&) {  // damaged: nobody can be behind it
            continue;
        }
    }
    return ends;
}

/// Where the subscriber goes on in this ring: also in one that came since it last looked, where
/// it will begin as Subscriber::attach() says.
std::uint64_t next_in(const SubscriberEntry& entry, const RingEnd& ring) noexcept {
    for (const SubscriberPlace& place : entry.places) {
        if (place.publisher.load(std::memory_order_acquire) == ring.publisher)
            return place.next.load(std::memory_order_relaxed);
    }
    const bool came_later = ring.origin_created >= entry.joined.load(std::memory_order_relaxed);
    return came_later ? std::min(ring.first, ring.origin) : ring.first;
}

void compare(SubscriberInfo& info, const SubscriberEntry& entry,
             const std::vector<RingEnd>& rings) noexcept {
    const std::uint64_t type = entry.type_hash.load(std::memory_order_acquire);
    for (const RingEnd& ring : rings) {
        if (ring.type_hash != type) continue;  // it takes none of these
        const std::uint64_t next = next_in(entry, ring);
        const std::uint64_t behind = ring.tail > next ? ring.tail - next : 0;
        info.behind += behind;
        info.fill = std::max(info.fill,
                             static_cast<double>(behind) / static_cast<double>(ring.capacity));
    }
}

}  // namespace

std::vector<SubscriberInfo> Topic::subscribers() const {
    std::vector<SubscriberInfo> found;
    const std::vector<RingEnd> rings = ring_ends(*this);
    const LockProbe probe(path_);
    for (std::size_t i = 0; i < SUBSCRIBERS_LISTED; ++i) {
        const SubscriberEntry& entry = header_->subscribers[i];
        if (entry.pid.load(std::memory_order_acquire) == 0 ||
            !probe.is_locked(static_cast<std::int64_t>(i) + 1))
            continue;
        SubscriberInfo info;
        info.name = std::string(name_of(entry.name));
        info.pid = entry.pid.load(std::memory_order_relaxed);
        info.joined = entry.joined.load(std::memory_order_relaxed);
        info.seen = entry.seen.load(std::memory_order_relaxed);
        info.received = entry.received.load(std::memory_order_relaxed);
        info.lost = entry.lost.load(std::memory_order_relaxed);
        info.duplicates = entry.duplicates.load(std::memory_order_relaxed);
        compare(info, entry, rings);
        found.push_back(std::move(info));
    }
    return found;
}

SubscriberSeat::SubscriberSeat(const Topic& topic, std::string_view name) {
    check_name(name);
    TopicHeader& header = topic.header();
    // First those that nobody ever had or that were left; then those of the dead.
    for (const bool of_the_dead : {false, true}) {
        for (std::size_t i = 0; i < SUBSCRIBERS_LISTED && !lock_.held(); ++i) {
            SubscriberEntry& entry = header.subscribers[i];
            if (!of_the_dead && entry.pid.load(std::memory_order_relaxed) != 0) continue;
            lock_ = FileLock::try_lock(topic.path(), static_cast<std::int64_t>(i) + 1);
            if (lock_.held()) entry_ = &entry;
        }
    }
    SubscriberEntry& entry = *entry_;
    for (Word* word : {&entry.type_hash, &entry.received, &entry.lost, &entry.duplicates})
        word->store(0, std::memory_order_relaxed);
    for (SubscriberPlace& place : entry.places) place.publisher.store(0, std::memory_order_relaxed);
    set_name(entry.name, name);
    entry.joined.store(utc_now(), std::memory_order_relaxed);
    entry.seen.store(utc_now(), std::memory_order_relaxed);
    entry.pid.store(getpid(), std::memory_order_release);
}

void SubscriberSeat::leave() noexcept {
    SubscriberEntry* const line = std::exchange(entry_, &own_);
    // A forked child has no lock: the line is still its parent's.
    if (line != &own_ && line->pid.load(std::memory_order_relaxed) == getpid())
        line->pid.store(0, std::memory_order_release);
    lock_.release();
}

SubscriberPlace* SubscriberSeat::take_place(std::string_view publisher,
                                            std::uint64_t next) noexcept {
    for (SubscriberPlace& place : entry_->places) {
        if (place.publisher.load(std::memory_order_relaxed) != 0) continue;
        place.next.store(next, std::memory_order_relaxed);
        place.publisher.store(hash_of(publisher), std::memory_order_release);
        return &place;
    }
    return nullptr;
}

}  // namespace klineagg::bus
