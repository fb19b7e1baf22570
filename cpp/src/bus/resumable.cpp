#include "klineagg/bus/resumable.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr std::size_t LIVE_RECORDS = 4096;
constexpr std::uint64_t TO_THE_END = std::numeric_limits<std::uint64_t>::max();

/// Those of a subscriber that is not made before anything else was found in order.
SubscriberOptions live_options(const ResumableOptions& options) {
    const auto refuse = [](ErrorCode code, const std::string& text, Error::Fields fields) {
        throw Error(code, text, std::move(fields));
    };
    std::error_code error;
    if (!options.checkpoint.empty() && !options.live.from.empty()) {
        refuse(ErrorCode::invalid_option,
               "a checkpoint and positions exclude each other: both say where it goes on",
               {{"option", "from"}});
    }
    if (options.every == 0) {
        refuse(ErrorCode::invalid_option, "there is at least one message between checkpoints",
               {{"option", "every"}});
    }
    if (!std::filesystem::is_directory(options.log_root, error)) {
        refuse(ErrorCode::wal_io, "there are no logs: " + options.log_root + " is no folder",
               {{"path", options.log_root}});
    }
    SubscriberOptions live = options.live;
    live.from.clear();  // the log, not the ring, says what is behind a position
    live.start = Start::oldest;
    return live;
}

}  // namespace

// The live ring first: what is published from now on is in it, or later in the log.
Resumable::Resumable(const Folder& folder, const std::string& topic, const RecordType& type,
                     ResumableOptions options)
    : topic_(topic),
      root_(options.log_root),
      every_(options.every),
      live_(folder, topic, type, live_options(options)),
      record_bytes_(type.bytes()) {
    next_ = std::move(options.live.from);
    if (!options.checkpoint.empty()) {
        file_.emplace(options.checkpoint);
        next_ = file_->load();
        seen_ = file_->load_seen();
    }
    handed_out_ = next_;
    live_records_.resize(LIVE_RECORDS * record_bytes_);
    for (const auto& [publisher, next] : next_) {
        if (next > 1) unproven_.insert(publisher);
    }
    for (std::string& name : logged_publishers(root_, topic_))
        to_catch_up_.push_back(std::move(name));
    for (const SourceInfo& source : live_.sources()) {
        if (std::find(to_catch_up_.begin(), to_catch_up_.end(), source.name) == to_catch_up_.end())
            to_catch_up_.push_back(source.name);
    }
}

Resumable::~Resumable() {
    if (closed_) return;
    try {
        put_back();
        checkpoint();
    } catch (const Error&) {
        // The positions of the last checkpoint stay: what came since comes again, and is marked.
    }
}

std::uint64_t Resumable::next_of(const std::string& publisher) const {
    const auto place = next_.find(publisher);
    return place == next_.end() ? 1 : place->second;
}

MessageHeader Resumable::header_at(const std::vector<std::byte>& bytes, std::size_t at) const {
    MessageHeader header;
    std::memcpy(&header, bytes.data() + at, sizeof header);
    return header;
}

// --- Handing out ---

std::optional<ResumedBatch> Resumable::receive(engine::MonotonicNs deadline) {
    if (closed_) throw Error(ErrorCode::bus_closed, "something is received after close()");
    processed();
    std::optional<ResumedBatch> batch;
    const bool found = stop_.wait(deadline, [&](engine::MonotonicNs step) {
        batch = next_part();
        if (!batch && live_.wait(step)) batch = next_part();
        return batch.has_value();
    });
    if (!found && stop_.is_raised()) checkpoint();
    return batch;
}

std::optional<ResumedBatch> Resumable::next_part() {
    while (run_.at == run_.bytes.size()) {
        if (!take()) return std::nullopt;
    }
    return hand_out();
}

/// A log gives thousands at once: who dies among them would begin before all of them.
ResumedBatch Resumable::hand_out() {
    const std::size_t rest = (run_.bytes.size() - run_.at) / record_bytes_;
    ResumedBatch batch;
    batch.publisher = run_.publisher;
    batch.first = header_at(run_.bytes, run_.at).sequence;
    batch.count = static_cast<std::size_t>(
        std::min<std::uint64_t>(rest, every_ - uncheckpointed_));
    batch.is_replayed = run_.is_replayed;
    batch.bytes = std::span(run_.bytes).subspan(run_.at, batch.count * record_bytes_);
    if (const auto seen = seen_.find(batch.publisher);
        seen != seen_.end() && seen->second > batch.first) {
        batch.repeats = static_cast<std::size_t>(
            std::min<std::uint64_t>(batch.count, seen->second - batch.first));
    }
    run_.at += batch.bytes.size();
    handed_out_[batch.publisher] = batch.first + batch.count;
    repeated_ += batch.repeats;
    replayed_ += batch.is_replayed ? batch.count : 0;
    current_ = batch;
    if (file_) file_->save_seen(handed_out_);
    return batch;
}

void Resumable::put_back() {
    if (!current_) return;
    run_.at -= current_->bytes.size();
    handed_out_[current_->publisher] = current_->first;  // positions behind it would lose it
    repeated_ -= current_->repeats;
    replayed_ -= current_->is_replayed ? current_->count : 0;
    current_.reset();
}

