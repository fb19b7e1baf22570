#include "klineagg/bus/record_history.hpp"

#include <filesystem>

namespace klineagg::bus {

std::vector<std::string> LogHistory::publishers() const { return logged_publishers(root_, topic_); }

std::unique_ptr<RecordReading> LogHistory::read(const std::string& publisher, std::uint64_t first,
                                                std::uint64_t end) const {
    const std::string directory = log_directory(root_, topic_, publisher);
    if (!std::filesystem::is_directory(directory)) return nullptr;
    return std::make_unique<LogReplay>(directory, type_, first, end);
}

}  // namespace klineagg::bus
