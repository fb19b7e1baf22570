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

/// Of the type's hash: a log of other records is noticed frame by frame.
std::uint16_t schema_of(const RecordType& type) noexcept {
    const std::uint64_t hash = type.hash();
    return static_cast<std::uint16_t>(hash ^ (hash >> 16U) ^ (hash >> 32U) ^ (hash >> 48U));
}

}  // namespace

std::string log_directory(const std::string& root, const std::string& topic,
                          const std::string& publisher) {
    check_topic(topic);
    check_name(publisher);
    return (std::filesystem::path(root) / (topic + "@" + publisher)).string();
}

std::vector<std::string> logged_publishers(const std::string& root, const std::string& topic) {
    std::vector<std::string> names;
    std::error_code error;
    const std::string prefix = topic + "@";
    for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
    }
    std::sort(names.begin(), names.end());
    return names;
}

LogReplay::LogReplay(const std::string& directory, const RecordType& type, std::uint64_t first,
                     std::uint64_t end)
    : record_bytes_(type.bytes()), schema_(schema_of(type)) {
    if (first >= end) return;
    wal::ReadOptions options;
    options.from = first;
    options.to = end - 1;
    options.topics = 1U << static_cast<unsigned>(wal::Topic::application);
    options.follow = true;  // its publisher may be at work
    try {
        reader_ = std::make_unique<wal::Reader>(real_files(), directory, options);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::wal_range) throw;
        options.from = 0;
        reader_ = std::make_unique<wal::Reader>(real_files(), directory, options);
    }
}

bool LogReplay::next(std::vector<std::byte>& to) {
    wal::Reader::Frame frame;
    while (reader_ && reader_->next(frame)) {
        if (frame.count == 0) continue;
        const wal::FrameHeader& header = frame.view.header;
        if (header.schema != schema_ ||
            frame.view.payload.size() != std::size_t{header.count} * record_bytes_) {
            throw Error(ErrorCode::record_mismatch,
                        "the log has other records from message " +
                            std::to_string(header.sequence) + " on",
                        {{"sequence", std::to_string(header.sequence)}});
        }
        const auto bytes = frame.view.payload.subspan(frame.skip * record_bytes_,
                                                      frame.count * record_bytes_);
        to.insert(to.end(), bytes.begin(), bytes.end());
        return true;
    }
    return false;
}

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
    options.keep_headers = true;  // they have them since they were logged
    publisher_ = std::make_unique<Publisher>(folder, topic, name, type, options);
    catch_up(directory);
}

LoggedPublisher::~LoggedPublisher() {
    // A forked child has no writer of the log: closing would wait for it for ever.
    if (publisher_ && publisher_->is_foreign()) (void)log_.release();
}

void LoggedPublisher::catch_up(const std::string& directory) {
    const std::uint64_t shown = publisher_->next_sequence();
    const std::uint64_t logged = log_->next_sequence();
    if (shown > logged) {
        throw Error(ErrorCode::bus_unavailable,
                    "the ring stands at message " + std::to_string(shown) + ", its log at " +
                        std::to_string(logged) + ": the log lost its end, or is another one",
                    {{"ring", std::to_string(shown)}, {"log", std::to_string(logged)}});
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
                          deadline, schema_of(type_));
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
