#include "klineagg/bus/reliable.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr const char* ACKS = ".acks";
constexpr const char* REPEATS = ".repeats";
constexpr std::size_t REPEAT_RING_BYTES = std::size_t{1} << 20;
constexpr DurationNs LOOK_NS = 50'000'000;
constexpr std::size_t ACKS_AT_ONCE = 1024;

ReliableOptions checked(ReliableOptions options) {
    const bool has_takers = !options.names.empty() || options.all || options.acks > 0;
    if (!has_takers || options.timeout_ns <= 0 || options.retries < 0 || options.pending_max == 0)
        throw Error(ErrorCode::invalid_option,
                    "somebody has to acknowledge; timeout > 0, retries >= 0, pending_max >= 1");
    return options;
}

PublisherOptions of_repeats() {
    PublisherOptions options;
    options.ring_bytes = REPEAT_RING_BYTES;
    options.keep_headers = true;
    return options;
}

SubscriberOptions named(const std::string& name) {
    SubscriberOptions options;
    options.name = name;
    return options;
}

std::string listed(const std::set<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

}  // namespace

std::string Delivery::text(const std::string& topic) const {
    std::string who = missing.empty() ? std::to_string(missing_count) + " more" : listed(missing);
    if (missing.empty() && acknowledged.empty()) who = "anybody: is a reliable subscriber there?";
    return "message " + std::to_string(sequence) + " of " + topic + " was sent " +
           std::to_string(attempts) + " times; not acknowledged by " + who;
}

ReliablePublisher::ReliablePublisher(const Folder& folder, const std::string& topic,
                                     const std::string& name, const RecordType& type,
                                     ReliableOptions options)
    : name_(name),
      type_(type),
      options_(checked(std::move(options))),
      logged_(options_.wal.empty()
                  ? nullptr
                  : std::make_unique<LoggedPublisher>(folder, topic, name, type, options_.wal,
                                                      options_.publisher, options_.log)),
      plain_(logged_ ? nullptr
                     : std::make_unique<Publisher>(folder, topic, name, type, options_.publisher)),
      repeats_(folder, topic + REPEATS, name, type, of_repeats()),
      returns_(folder, topic + ACKS, builtin_type("Ack"), named(name)),
      acks_topic_(folder, topic + ACKS),
      process_(process_generation()) {
    thread_ = engine::Thread("kla-reliable", options_.core, [this] { work(); });
}

ReliablePublisher::~ReliablePublisher() { close(); }

std::set<std::string> ReliablePublisher::required() const {
    if (!options_.names.empty() || !options_.all) return options_.names;
    std::set<std::string> there;
    for (const std::string& name : acks_topic_.publishers()) {
        if (FileLock::is_locked(acks_topic_.ring_path(name))) there.insert(name);
    }
    return there;
}

std::uint64_t ReliablePublisher::send(const std::byte* record, Done done) {
    Pending entry;
    entry.wanted = required();
    entry.acks = entry.wanted.empty() ? std::max<std::size_t>(options_.acks, 1)
                                      : entry.wanted.size();
    entry.record.assign(record, record + type_.bytes());
    entry.done = std::move(done);
    entry.retries_left = options_.retries;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closing_ || pending_.size() < options_.pending_max; });
    if (closing_) throw Error(ErrorCode::bus_closed, "the publisher " + name_ + " is closed");
    // A repeat has the header of the first attempt: that is how it is recognised. The lock is held,
    // so that no acknowledgement comes before the message is among those that wait for one.
    MessageHeader header;
    header.publish_time = utc_now();
    header.sequence =
        logged_ ? logged_->publish(record, 1) : plain_->publish(record, 1);
    set_name(header.publisher, name_);
    std::memcpy(entry.record.data(), &header, sizeof header);
    entry.delivery.sequence = header.sequence;
    entry.delivery.attempts = 1;
    entry.due = engine::deadline_after(options_.timeout_ns);
    queue_.push_back(std::move(entry));
    pending_[header.sequence] = std::prev(queue_.end());
    return header.sequence;
}

std::uint64_t ReliablePublisher::publish(const std::byte* record) {
    // Shared: it may still be setting the value when this thread has it already.
    const auto promise = std::make_shared<std::promise<Delivery>>();
    auto future = promise->get_future();
    (void)send(record, [promise](const Delivery& delivery) { promise->set_value(delivery); });
    const Delivery delivery = future.get();
    if (delivery.delivered) return delivery.sequence;
    throw Error(ErrorCode::delivery_failed,
                delivery.text(plain_ ? plain_->topic().name() : logged_->publisher().topic().name()),
                {{"sequence", std::to_string(delivery.sequence)},
                 {"missing", listed(delivery.missing)},
                 {"acknowledged", listed(delivery.acknowledged)}});
}

