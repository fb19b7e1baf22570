#include "klineagg/bus/subscriber.hpp"

#include <algorithm>
#include <utility>

#include "klineagg/engine/thread.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

// How often who waits looks at the folder and at the publishers' locks: a death is seen within it.
constexpr DurationNs REFRESH_NS = 250'000'000;
// The first looks follow each other at once: a pause of the core takes as long as a message.
constexpr std::uint32_t LOOKS = 64;
constexpr std::uint32_t PARK_SPINS = LOOKS + 200;

engine::WaitKind kind_of_spins(engine::WaitKind kind) {
    return kind == engine::WaitKind::spin ? kind : engine::WaitKind::backoff;
}

}  // namespace

Subscriber::Subscriber(const Folder& folder, const std::string& topic, const RecordType& type,
                       SubscriberOptions options)
    : topic_(folder, topic),
      type_(type),
      options_(std::move(options)),
      seat_(std::make_unique<SubscriberSeat>(topic_, options_.name)),
      waiter_(kind_of_spins(options_.wait)),
      process_(process_generation()),
      created_(utc_now()) {
    if (options_.core) engine::pin_current_thread(*options_.core);
    roster_ = topic_.header().roster.load(std::memory_order_acquire);
    const std::vector<std::string> publishers = topic_.publishers();
    for (const std::string& name : publishers) attach(name, true);
    note_gone();
    show_places(publishers);
}

Subscriber::~Subscriber() = default;

void Subscriber::check_size(std::size_t bytes) const {
    if (bytes != type_.bytes()) {
        throw Error(ErrorCode::record_mismatch,
                    "records of " + std::to_string(bytes) + " bytes of the topic " +
                        topic_.name() + ", whose " + type_.name() + " has " +
                        std::to_string(type_.bytes()));
    }
}

std::size_t Subscriber::receive(std::byte* to, std::size_t count_max) {
    look_around();
    const std::size_t sources = sources_.size();
    const std::size_t bytes = type_.bytes();
    std::size_t count = 0;
    for (std::size_t i = 0; i < sources && count < count_max; ++i) {
        Source& source = *sources_[(turn_ + i) % sources];
        const std::size_t got = source.reader.read(to + count * bytes, count_max - count);
        source.received += got;
        count += got;
    }
    if (sources > 1) ++turn_;
    received_ += count;
    if (count != 0) show_counts();
    return count;
}

void Subscriber::show_counts() noexcept {
    if (process_ != process_generation()) return;  // a forked child: the line is its parent's
    SubscriberEntry& entry = seat_->entry();
    entry.received.store(received_, std::memory_order_relaxed);
    entry.lost.store(lost(), std::memory_order_relaxed);
    for (const auto& source : sources_) {
        if (source->place != nullptr)
            source->place->next.store(source->reader.cursor(), std::memory_order_relaxed);
    }
}

void Subscriber::count_duplicates(std::uint64_t count) noexcept {
    duplicates_ += count;
    seat_->entry().duplicates.store(duplicates_, std::memory_order_relaxed);
}

bool Subscriber::has_work() const noexcept {
    return std::any_of(sources_.begin(), sources_.end(),
                       [](const auto& s) { return s->reader.behind() != 0; });
}

bool Subscriber::needs_remote_fence() const noexcept {
    return std::any_of(sources_.begin(), sources_.end(), [](const auto& s) {
        return s->reader.ring().header().remote_fence.load(std::memory_order_relaxed) != 0;
    });
}

