// Bars by activity: one closes with the trade that fills it, whatever the time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "klineagg/batch.hpp"

namespace klineagg {

enum class ActivityKind : std::uint8_t { tick, volume, value };

struct ActivityOptions {
    ActivityKind kind = ActivityKind::tick;
    double threshold = 0.0;  // trades, quantity, or price * quantity; above 0
    BadRows on_bad = BadRows::raise;
    bool allow_nonpositive_prices = false;
    bool include_open = true;
};

/// Tick, volume and value bars (Lopez de Prado, Advances in Financial Machine Learning, 2018,
/// 2.3.1). A bar closes with the trade that lifts its count, or its correctly rounded volume or
/// quote volume, to the threshold; a trade is never split. It covers [first trade's time, last
/// trade's time + 1 ns). Trades of a symbol must be in order of time.
class ActivityAggregator {
public:
    /// Throws Error(invalid_option).
    explicit ActivityAggregator(const ActivityOptions& options);
    ~ActivityAggregator();

    /// As BatchAggregator::run: an update that throws has changed nothing.
    BarTable run(std::span<const TradeColumns> batches, bool finish);

    [[nodiscard]] const BatchReport& report() const noexcept { return report_; }
    /// As BatchAggregator's.
    [[nodiscard]] std::int64_t rows_passed() const noexcept { return rows_passed_.load(); }
    void cancel() noexcept { cancelled_.store(true); }

private:
    struct State;

    ActivityOptions options_;
    BatchReport report_;
    std::unique_ptr<State> state_;
    std::atomic<std::int64_t> rows_passed_{0};
    std::atomic<bool> cancelled_{false};
    bool finished_ = false;
};

}  // namespace klineagg
