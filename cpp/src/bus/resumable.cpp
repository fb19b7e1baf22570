#include "klineagg/bus/resumable.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr std::size_t LIVE_RECORDS = 4096;

std::unique_ptr<RecordHistory> logs_of(const ResumableOptions& options, const std::string& topic,
                                       const RecordType& type) {
    std::error_code error;
    if (!std::filesystem::is_directory(options.log_root, error)) {
        throw Error(ErrorCode::wal_io, "there are no logs: " + options.log_root + " is no folder",
                    {{"path", options.log_root}});
    }
    return std::make_unique<LogHistory>(options.log_root, topic, type);
}

/// Those of a subscriber that is not made before anything else was found in order.
SubscriberOptions live_options(const ResumableOptions& options) {
    const auto refuse = [](ErrorCode code, const std::string& text, Error::Fields fields) {
        throw Error(code, text, std::move(fields));
    };
    if (!options.checkpoint.empty() && !options.live.from.empty()) {
        refuse(ErrorCode::invalid_option,
               "a checkpoint and positions exclude each other: both say where it goes on",
               {{"option", "from"}});
    }
    if (options.every == 0) {
        refuse(ErrorCode::invalid_option, "there is at least one message between checkpoints",
               {{"option", "every"}});
    }
    SubscriberOptions live = options.live;
    live.from.clear();  // the history, not the ring, says what is behind a position
    live.start = Start::oldest;
    return live;
}

}  // namespace

Resumable::Resumable(const Folder& folder, const std::string& topic, const RecordType& type,
                     const ResumableOptions& options)
    : Resumable(folder, topic, type, logs_of(options, topic, type), options) {}

// The live ring first: what is published from now on is in it, or later in the history.
Resumable::Resumable(const Folder& folder, const std::string& topic, const RecordType& type,
                     std::unique_ptr<RecordHistory> history, const ResumableOptions& options)
    : history_(std::move(history)),
      every_(options.every),
      live_(folder, topic, type, live_options(options)),
      record_bytes_(type.bytes()) {
    next_ = options.live.from;
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
    for (std::string& name : history_->publishers()) to_catch_up_.push_back(std::move(name));
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

/// A history gives thousands at once: who dies among them would begin before all of them.
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
    if (current_) put_back(current_->count, true);
}

void Resumable::put_back(std::size_t count, bool seen) {
    if (!current_) return;
    ResumedBatch& batch = *current_;
    count = std::min(count, batch.count);
    batch.count -= count;
    batch.bytes = batch.bytes.first(batch.count * record_bytes_);
    run_.at -= count * record_bytes_;
    handed_out_[batch.publisher] = batch.first + batch.count;  // positions behind would lose them
    const std::size_t repeats = std::min(batch.repeats, batch.count);
    repeated_ -= batch.repeats - repeats;
    batch.repeats = repeats;
    replayed_ -= batch.is_replayed ? count : 0;
    if (batch.count == 0) current_.reset();
    // The marks of all that was handed out would make repeats of what nobody has seen.
    if (file_ && !seen) file_->save_seen(handed_out_);
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
    live_.leave();
    closed_ = true;
}

// --- Taking ---

bool Resumable::take() {
    if (refill_) return take_refill(*refill_);
    if (!to_catch_up_.empty()) {
        const std::string publisher = to_catch_up_.front();
        prove(publisher);  // may throw: then it is this one's turn again
        to_catch_up_.pop_front();
        refill(publisher, next_of(publisher), RecordHistory::TO_THE_END);
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

void Resumable::refill(const std::string& publisher, std::uint64_t first, std::uint64_t end) {
    // Nothing of one that has a ring alone.
    if (auto records = history_->read(publisher, first, end))
        refill_.emplace(Refill{publisher, std::move(records), end == RecordHistory::TO_THE_END});
}

bool Resumable::take_refill(Refill& refill) {
    std::vector<std::byte> records;
    bool more = false;
    try {
        more = refill.records->next(records);
    } catch (...) {
        // Read again at a later call, from what is missing then: it may have been repaired. What
        // lies before a live record is missed with that one; behind the last one nothing may come.
        if (refill.to_the_end) to_catch_up_.push_back(refill.publisher);
        refill_.reset();
        is_refilled_ = false;
        throw;
    }
    const std::string publisher = refill.publisher;
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
                        " are neither in the ring nor in the history",
                    {{"publisher", publisher},
                     {"first", std::to_string(expected)},
                     {"last", std::to_string(header.sequence - 1)}});
    }
}

/// An error when its publisher has never come to the position that it is to go on at.
void Resumable::prove(const std::string& publisher) {
    if (!unproven_.contains(publisher)) return;
    const std::uint64_t position = next_of(publisher);
    const bool has_come = has_come_to(publisher, position);  // may throw: still unproven then
    unproven_.erase(publisher);
    if (has_come) return;
    next_[publisher] = 1;
    seen_.erase(publisher);
    throw Error(ErrorCode::resume_ahead,
                "to go on at message " + std::to_string(position) + " of " + publisher +
                    ", to which neither the ring nor the history has come: the topic began anew, "
                    "or an older state of it was restored",
                {{"publisher", publisher}, {"position", std::to_string(position)}});
}

bool Resumable::has_come_to(const std::string& publisher, std::uint64_t position) {
    live_.refresh();
    for (const SourceInfo& source : live_.sources()) {
        if (source.name == publisher && source.next + source.behind >= position) return true;
    }
    const auto history = history_->read(publisher, position - 1, RecordHistory::TO_THE_END);
    std::vector<std::byte> records;
    while (history && history->next(records)) {
        if (header_at(records, records.size() - record_bytes_).sequence >= position - 1)
            return true;
        records.clear();
    }
    return false;
}

}  // namespace klineagg::bus
