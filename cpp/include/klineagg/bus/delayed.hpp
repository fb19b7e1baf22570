// Receiving in batches for those who do not want every record at once: so many, or so late.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "klineagg/bus/subscriber.hpp"

namespace klineagg::bus {

struct DelayedOptions {
    std::size_t batch_size = 1024;
    DurationNs interval = 100'000'000;  // from the first record of a batch on
    std::string key;  // a field: only the latest record of each value is kept. Empty: all
};

/// Collects a batch until it has `batch_size` records or its first one has waited for `interval`,
/// whichever comes first.
class Delayed {
public:
    /// Uses a subscriber that lives longer. Throws record_mismatch when it has no such field.
    Delayed(Subscriber& subscriber, DelayedOptions options);

    /// Collects until a batch is due or the deadline has come; true when it is due. Then
    /// batch() is it, until clear().
    bool collect(engine::MonotonicNs deadline);
    [[nodiscard]] const std::vector<std::byte>& batch() const noexcept { return batch_; }
    [[nodiscard]] std::size_t size() const noexcept {
        return batch_.size() / subscriber_.type().bytes();
    }
    void clear() noexcept;

    /// What comes due, as std::span<const Record>, until nothing did for `timeout`, or stop().
    /// What was collected by then and is not due stays for the next loop, or collect().
    template <IsRecord Record>
    [[nodiscard]] auto batches(DurationNs timeout = NO_TIMEOUT) {
        subscriber_.check_size(sizeof(Record));
        return Batches([this, timeout] {
            using Batch = std::span<const Record>;
            return next(engine::deadline_after(timeout))
                       ? Batch(reinterpret_cast<const Record*>(batch_.data()), size())
                       : std::optional<Batch>();
        });
    }
    /// Calls back with each of them. What `callback` throws ends the loop, behind its batch.
    template <IsRecord Record, class Callback>
    void run(Callback&& callback, DurationNs timeout = NO_TIMEOUT) {
        for (const auto& batch : batches<Record>(timeout)) callback(batch);
    }
    /// Ends loops over it for good, within 0.1 s: from any thread, or a signal handler.
    void stop() noexcept { stop_.raise(); }

    /// Records that later ones of the same key have replaced.
    [[nodiscard]] std::uint64_t conflated() const noexcept { return conflated_; }

private:
    bool next(engine::MonotonicNs deadline);
    [[nodiscard]] bool is_due(engine::MonotonicNs now) const noexcept;
    std::size_t take();
    void conflate(const std::byte* records, std::size_t count);

    Subscriber& subscriber_;
    DelayedOptions options_;
    const Field* key_ = nullptr;
    std::vector<std::byte> batch_;
    std::vector<std::byte> scratch_;
    std::unordered_map<std::string, std::size_t> places_;
    engine::MonotonicNs due_ = engine::NO_DEADLINE;
    std::uint64_t conflated_ = 0;
    bool is_handed_out_ = false;  // by a loop, which may have been left since
    StopSign stop_;
};

}  // namespace klineagg::bus
