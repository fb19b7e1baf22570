#include "klineagg/bus/logged.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "klineagg/error.hpp"
#include "klineagg/file.hpp"

namespace klineagg::bus {
namespace {

constexpr std::size_t FRAME_BYTES = std::size_t{1} << 18;
constexpr DurationNs ACCEPT_NS = 30 * NS_PER_SECOND;

}  // namespace

LoggedPublisher::LoggedPublisher(const Folder& folder, const std::string& topic,
                                 const std::string& name, const RecordType& type,
                                 const std::string& root, PublisherOptions options,
                                 wal::LogOptions log_options)
    : type_(type) {
    const std::string directory = log_directory(root, topic, name);
    std::error_code failure;
    std::filesystem::create_directories(root, failure);
    if (failure) {
        throw Error(ErrorCode::wal_io, "cannot make the folder " + root + ": " + failure.message(),
                    {{"path", root}});
    }
    // First the log, whose lock tells of another publisher; then the ring, from its number on.
    log_ = std::make_unique<wal::Log>(real_files(), directory, std::move(log_options));
    options.first_sequence = log_->next_sequence();
    check_records(directory);
    options.keep_headers = true;  // they have them since they were logged
    publisher_ = std::make_unique<Publisher>(folder, topic, name, type, options);
    catch_up(directory);
}

LoggedPublisher::~LoggedPublisher() {
    // A forked child has no writer of the log: closing would wait for it for ever.
    if (publisher_ && publisher_->is_foreign()) (void)log_.release();
}

/// A log of two kinds of records could not be read from its beginning by anybody.
void LoggedPublisher::check_records(const std::string& directory) const {
    const std::uint64_t end = log_->next_sequence();
    if (end == 1) return;
    std::vector<std::byte> record;
    (void)LogReplay(directory, type_, end - 1, end).next(record);
}

void LoggedPublisher::catch_up(const std::string& directory) {
    const std::uint64_t shown = publisher_->next_sequence();
    const std::uint64_t logged = log_->next_sequence();
    if (shown > logged) {
        throw Error(ErrorCode::bus_unavailable,
                    "the ring stands at message " + std::to_string(shown) + ", its log at " +
                        std::to_string(logged) +
                        ": it published without this log, or the log lost its end",
                    {{"ring", std::to_string(shown)},
                     {"log", std::to_string(logged)},
                     {"hint",
                      "publish under another name; or have the sequence forgotten (close it, then "
                      "clean(older_than=0, forget=0)), and it goes on where the log ends"}});
    }
    LogReplay replay(directory, type_, shown, logged);
    std::vector<std::byte> records;
    while (replay.next(records)) {
        publisher_->publish(records.data(), records.size() / type_.bytes());
        records.clear();
    }
}

std::size_t LoggedPublisher::batch_max() const noexcept {
    return std::max<std::size_t>(1,
                                 std::min(FRAME_BYTES, log_->payload_bytes_max()) / type_.bytes());
}

void LoggedPublisher::stamp(std::vector<std::byte>& to, const std::byte* records,
                            std::size_t count, std::uint64_t first) const {
    const std::size_t bytes = type_.bytes();
    to.assign(records, records + count * bytes);
    MessageHeader header;
    set_name(header.publisher, publisher_->name());
    header.publish_time = utc_now();
    for (std::size_t i = 0; i < count; ++i) {
        header.sequence = first + i;
        std::memcpy(to.data() + i * bytes, &header, sizeof header);
    }
}

void LoggedPublisher::append(const std::vector<std::byte>& stamped, std::size_t count,
                             std::uint64_t first, engine::MonotonicNs deadline) {
    const wal::Appended appended =
        log_->append_wait(wal::Topic::application, stamped, static_cast<std::uint32_t>(count),
                          deadline, log_schema(type_));
    if (appended.first != first)
        throw Error(ErrorCode::internal, "log and ring do not count alike");
}

std::uint64_t LoggedPublisher::publish(const std::byte* records, std::size_t count) {
    publisher_->check_open();  // before the log has what nobody is going to show
    const std::size_t bytes = type_.bytes();
    std::uint64_t last = publisher_->next_sequence() - 1;
    while (count > 0) {
        const std::size_t batch = std::min(count, batch_max());
        stamp(stamped_, records, batch, last + 1);
        const engine::MonotonicNs deadline = engine::deadline_after(ACCEPT_NS);
        append(stamped_, batch, last + 1, deadline);
        const bool accepted = log_->sync_mode() == wal::SyncMode::always
                                  ? log_->wait_durable(last + batch, deadline)
                                  : log_->wait_written(last + batch, deadline);
        if (!accepted) {
            // It is in the log's queue and may still be written: going on would count it twice.
            publisher_->close();
            throw Error(ErrorCode::wal_timeout, "the log did not accept a batch in time");
        }
        last = publisher_->publish(stamped_.data(), batch);
        records += batch * bytes;
        count -= batch;
    }
    return last;
}

void LoggedPublisher::close() {
    publisher_->close();
    if (!publisher_->is_foreign()) log_->close();
}

}  // namespace klineagg::bus
