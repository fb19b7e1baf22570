#include "klineagg/wal/log.hpp"

#include <algorithm>
#include <cstring>

#include "klineagg/wal/recovery.hpp"
#include "log_shared.hpp"
#include "log_writer.hpp"

namespace klineagg::wal {
namespace {

constexpr DurationNs INTERVAL_NS_MIN = 1'000'000;
constexpr std::size_t SEGMENT_BYTES_MIN = std::size_t{1} << 14U;
constexpr std::uint64_t SEGMENT_BYTES_MAX = std::uint64_t{1} << 32U;

}  // namespace

void check_options(const LogOptions& options) {
    const auto check = [](bool truth, const char* option, const std::string& rule) {
        if (truth) return;
        throw Error(ErrorCode::invalid_option, std::string(option) + " " + rule,
                    {{"option", option}});
    };
    check(options.segment_bytes >= SEGMENT_BYTES_MIN && options.segment_bytes <= SEGMENT_BYTES_MAX,
          "segment_bytes", "has to be between 16 KiB and 4 GiB");
    check(options.ring_bytes >= Ring::BYTES_MIN && options.ring_bytes <= Ring::BYTES_MAX,
          "ring_bytes", "has to be between 4 KiB and 1 GiB");
    check(options.interval_ns >= INTERVAL_NS_MIN && options.interval_ns <= NS_PER_HOUR, "interval",
          "has to be between 1 ms and 1 h");
    check(options.size_max == 0 || options.size_max >= 2 * options.segment_bytes, "size_max",
          "has to hold two segments");
    check(options.age_max_ns >= 0, "age_max", "has to be positive");
}

namespace {

/// The lock is held for as long as the file is open.
std::unique_ptr<File> lock_directory(FileSystem& files, const std::string& directory) {
    auto file = files.open(join_path(directory, LOCK_NAME), OpenMode::lock);
    if (!file->try_lock()) {
        throw Error(ErrorCode::wal_locked, "another writer has the log " + directory,
                    {{"path", directory}});
    }
    return file;
}

}  // namespace

Log::Log(std::shared_ptr<FileSystem> files, std::string directory, LogOptions options) {
    check_options(options);
    if (options.clock == nullptr) options.clock = std::make_shared<engine::SystemClock>();
    files->make_directory(directory);
    std::unique_ptr<File> lock = lock_directory(*files, directory);
    for (const std::string& name : files->list(directory))
        if (name.ends_with(TEMPORARY_SUFFIX)) files->remove(join_path(directory, name));
    const Recovery found = recover(*files, directory, options.salvage);
    const bool syncs = options.sync != SyncMode::none;
    repair(*files, directory, found, syncs);
    shared_ = std::make_unique<Shared>(std::move(files), std::move(directory), std::move(options),
                                       found.next);
    shared_->directory_lock = std::move(lock);
    shared_->id = found.log;
    shared_->repaired_bytes = found.cut_bytes;
    shared_->lost = found.damages;
    shared_->written = found.next - 1;
    shared_->durable = syncs ? found.next - 1 : 0;
    shared_->size_max = shared_->options.size_max;
    shared_->age_max_ns = shared_->options.age_max_ns;
    writer_ = std::make_unique<Writer>(*shared_, found);
    writer_->start();
}

Log::~Log() {
    try {
        close();
    } catch (const Error&) {  // it stays in failure(), which nobody asks any more
    }
}

Appended Log::append(Topic topic, Bytes payload, std::uint32_t count, std::uint16_t schema,
                     std::uint8_t flags, TimeNs time) noexcept {
    const LogState now = shared_->state.load(std::memory_order_acquire);
    if (now != LogState::running) [[unlikely]]
        return {now == LogState::closed ? AppendStatus::closed : AppendStatus::halted, 0, 0};
    if (payload.size() > payload_bytes_max() || count > std::max<std::size_t>(payload.size(), 1))
        return {AppendStatus::too_large, 0, 0};
    Ring::Slot slot;
    if (!shared_->ring.reserve(payload.size(), count, slot)) {
        shared_->would_block.fetch_add(1, std::memory_order_relaxed);
        shared_->waiter.notify();
        return {AppendStatus::would_block, 0, 0};
    }
    if (!payload.empty()) std::memcpy(slot.payload, payload.data(), payload.size());
    slot.entry->time = time == TIME_NONE ? shared_->options.clock->now() : time;
    slot.entry->topic = topic;
    slot.entry->flags = flags;
    slot.entry->schema = schema;
    // Behind the commit the writer may take the frame and free its place at any moment.
    const Appended appended{AppendStatus::ok, slot.entry->sequence,
                            slot.entry->sequence + count - 1};
    shared_->ring.commit(slot);
    shared_->waiter.notify();
    return appended;
}

std::size_t Log::payload_bytes_max() const noexcept {
    return std::min(PAYLOAD_BYTES_MAX, shared_->ring.payload_bytes_max());
}

Sequence Log::written() const noexcept {
    return shared_->written.load(std::memory_order_acquire);
}
Sequence Log::durable() const noexcept {
    return shared_->durable.load(std::memory_order_acquire);
}
Sequence Log::accepted() const noexcept {
    return shared_->options.sync == SyncMode::always ? durable() : written();
}
LogState Log::state() const noexcept {
    return shared_->state.load(std::memory_order_acquire);
}
Sequence Log::next_sequence() const noexcept {
    return shared_->ring.next_sequence();
}
const std::string& Log::directory() const noexcept {
    return shared_->directory;
}
const Uuid& Log::id() const noexcept {
    return shared_->id;
}
SyncMode Log::sync_mode() const noexcept {
    return shared_->options.sync;
}
std::uint64_t Log::repaired_bytes() const noexcept {
    return shared_->repaired_bytes;
}
const std::vector<Damage>& Log::lost() const noexcept {
    return shared_->lost;
}
bool Log::salvages() const noexcept {
    return shared_->options.salvage;
}
const std::shared_ptr<FileSystem>& Log::files() const noexcept {
    return shared_->files;
}
bool Log::listen(Listener& listener) noexcept {
    const std::lock_guard lock(shared_->listening);
    if (shared_->listener != nullptr && shared_->listener != &listener) return false;
    shared_->listener = &listener;
    return true;
}
void Log::end_listening(Listener& listener) noexcept {
    const std::lock_guard lock(shared_->listening);
    if (shared_->listener == &listener) shared_->listener = nullptr;
}

Appended Log::append_wait(Topic topic, Bytes payload, std::uint32_t count,
                          engine::MonotonicNs deadline, std::uint16_t schema) {
    engine::Waiter waiter(engine::WaitKind::backoff);
    while (true) {
        const Appended appended = append(topic, payload, count, schema);
        if (appended.status == AppendStatus::ok) return appended;
        if (appended.status == AppendStatus::too_large) {
            throw Error(ErrorCode::wal_record,
                        std::to_string(count) + " records in " + std::to_string(payload.size()) +
                            " bytes; a frame holds " + std::to_string(payload_bytes_max()) +
                            " bytes, and no more records than bytes",
                        {{"bytes", std::to_string(payload.size())},
                         {"limit", std::to_string(payload_bytes_max())}});
        }
        shared_->check_running();
        if (engine::monotonic_ns() >= deadline)
            throw Error(ErrorCode::wal_timeout, "the log's ring had no room within the timeout");
        waiter.idle([] { return false; }, deadline);
    }
}

void Log::append_names(const std::vector<Name>& names, engine::MonotonicNs deadline) {
    constexpr std::size_t FRAME_BYTES = 2048;
    std::vector<std::byte> payload;
    for (const Name& each : names) {
        put_name(payload, each.kind, each.id, each.name);
        if (payload.size() < FRAME_BYTES) continue;
        append_wait(Topic::names, payload, 0, deadline);
        payload.clear();
    }
    if (!payload.empty()) append_wait(Topic::names, payload, 0, deadline);
}

bool Log::wait_written(Sequence sequence, engine::MonotonicNs deadline) {
    const auto done = [&] { return written() >= sequence || state() != LogState::running; };
    if (!shared_->wait(done, deadline)) return false;
    if (written() >= sequence) return true;
    shared_->check_running();
    return false;
}

bool Log::wait_durable(Sequence sequence, engine::MonotonicNs deadline) {
    if (shared_->options.sync == SyncMode::none) {
        throw Error(ErrorCode::invalid_option, "a log with sync 'none' never is durable",
                    {{"option", "sync"}});
    }
    Sequence wanted = shared_->sync_wanted.load();
    while (wanted < sequence && !shared_->sync_wanted.compare_exchange_weak(wanted, sequence)) {
    }
    shared_->waiter.notify();
    const auto done = [&] { return durable() >= sequence || state() != LogState::running; };
    if (!shared_->wait(done, deadline)) return false;
    if (durable() >= sequence) return true;
    shared_->check_running();
    return false;
}

std::optional<Error> Log::failure() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->failure;
}