void ReliablePublisher::work() {
    std::vector<Ack> acks(ACKS_AT_ONCE);
    while (true) {
        (void)returns_.wait(
            engine::deadline_after(std::min(options_.timeout_ns / 4, LOOK_NS)));
        const std::size_t count = returns_.receive(std::span<Ack>(acks));
        Outcomes outcomes;
        {
            const std::lock_guard lock(mutex_);
            if (closing_) return;
            take_acks(acks, count, outcomes);
            repeat_due(outcomes);
        }
        settle(outcomes);
    }
}

void ReliablePublisher::take_acks(const std::vector<Ack>& acks, std::size_t count,
                                  Outcomes& outcomes) {
    for (std::size_t i = 0; i < count; ++i) {
        const Ack& ack = acks[i];
        if (name_of(ack.publisher) != name_) continue;
        const auto place = pending_.find(ack.sequence);
        if (place == pending_.end()) continue;
        Pending& entry = *place->second;
        entry.delivery.acknowledged.emplace(name_of(ack.subscriber));
        const auto& have = entry.delivery.acknowledged;
        const bool is_done = entry.wanted.empty()
                                 ? have.size() >= entry.acks
                                 : std::includes(have.begin(), have.end(), entry.wanted.begin(),
                                                 entry.wanted.end());
        if (!is_done) continue;
        entry.delivery.delivered = true;
        delivered_.fetch_add(1, std::memory_order_relaxed);
        outcomes.splice(outcomes.end(), queue_, place->second);
        pending_.erase(place);
    }
}

void ReliablePublisher::repeat_due(Outcomes& outcomes) {
    const engine::MonotonicNs now = engine::monotonic_ns();
    while (!queue_.empty() && queue_.front().due <= now) {
        Pending& entry = queue_.front();
        if (entry.retries_left == 0) {
            fail(entry);
            failed_.fetch_add(1, std::memory_order_relaxed);
            pending_.erase(entry.delivery.sequence);
            outcomes.splice(outcomes.end(), queue_, queue_.begin());
            continue;
        }
        --entry.retries_left;
        ++entry.delivery.attempts;
        entry.due = engine::deadline_after(options_.timeout_ns);
        repeats_.publish(entry.record.data(), 1);
        repeated_.fetch_add(1, std::memory_order_relaxed);
        queue_.splice(queue_.end(), queue_, queue_.begin());
    }
}

void ReliablePublisher::fail(Pending& entry) {
    Delivery& delivery = entry.delivery;
    std::set_difference(entry.wanted.begin(), entry.wanted.end(), delivery.acknowledged.begin(),
                        delivery.acknowledged.end(),
                        std::inserter(delivery.missing, delivery.missing.end()));
    delivery.missing_count = entry.wanted.empty()
                                 ? entry.acks - std::min(entry.acks, delivery.acknowledged.size())
                                 : delivery.missing.size();
}

void ReliablePublisher::settle(Outcomes& outcomes) {
    if (outcomes.empty()) return;
    for (Pending& entry : outcomes) {
        if (entry.done) entry.done(entry.delivery);
    }
    const std::lock_guard lock(mutex_);  // for who waits for room, or for nothing to be pending
    changed_.notify_all();
}

bool ReliablePublisher::flush(engine::MonotonicNs deadline) {
    constexpr auto step = std::chrono::milliseconds(20);
    std::unique_lock lock(mutex_);
    while (!pending_.empty() && !closing_) {
        if (engine::monotonic_ns() >= deadline) return false;
        changed_.wait_for(lock, step);
    }
    return true;
}

std::size_t ReliablePublisher::pending() const {
    const std::lock_guard lock(mutex_);
    return pending_.size();
}

void ReliablePublisher::close() {
    if (process_ != process_generation()) {
        // A forked child: the thread is not here, and the mutex may be locked by it for ever.
        (void)new engine::Thread(std::move(thread_));
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        if (closing_) return;
        closing_ = true;
        changed_.notify_all();
    }
    thread_.join();
    Outcomes rest;
    {
        const std::lock_guard lock(mutex_);
        pending_.clear();
        rest.swap(queue_);
    }
    for (Pending& entry : rest) fail(entry);
    failed_.fetch_add(rest.size(), std::memory_order_relaxed);
    settle(rest);
    if (logged_) logged_->close();
    if (plain_) plain_->close();
    repeats_.close();
    returns_.leave();
    acks_topic_.leave();
}

}  // namespace klineagg::bus
