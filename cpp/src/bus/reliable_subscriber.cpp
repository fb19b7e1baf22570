#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "klineagg/bus/reliable.hpp"

namespace klineagg::bus {
namespace {

constexpr std::size_t ACK_RING_BYTES = std::size_t{1} << 18;
constexpr std::size_t ACKNOWLEDGERS_MAX = 1000;
// Repeats come through another ring than the one that is waited for.
constexpr DurationNs STEP_NS = 20'000'000;

PublisherOptions of_acks() {
    PublisherOptions options;
    options.ring_bytes = ACK_RING_BYTES;
    options.publishers_max = ACKNOWLEDGERS_MAX;
    return options;
}

SubscriberOptions of_repeats(const SubscriberOptions& main) {
    SubscriberOptions options;
    options.name = main.name;
    return options;
}

}  // namespace

ReliableSubscriber::ReliableSubscriber(const Folder& folder, const std::string& topic,
                                       const RecordType& type, ReliableSubscriberOptions options)
    : name_(options.subscriber.name),
      options_(std::move(options)),
      acks_(folder, topic + ".acks", name_, builtin_type("Ack"), of_acks()),
      main_(folder, topic, type, options_.subscriber),
      again_(folder, topic + ".repeats", type, of_repeats(options_.subscriber)) {}

std::size_t ReliableSubscriber::receive(std::byte* to, std::size_t count_max) {
    if (!unacknowledged_.empty()) acknowledge();
    std::size_t count = take(main_, to, count_max);
    count += take(again_, to + count * type().bytes(), count_max - count);
    if (options_.at_once) acknowledge();
    return count;
}

std::size_t ReliableSubscriber::take(Subscriber& from, std::byte* to, std::size_t count_max) {
    const std::size_t bytes = type().bytes();
    const std::size_t received = from.receive(to, count_max);
    std::size_t count = 0;
    std::uint64_t repeated = 0;
    SequenceTracker* own = nullptr;
    char publisher[NAME_BYTES] = {};
    for (std::size_t i = 0; i < received; ++i) {
        std::byte* const record = to + i * bytes;
        MessageHeader header;
        std::memcpy(&header, record, sizeof header);
        if (options_.drop && options_.drop(header.sequence)) continue;
        if (own == nullptr || std::memcmp(publisher, header.publisher, NAME_BYTES) != 0) {
            std::memcpy(publisher, header.publisher, NAME_BYTES);
            own = &tracker(std::string(name_of(header.publisher)));
        }
        // Repeats are acknowledged, too: it was the acknowledgement that got lost.
        Ack& ack = unacknowledged_.emplace_back();
        set_name(ack.subscriber, name_);
        std::memcpy(ack.publisher, header.publisher, NAME_BYTES);
        ack.sequence = header.sequence;
        if (own->see(header.sequence) == Seen::duplicate) {
            ++repeated;
            continue;
        }
        if (count != i) std::memcpy(to + count * bytes, record, bytes);
        ++count;
    }
    if (repeated != 0) main_.count_duplicates(repeated);
    return count;
}

SequenceTracker& ReliableSubscriber::tracker(const std::string& publisher) {
    const auto known = trackers_.find(publisher);
    if (known != trackers_.end()) return known->second;
    std::optional<std::uint64_t> first;
    for (const SourceInfo& source : main_.sources()) {
        if (source.name == publisher) first = source.next - source.received - source.lost;
    }
    return trackers_.try_emplace(publisher, first).first->second;
}

bool ReliableSubscriber::wait(engine::MonotonicNs deadline) {
    const engine::MonotonicNs step = engine::deadline_after(STEP_NS);
    return main_.wait(std::min(deadline, step)) || again_.behind() != 0 || step <= deadline;
}

void ReliableSubscriber::acknowledge(const std::byte* kept, std::size_t count) {
    std::set<std::pair<std::string, std::uint64_t>> open;
    for (std::size_t i = 0; i < count; ++i) {
        MessageHeader header;
        std::memcpy(&header, kept + i * type().bytes(), sizeof header);
        open.emplace(name_of(header.publisher), header.sequence);
    }
    const auto rest = std::stable_partition(
        unacknowledged_.begin(), unacknowledged_.end(), [&](const Ack& ack) {
            return !open.contains({std::string(name_of(ack.publisher)), ack.sequence});
        });
    const auto done = static_cast<std::size_t>(rest - unacknowledged_.begin());
    if (done == 0) return;
    const TimeNs now = utc_now();
    for (std::size_t i = 0; i < done; ++i) unacknowledged_[i].time = now;
    acks_.publish(std::span<const Ack>(unacknowledged_).first(done));
    unacknowledged_.erase(unacknowledged_.begin(), rest);
}

void ReliableSubscriber::close(const std::byte* kept, std::size_t count) {
    if (!acks_.is_open()) return;
    acknowledge(kept, count);
    unacknowledged_.clear();
    acks_.close();
    main_.leave();
    again_.leave();
}

std::uint64_t ReliableSubscriber::duplicates() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [name, tracker] : trackers_) sum += tracker.duplicates();
    return sum;
}

std::uint64_t ReliableSubscriber::missing() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [name, tracker] : trackers_) sum += tracker.missing_count();
    return sum;
}

}  // namespace klineagg::bus