void Log::resume() {
    if (state() != LogState::halted) {
        shared_->check_running();
        return;
    }
    shared_->resume_wanted.store(true);
    shared_->waiter.notify();
    shared_->wait([&] { return !shared_->resume_wanted.load() || state() == LogState::closed; },
                  engine::NO_DEADLINE);
    const std::lock_guard lock(shared_->mutex);
    const std::optional<Error>& failure = shared_->resume_failure;
    if (failure) throw Error(*failure);
}

void Log::set_committed(Sequence sequence) noexcept {
    Sequence now = shared_->committed.load();
    while (now < sequence && !shared_->committed.compare_exchange_weak(now, sequence)) {
    }
    shared_->retention_wanted.store(true);
    shared_->waiter.notify();
}

void Log::set_retention(std::uint64_t size_max, DurationNs age_max_ns) {
    LogOptions options = shared_->options;
    options.size_max = size_max;
    options.age_max_ns = age_max_ns;
    check_options(options);
    shared_->size_max.store(size_max);
    shared_->age_max_ns.store(age_max_ns);
    shared_->retention_wanted.store(true);
    shared_->waiter.notify();
}

LogStats Log::stats() const {
    LogStats stats;
    {
        const std::lock_guard lock(shared_->mutex);
        stats = shared_->counts;
    }
    stats.durable = durable();
    stats.written = written();
    stats.next = next_sequence();
    stats.committed = shared_->committed.load();
    stats.would_block = shared_->would_block.load();
    stats.ring_bytes = shared_->ring.bytes();
    stats.ring_used_bytes = shared_->ring.used_bytes();
    return stats;
}

void Log::close() {
    const std::lock_guard only_one(shared_->close_mutex);
    if (state() == LogState::closed) return;
    writer_->stop();
    const bool halted = state() == LogState::halted;
    shared_->state.store(LogState::closed);
    shared_->notify();
    shared_->directory_lock.reset();
    if (!halted) return;
    const std::lock_guard lock(shared_->mutex);
    const std::optional<Error>& failure = shared_->failure;
    if (failure) throw Error(*failure);
}

}  // namespace klineagg::wal
