#include "klineagg/bus/posted.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr DurationNs ACCEPT_NS = 30 * NS_PER_SECOND;

}  // namespace

PostedPublisher::PostedPublisher(const Folder& folder, const std::string& topic,
                                 const std::string& name, const RecordType& type,
                                 const std::string& root, PublisherOptions options,
                                 wal::LogOptions log_options)
    : logged_(folder, topic, name, type, root, options, std::move(log_options)) {
    next_ = publisher().next_sequence();
    staged_.store(next_, std::memory_order_release);
    if (!log().listen(*this)) throw Error(ErrorCode::internal, "somebody else listens to the log");
}

PostedPublisher::~PostedPublisher() {
    try {
        close();
    } catch (const std::exception&) {  // what the log has is shown by a successor
    }
}

void PostedPublisher::show() noexcept {
    // Who stages looks here afterwards, and so does the log's writer: whichever of the two comes
    // last finds both.
    const std::lock_guard turn(showing_);
    publisher().reveal(
        std::min(log().accepted() + 1, staged_.load(std::memory_order_acquire)));
}

void PostedPublisher::wait_for(wal::Sequence wanted, bool durable) {
    const engine::MonotonicNs deadline = engine::deadline_after(ACCEPT_NS);
    const bool accepted = durable ? log().wait_durable(wanted, deadline)
                                  : log().wait_written(wanted, deadline);
    if (!accepted)
        throw Error(ErrorCode::wal_timeout, "the log of a topic did not accept records in time");
    show();
}

void PostedPublisher::wait_for_room(std::size_t count) {
    const std::uint64_t most = publisher().batch_max();
    while (next_ + count - publisher().next_sequence() > most)
        wait_for(next_ + count - most - 1, log().sync_mode() == wal::SyncMode::always);
}

void PostedPublisher::settle() {
    // A checkpoint must not be ahead of what is in the log after a power cut either.
    wait_for(staged_.load(std::memory_order_acquire) - 1,
             log().sync_mode() != wal::SyncMode::none);
}

std::uint64_t PostedPublisher::post(const std::byte* records, std::size_t count) {
    const std::lock_guard turn(posting_);
    if (!open_) throw Error(ErrorCode::bus_closed, "the publisher is closed");
    const std::size_t bytes = publisher().type().bytes();
    const auto most = static_cast<std::size_t>(
        std::min<std::uint64_t>(logged_.batch_max(), publisher().batch_max()));
    while (count > 0) {
        const std::size_t batch = std::min(count, most);
        wait_for_room(batch);
        logged_.stamp(stamped_, records, batch, next_);
        logged_.append(stamped_, batch, next_, engine::deadline_after(ACCEPT_NS));
        publisher().stage(stamped_.data(), next_, batch);
        next_ += batch;
        staged_.store(next_, std::memory_order_release);
        show();
        records += batch * bytes;
        count -= batch;
    }
    return next_ - 1;
}

void PostedPublisher::close() {
    const std::lock_guard turn(posting_);
    if (!std::exchange(open_, false)) return;
    const auto end = [this]() noexcept {
        log().end_listening(*this);
        show();
        publisher().close();
    };
    try {
        log().close();  // writes all of it
    } catch (...) {
        end();
        throw;
    }
    end();
}

}  // namespace klineagg::bus
