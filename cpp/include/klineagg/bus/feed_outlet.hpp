// One publisher of an engine's feed, with a log behind it or without.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "klineagg/bus/posted.hpp"
#include "klineagg/bus/publisher.hpp"

namespace klineagg::bus {

/// Any thread may publish.
class FeedOutlet {
public:
    /// `root`: the folder of the logs; empty: it has none. Throws what its publisher throws.
    FeedOutlet(const Folder& folder, const std::string& topic, const std::string& name,
               const RecordType& type, const PublisherOptions& options, const std::string& root,
               const wal::LogOptions& log_options);

    template <IsRecord Record>
    void publish(std::span<const Record> records) {
        if (posted_) posted_->post(records);
        else plain_->publish(records);
    }
    /// With a log: until it has what was published before. Throws its failure.
    void settle() {
        if (posted_) posted_->settle();
    }
    /// Shows what is on its way, then ends. What cannot be shown now, a successor shows.
    void close() noexcept;

    [[nodiscard]] Publisher& publisher() noexcept {
        return posted_ ? posted_->publisher() : *plain_;
    }
    [[nodiscard]] bool has_log() const noexcept { return posted_ != nullptr; }

private:
    std::unique_ptr<Publisher> plain_;
    std::unique_ptr<PostedPublisher> posted_;
};

}  // namespace klineagg::bus
