// What a feed does with an engine that goes on from its log.
#include <cstring>
#include <limits>
#include <vector>

#include "klineagg/bus/engine_feed.hpp"
#include "klineagg/bus/published.hpp"

namespace klineagg::bus {
namespace {

constexpr std::uint64_t TO_THE_END = std::numeric_limits<std::uint64_t>::max();

template <class Record, class Sink>
void read_log(const std::string& directory, const RecordType& type, std::uint64_t first,
              Sink&& sink) {
    LogReplay replay(directory, type, first, TO_THE_END);
    std::vector<std::byte> bytes;
    Record record;
    while (replay.next(bytes)) {
        for (std::size_t at = 0; at < bytes.size(); at += sizeof record) {
            std::memcpy(&record, bytes.data() + at, sizeof record);
            sink(record);
        }
        bytes.clear();
    }
}

/// Out of every log that the topic has: there may have been more publishers, or fewer.
template <class Record>
void read_topic(const std::string& root, const std::string& topic, const char* type_name,
                FeedOrigin& origin, Published& published) {
    const RecordType type = builtin_type(type_name);
    for (const std::string& publisher : logged_publishers(root, topic)) {
        const std::string directory = log_directory(root, topic, publisher);
        const std::string log = std::string(topic).append("@").append(publisher);
        std::uint64_t next = 1;
        if (!origin.knows(log)) {
            read_log<Record>(directory, type, 1,
                             [&](const Record& record) { next = record.header.sequence + 1; });
        }
        read_log<Record>(directory, type, origin.first(log, next),
                         [&](const Record& record) { published.add(record); });
    }
}

}  // namespace

bool EngineFeed::replaying(const engine::ReplayRange& range) {
    if (options_.log_root.empty()) return false;
    published_ = std::make_unique<Published>(range);
    FeedOrigin origin(options_.log_root, range.log);
    if (of_[TRADES] != nullptr)
        read_topic<TradeEvent>(options_.log_root, options_.trades, "TradeEvent", origin,
                               *published_);
    if (of_[BARS] != nullptr)
        read_topic<Bar>(options_.log_root, options_.bars, "Bar", origin, *published_);
    origin.save();
    return true;
}

void EngineFeed::replayed() { published_.reset(); }

void EngineFeed::settle() {
    for (const auto& [topic, publishers] : topics_) {
        for (const auto& each : publishers) each->settle();
    }
}

}  // namespace klineagg::bus
