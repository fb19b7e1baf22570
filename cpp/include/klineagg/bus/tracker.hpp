// What the sequences of a publisher say: in order, repeated, out of order, or so many missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_set>
#include <utility>

namespace klineagg::bus {

enum class Seen : std::uint8_t {
    in_order,
    gap,           // it is new, messages before it are missing
    out_of_order,  // it was missing, or is older than the first one expected
    duplicate,
};

/// Judges sequences of one publisher, however they came: ring, log, another transport.
class SequenceTracker {
public:
    /// Half-open.
    using Range = std::pair<std::uint64_t, std::uint64_t>;
    /// Older holes are given up: what comes of them after so many others counts as a duplicate.
    static constexpr std::size_t RANGES_MAX = 65'536;

    /// `next`: the first one expected; none: the first one seen.
    explicit SequenceTracker(std::optional<std::uint64_t> next = {}) : next_(next), first_(next) {}

    Seen see(std::uint64_t sequence);

    [[nodiscard]] std::optional<std::uint64_t> next() const noexcept { return next_; }
    /// Below next() and not seen (yet), rising.
    [[nodiscard]] const std::deque<Range>& missing() const noexcept { return missing_; }
    [[nodiscard]] std::uint64_t missing_count() const noexcept;
    /// All sequences below this one have come.
    [[nodiscard]] std::uint64_t complete_below() const noexcept {
        return missing_.empty() ? next_.value_or(0) : missing_.front().first;
    }
    [[nodiscard]] std::uint64_t duplicates() const noexcept { return duplicates_; }
    [[nodiscard]] std::uint64_t out_of_order() const noexcept { return out_of_order_; }

private:
    std::optional<std::uint64_t> next_;
    std::optional<std::uint64_t> first_;
    std::unordered_set<std::uint64_t> before_;
    std::deque<Range> missing_;
    std::uint64_t duplicates_ = 0;
    std::uint64_t out_of_order_ = 0;
};

}  // namespace klineagg::bus