bool Subscriber::wait(engine::MonotonicNs deadline) {
    if (is_draining_) [[unlikely]] look_around();
    for (std::uint32_t round = 0;; ++round) {
        if (has_work()) {
            waiter_.reset();
            return true;
        }
        const bool changed =
            topic_.header().roster.load(std::memory_order_relaxed) != roster_;
        // The clock is asked now and then only, and not at first: it costs as much as a message.
        if (changed || round % 32 == 31) {
            const engine::MonotonicNs now = engine::monotonic_ns();
            // Also of who waits a little at a time: kept from one call to the next.
            if (changed || (next_refresh_ != 0 && now >= next_refresh_)) refresh();
            if (next_refresh_ == 0 || now >= next_refresh_) next_refresh_ = now + REFRESH_NS;
            if (changed) continue;
            if (now >= deadline) return false;
        }
        if (options_.wait == engine::WaitKind::spin || round < PARK_SPINS) {
            for (const auto& source : sources_) source->reader.prefetch();
            if (round >= LOOKS) engine::spin_pause();
        } else if (options_.wait == engine::WaitKind::backoff) {
            waiter_.idle([this] { return has_work(); }, std::min(deadline, next_refresh_));
            round = (round | 31) - 1;
        } else {
            topic_.park(
                [this] {
                    return has_work() ||
                           topic_.header().roster.load(std::memory_order_relaxed) != roster_;
                },
                std::min(deadline, next_refresh_), needs_remote_fence());
            round = (round | 31) - 1;  // the clock is next: sleeping took longer than asking
        }
    }
}

std::size_t Subscriber::receive_wait(std::byte* to, std::size_t count_max,
                                     engine::MonotonicNs deadline) {
    std::size_t count = 0;
    // It may have been only lost records that there were to receive: then on with waiting.
    stop_.wait(deadline, [&](engine::MonotonicNs step) {
        count = receive(to, count_max);
        if (count == 0 && wait(step)) count = receive(to, count_max);
        return count != 0;
    });
    return count;
}

Subscriber::Peek Subscriber::peek(std::size_t count_max) {
    look_around();
    Peek peek;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
        const std::size_t index = (turn_ + i) % sources_.size();
        peek.source = index;
        peek.view = sources_[index]->reader.peek(count_max);
        if (!peek.view.pieces[0].empty()) break;
    }
    peek.lost = lost();
    ++turn_;
    return peek;
}

bool Subscriber::still_valid(const Peek& peek) const {
    return peek.view.pieces[0].empty() ||
           sources_.at(peek.source)->reader.still_valid(peek.view.first);
}

bool Subscriber::release_peek(const Peek& peek) {
    if (peek.view.pieces[0].empty()) return true;
    Source& source = *sources_.at(peek.source);
    // Received or replaced in between: the cursor is beyond it already.
    if (source.reader.cursor() != peek.view.first) return still_valid(peek);
    const std::size_t count = peek.view.count(type_.bytes());
    const bool valid = source.reader.still_valid(peek.view.first);
    if (valid) {
        source.reader.advance(count);
        source.received += count;
        received_ += count;
    } else {
        source.reader.drop(count);
    }
    show_counts();
    return valid;
}

std::vector<SourceInfo> Subscriber::sources() const {
    std::vector<SourceInfo> all;
    for (const auto& source : sources_) {
        const RingHeader& header = source->reader.ring().header();
        SourceInfo info;
        info.name = source->name;
        info.generation = header.generation.load(std::memory_order_relaxed);
        info.pid = header.pid.load(std::memory_order_relaxed);
        info.alive = source->probe.is_locked();
        info.heartbeat = header.heartbeat_time.load(std::memory_order_relaxed);
        info.next = source->reader.cursor();
        info.behind = source->reader.behind();
        info.received = source->received;
        info.lost = source->lost_before + source->reader.lost();
        all.push_back(std::move(info));
    }
    return all;
}

std::map<std::string, std::uint64_t> Subscriber::positions() const {
    std::map<std::string, std::uint64_t> next;
    for (const auto& source : sources_) next[source->name] = source->reader.cursor();
    return next;
}

std::uint64_t Subscriber::lost() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& source : sources_) sum += source->lost_before + source->reader.lost();
    return sum;
}

std::uint64_t Subscriber::behind() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& source : sources_) sum += source->reader.behind();
    return sum;
}

std::uint64_t Subscriber::available() {
    look_around();
    return behind();
}

void Subscriber::leave() noexcept {
    for (const auto& source : sources_) source->place = nullptr;
    seat_->leave();
    topic_.leave();
}

std::shared_ptr<const void> Subscriber::memory_of(std::size_t source) const {
    return source < sources_.size() ? sources_[source]->file : nullptr;
}

}  // namespace klineagg::bus
