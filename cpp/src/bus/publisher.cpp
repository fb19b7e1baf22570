#include "klineagg/bus/publisher.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "heartbeat.hpp"
#include "klineagg/bus/cleanup.hpp"
#include "klineagg/engine/thread.hpp"
#include "klineagg/engine/wait.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {

namespace {

constexpr int TURN_SPINS = 64;
constexpr int TURN_YIELDS = 16;
constexpr std::chrono::microseconds TURN_SLEEP{20};

}  // namespace

void TurnLock::lock() noexcept {
    for (int round = 0; taken_.exchange(true, std::memory_order_acquire);) {
        while (taken_.load(std::memory_order_relaxed)) {
            ++round;
            if (round < TURN_SPINS) {
                engine::spin_pause();
            } else if (round < TURN_SPINS + TURN_YIELDS) {
                std::this_thread::yield();  // who has the turn may not have a core
            } else {
                // Those that yield get the core again and again in place of who has the turn.
                std::this_thread::sleep_for(TURN_SLEEP);
            }
        }
    }
}

Publisher::Publisher(const Folder& folder, const std::string& topic, const std::string& name,
                     const RecordType& type, const PublisherOptions& options)
    : topic_(folder, topic),
      name_(name),
      type_(type),
      process_(process_generation()),
      keep_headers_(options.keep_headers) {
    check_name(name_);
    if (options.core) engine::pin_current_thread(*options.core);
    clean_folder(folder, options.orphan_after);
    // Two that count at the same time would both find room for the last one. And who has read the
    // note of a removed ring would begin there although another one came and went meanwhile.
    const FileLock turn = topic_.take_turn();
    check_topic_records(options);
    acquire(options);
    begin_life();
}

void Publisher::begin_life() {
    set_name(stamp_.publisher, name_);
    file_.populate();
    writer_ = RingWriter(ring_);
    RingHeader& header = ring_.header();
    remote_fence_ = Topic::register_remote_fence();
    header.remote_fence.store(remote_fence_ ? 1 : 0, std::memory_order_relaxed);
    header.pid.store(getpid(), std::memory_order_relaxed);
    header.state.store(static_cast<std::uint32_t>(RingState::open), std::memory_order_release);
    heartbeat_start(header);
    open_ = true;
    topic_.roster_changed();
}

Publisher::~Publisher() { close(); }

void Publisher::close() noexcept {
    const std::lock_guard turn(turn_);
    if (!open_) return;
    open_ = false;
    // A forked child only looks away: the segment lives on in its parent.
    if (is_foreign()) return;
    RingHeader& header = ring_.header();
    heartbeat_stop(header);
    header.state.store(static_cast<std::uint32_t>(RingState::closed), std::memory_order_release);
    lock_.release();
    topic_.roster_changed();
    topic_.leave();
}

void Publisher::check_open() const {
    if (!open_)
        throw Error(ErrorCode::bus_closed, "the publisher " + name_ + " is closed");
    if (is_foreign()) {
        throw Error(ErrorCode::forked,
                    "the publisher " + name_ + " was made before the process was forked");
    }
}

void Publisher::check_size(std::size_t bytes) const {
    if (bytes != type_.bytes()) {
        throw Error(ErrorCode::record_mismatch,
                    "a record of " + std::to_string(bytes) + " bytes for the topic " +
                        topic_.name() + ", whose " + type_.name() + " has " +
                        std::to_string(type_.bytes()));
    }
}

void Publisher::check_no_loan() const {
    if (loaned_ != 0) {
        throw Error(ErrorCode::loan_outstanding,
                    "a loan of " + std::to_string(loaned_) + " records of the publisher " + name_ +
                        " is not committed yet",
                    {{"count", std::to_string(loaned_)}});
    }
}

