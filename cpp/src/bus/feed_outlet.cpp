#include "klineagg/bus/feed_outlet.hpp"

#include <exception>

namespace klineagg::bus {

FeedOutlet::FeedOutlet(const Folder& folder, const std::string& topic, const std::string& name,
                       const RecordType& type, const PublisherOptions& options,
                       const std::string& root, const wal::LogOptions& log_options) {
    if (root.empty()) plain_ = std::make_unique<Publisher>(folder, topic, name, type, options);
    else
        posted_ = std::make_unique<PostedPublisher>(folder, topic, name, type, root, options,
                                                    log_options);
}

void FeedOutlet::close() noexcept {
    if (plain_) {
        plain_->close();
        return;
    }
    try {
        posted_->close();
    } catch (const std::exception&) {  // a log that has halted has told who posted
    }
}

}  // namespace klineagg::bus
