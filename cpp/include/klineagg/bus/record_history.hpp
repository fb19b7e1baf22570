// What a resumable subscriber goes back to: a log, or whatever can be read like one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "klineagg/bus/log_replay.hpp"
#include "klineagg/bus/record_type.hpp"

namespace klineagg::bus {

/// Has every record before it is published.
class RecordHistory {
public:
    static constexpr std::uint64_t TO_THE_END = std::numeric_limits<std::uint64_t>::max();

    virtual ~RecordHistory() = default;

    /// Names of those whose records it has.
    [[nodiscard]] virtual std::vector<std::string> publishers() const = 0;
    /// Records `first <= sequence < end`, in order. It may begin later when it no longer has the
    /// first ones; that is noticed. nullptr: it has none of this publisher.
    [[nodiscard]] virtual std::unique_ptr<RecordReading> read(const std::string& publisher,
                                                              std::uint64_t first,
                                                              std::uint64_t end) const = 0;
};

/// The logs of a topic's publishers.
class LogHistory final : public RecordHistory {
public:
    /// `root`: the folder that they were given. It need not be there yet.
    LogHistory(std::string root, std::string topic, RecordType type)
        : root_(std::move(root)), topic_(std::move(topic)), type_(std::move(type)) {}

    [[nodiscard]] std::vector<std::string> publishers() const override;
    [[nodiscard]] std::unique_ptr<RecordReading> read(const std::string& publisher,
                                                      std::uint64_t first,
                                                      std::uint64_t end) const override;

private:
    std::string root_;
    std::string topic_;
    RecordType type_;
};

}  // namespace klineagg::bus