void Publisher::notify() noexcept {
    if (topic_.notify(remote_fence_)) [[unlikely]]
        ring_.header().wake_count.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t Publisher::publish(const std::byte* records, std::size_t count) {
    const std::lock_guard turn(turn_);
    check_open();
    check_no_loan();
    const std::size_t bytes = type_.bytes();
    stamp_.publish_time = clock_.now();
    while (count > 0) {
        const auto batch = static_cast<std::size_t>(std::min<std::uint64_t>(count, batch_max()));
        const std::uint64_t first = writer_.next_sequence();
        writer_.begin(batch);
        if (keep_headers_) [[unlikely]] {
            for (std::size_t i = 0; i < batch; ++i)
                writer_.store_raw(first + i, records + i * bytes);
        } else {
            for (std::size_t i = 0; i < batch; ++i)
                writer_.store(first + i, records + i * bytes, stamp_);
        }
        writer_.commit(batch);
        notify();
        records += batch * bytes;
        count -= batch;
    }
    return writer_.next_sequence() - 1;
}

Publisher::Loan Publisher::loan(std::size_t count) {
    const std::lock_guard turn(turn_);
    check_open();
    check_no_loan();
    if (count == 0 || count > batch_max()) {
        throw Error(ErrorCode::batch_too_large,
                    "a loan has 1 to " + std::to_string(batch_max()) + " records here, not " +
                        std::to_string(count),
                    {{"asked", std::to_string(count)}, {"most", std::to_string(batch_max())}});
    }
    loaned_ = count;
    writer_.begin(count);
    Loan loan;
    loan.number = ++loan_number_;
    loan.first = writer_.next_sequence();
    const std::uint64_t at = loan.first & (ring_.capacity() - 1);
    const auto run =
        static_cast<std::size_t>(std::min<std::uint64_t>(count, ring_.capacity() - at));
    const std::size_t bytes = type_.bytes();
    loan.pieces[0] = {reinterpret_cast<std::byte*>(ring_.slot(loan.first)), run * bytes};
    loan.pieces[1] = {reinterpret_cast<std::byte*>(ring_.slot(loan.first + run)),
                      (count - run) * bytes};
    return loan;
}

std::uint64_t Publisher::commit_loan(std::size_t count) {
    const std::lock_guard turn(turn_);
    check_open();
    if (count > loaned_) {
        throw Error(ErrorCode::batch_too_large,
                    "commit of " + std::to_string(count) + " records, " +
                        std::to_string(loaned_) + " are on loan");
    }
    loaned_ = 0;
    if (count == 0) return writer_.next_sequence() - 1;
    stamp_.publish_time = clock_.now();
    const std::uint64_t first = writer_.next_sequence();
    for (std::size_t i = 0; i < count; ++i) writer_.stamp(first + i, stamp_);
    writer_.commit(count);
    notify();
    return first + count - 1;
}

void Publisher::drop_loan(std::uint64_t number) noexcept {
    if (is_foreign()) return;  // another thread of the parent may hold the turn for ever
    const std::lock_guard turn(turn_);
    if (loan_number_ == number) loaned_ = 0;
}

void Publisher::stage(const std::byte* records, std::uint64_t first, std::size_t count) {
    check_open();
    writer_.begin_behind(first, count);
    const std::size_t bytes = type_.bytes();
    for (std::size_t i = 0; i < count; ++i)
        writer_.store_raw(first + i, records + i * bytes);
}

void Publisher::reveal(std::uint64_t next) noexcept {
    if (next <= writer_.next_sequence()) return;
    writer_.commit(next - writer_.next_sequence());
    notify();
}

std::uint64_t Publisher::generation() const noexcept {
    return ring_.header().generation.load(std::memory_order_relaxed);
}
std::uint64_t Publisher::next_sequence() const noexcept {
    return ring_.header().tail.load(std::memory_order_relaxed);
}
std::uint64_t Publisher::wake_count() const noexcept {
    return ring_.header().wake_count.load(std::memory_order_relaxed);
}

}  // namespace klineagg::bus