void Resumable::processed() {
    uncheckpointed_ += current_ ? current_->count : 0;
    current_.reset();
    if (uncheckpointed_ >= every_) checkpoint();
}

void Resumable::checkpoint() {
    if (file_) file_->save(handed_out_);
    uncheckpointed_ = 0;
    current_.reset();  // it has counted
}

void Resumable::close() {
    if (closed_) return;
    processed();
    checkpoint();
    closed_ = true;
}

// --- Taking ---

bool Resumable::take() {
    if (refill_) return take_refill();
    if (!to_catch_up_.empty()) {
        const std::string publisher = to_catch_up_.front();
        prove(publisher);  // may throw: then it is this one's turn again
        to_catch_up_.pop_front();
        refill(publisher, next_of(publisher), TO_THE_END);
        return true;
    }
    if (live_at_ == live_end_) {
        live_at_ = 0;
        live_end_ = live_.receive(live_records_.data(), LIVE_RECORDS) * record_bytes_;
        if (live_end_ == 0) return false;
    }
    take_live();
    return true;
}

/// Live records of one publisher that follow each other, behind what is missing before them.
void Resumable::take_live() {
    const MessageHeader first = header_at(live_records_, live_at_);
    const std::string publisher(name_of(first.publisher));
    prove(publisher);
    const std::uint64_t expected = next_of(publisher);
    if (first.sequence > expected && !is_refilled_) {
        refill(publisher, expected, first.sequence);
        is_refilled_ = true;
        return;
    }
    is_refilled_ = false;
    std::size_t end = live_at_;
    for (std::uint64_t next = first.sequence; end < live_end_; ++next) {
        const MessageHeader header = header_at(live_records_, end);
        if (header.sequence != next || name_of(header.publisher) != publisher) break;
        end += record_bytes_;
    }
    const auto records = std::span(live_records_).subspan(live_at_, end - live_at_);
    live_at_ = end;
    in_order(publisher, records, false);
}

/// Nothing of one that has a ring alone.
std::optional<LogReplay> Resumable::log_of(const std::string& publisher, std::uint64_t first,
                                           std::uint64_t end) const {
    const std::string directory = log_directory(root_, topic_, publisher);
    if (!std::filesystem::is_directory(directory)) return std::nullopt;
    return LogReplay(directory, live_.type(), first, end);
}

void Resumable::refill(const std::string& publisher, std::uint64_t first, std::uint64_t end) {
    if (auto log = log_of(publisher, first, end))
        refill_.emplace(Refill{publisher, *std::move(log)});
}

bool Resumable::take_refill() {
    std::vector<std::byte> records;
    bool more = false;
    try {
        more = refill_->log.next(records);
    } catch (...) {
        // Read again at the next call, from what is missing then: it may have been repaired.
        refill_.reset();
        is_refilled_ = false;
        throw;
    }
    const std::string publisher = refill_->publisher;
    if (!more) refill_.reset();
    if (more) in_order(publisher, records, true);
    return true;
}

void Resumable::in_order(const std::string& publisher, std::span<const std::byte> records,
                         bool is_replayed) {
    const std::uint64_t expected = next_of(publisher);
    MessageHeader header;
    while (!records.empty()) {
        std::memcpy(&header, records.data(), sizeof header);
        if (header.sequence >= expected) break;
        records = records.subspan(record_bytes_);  // it was taken before
    }
    if (records.empty()) return;
    next_[publisher] = header.sequence + records.size() / record_bytes_;
    run_.publisher = publisher;
    run_.bytes.assign(records.begin(), records.end());
    run_.at = 0;
    run_.is_replayed = is_replayed;
    if (header.sequence > expected) {
        throw Error(ErrorCode::resume_hole,
                    "messages " + std::to_string(expected) + " to " +
                        std::to_string(header.sequence - 1) + " of " + publisher +
                        " are neither in the ring nor in the log",
                    {{"publisher", publisher},
                     {"first", std::to_string(expected)},
                     {"last", std::to_string(header.sequence - 1)}});
    }
}

/// An error when its publisher has never come to the position that it is to go on at.
void Resumable::prove(const std::string& publisher) {
    if (unproven_.erase(publisher) == 0) return;
    const std::uint64_t position = next_of(publisher);
    if (has_come_to(publisher, position)) return;
    next_[publisher] = 1;
    seen_.erase(publisher);
    throw Error(ErrorCode::resume_ahead,
                "to go on at message " + std::to_string(position) + " of " + publisher +
                    ", to which neither the ring nor the log has come: the topic began anew, or "
                    "an older state of it was restored",
                {{"publisher", publisher}, {"position", std::to_string(position)}});
}

bool Resumable::has_come_to(const std::string& publisher, std::uint64_t position) {
    live_.refresh();
    for (const SourceInfo& source : live_.sources()) {
        if (source.name == publisher && source.next + source.behind >= position) return true;
    }
    auto log = log_of(publisher, position - 1, TO_THE_END);
    std::vector<std::byte> records;
    return log && log->next(records);
}

}  // namespace klineagg::bus
