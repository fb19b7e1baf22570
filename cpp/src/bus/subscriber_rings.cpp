// How a subscriber comes to the rings of publishers: those that are there, come, or are replaced.
#include <algorithm>
#include <memory>
#include <utility>

#include "klineagg/bus/subscriber.hpp"
#include "klineagg/bus/tombstone.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {

void Subscriber::attach(const std::string& name, bool at_start) {
    const std::string path = topic_.ring_path(name);
    auto file = MappedFile::open(path, false);
    if (!file) return;  // gone again
    const RingMemory ring = RingMemory::open(file->data(), file->size());
    const RingHeader& header = ring.header();
    LockProbe probe(path);
    if (header.type_hash != type_.hash()) {
        // A dead publisher's old records are no reason to refuse the living ones.
        if (!probe.is_locked()) return;
        throw Error(ErrorCode::record_mismatch,
                    "the publisher " + name + " of the topic " + topic_.name() + " sends " +
                        ring.type().text() + ", not " + type_.text(),
                    {{"topic", topic_.name()}, {"publisher", name}});
    }
    const auto wanted = options_.from.find(name);
    std::uint64_t cursor = header.first_sequence;
    if (wanted != options_.from.end()) {
        cursor = wanted->second;
        if (const std::uint64_t tail = header.tail.load(std::memory_order_acquire); cursor > tail)
            began_anew(name, cursor, tail);
    } else if (at_start) {
        cursor = header.tail.load(std::memory_order_acquire);
        if (options_.start == Start::oldest) cursor = RingReader(ring, cursor).oldest();
    } else if (const auto gone = gone_.find(name); gone != gone_.end()) {
        // Others may have come and gone since this subscriber came.
        cursor = std::min(cursor, gone->second);
    } else if (header.origin_created >= created_) {
        // It came after this subscriber, and took a ring of another size since, or was removed
        // and came again: what was in the first one is lost, and has to be counted.
        cursor = std::min(cursor, header.origin_sequence);
    }
    auto source = std::make_unique<Source>();
    source->name = name;
    source->file = std::make_shared<MappedFile>(std::move(*file));
    source->reader = RingReader(ring, cursor);
    source->probe = std::move(probe);
    sources_.push_back(std::move(source));
}

/// Of publishers that are gone: where they go on, should they come again.
void Subscriber::note_gone() {
    for (const std::string& name : topic_.departed()) {
        const Tombstone last = Tombstone::read(topic_.tombstone_path(name));
        const bool known = std::any_of(sources_.begin(), sources_.end(),
                                       [&](const auto& s) { return s->name == name; });
        if (!known && last.sequence != 0) gone_[name] = last.sequence;
    }
}

/// Waiting for the sequence to come there would leave out all that is sent until then.
void Subscriber::began_anew(const std::string& name, std::uint64_t wanted, std::uint64_t tail) {
    options_.from.erase(name);  // the next look takes it from its first record on
    roster_ = topic_.header().roster.load(std::memory_order_relaxed) - 1;
    throw Error(ErrorCode::resume_ahead,
                "to go on at message " + std::to_string(wanted) + " of " + name +
                    " in the topic " + topic_.name() + ", where the next one is " +
                    std::to_string(tail) + ": it began anew, or an older state was restored",
                {{"topic", topic_.name()},
                 {"publisher", name},
                 {"position", std::to_string(wanted)},
                 {"next", std::to_string(tail)}});
}

/// The old segment is drained; the new one goes on with the sequence.
bool Subscriber::follow_replacement(Source& source) {
    const std::string path = topic_.ring_path(source.name);
    if (source.file->is_at(path)) return true;
    auto file = MappedFile::open(path, false);
    if (!file) return true;  // removed: its publisher is dead
    const RingMemory ring = RingMemory::open(file->data(), file->size());
    // Looked at here: the last records of the old one came before the new one had its name.
    if (source.reader.behind() != 0) return false;
    if (ring.header().type_hash != type_.hash()) {
        throw Error(ErrorCode::record_mismatch,
                    "the publisher " + source.name + " of the topic " + topic_.name() +
                        " now sends " + ring.type().text() + ", not " + type_.text(),
                    {{"topic", topic_.name()}, {"publisher", source.name}});
    }
    source.lost_before += source.reader.lost();
    source.reader = RingReader(ring, source.reader.cursor());
    source.file = std::make_shared<MappedFile>(std::move(*file));
    source.probe = LockProbe(path);
    return true;
}

/// Those that are gone leave theirs to those that come.
void Subscriber::show_places(const std::vector<std::string>& publishers) noexcept {
    if (process_ != process_generation()) return;  // a forked child: the line is its parent's
    const auto is_there = [&](const Source& source) {
        return std::find(publishers.begin(), publishers.end(), source.name) != publishers.end();
    };
    for (const auto& source : sources_) {
        if (source->place == nullptr || is_there(*source)) continue;
        source->place->publisher.store(0, std::memory_order_relaxed);
        source->place = nullptr;
    }
    for (const auto& source : sources_) {
        if (source->place == nullptr && is_there(*source))
            source->place = seat_->take_place(source->name, source->reader.cursor());
    }
    seat_->entry().type_hash.store(type_.hash(), std::memory_order_release);
}

void Subscriber::look_around() {
    const bool changed = topic_.header().roster.load(std::memory_order_relaxed) != roster_;
    // The roster says but once that a ring was replaced, when the old one may not be drained.
    if (changed || (is_draining_ && !has_work())) [[unlikely]] refresh();
}

void Subscriber::refresh() {
    roster_ = topic_.header().roster.load(std::memory_order_acquire);
    is_draining_ = false;
    for (auto& source : sources_) is_draining_ = !follow_replacement(*source) || is_draining_;
    const std::vector<std::string> publishers = topic_.publishers();
    for (const std::string& name : publishers) {
        const bool known = std::any_of(sources_.begin(), sources_.end(),
                                       [&](const auto& s) { return s->name == name; });
        if (!known) attach(name, false);
    }
    show_places(publishers);
    show_counts();
    if (process_ == process_generation())
        seat_->entry().seen.store(utc_now(), std::memory_order_relaxed);
}

}  // namespace klineagg::bus
