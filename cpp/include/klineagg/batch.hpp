// Batches of trades of many symbols into tables of bars.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "klineagg/admission.hpp"
#include "klineagg/aggregator.hpp"
#include "klineagg/bar_table.hpp"
#include "klineagg/trade_columns.hpp"

namespace klineagg {

inline constexpr int THREADS_MAX = 256;

enum class BadRows : std::uint8_t { raise, count };

struct BatchOptions {
    AggregatorOptions aggregator;
    BadRows on_bad = BadRows::raise;
    bool allow_nonpositive_prices = false;
    bool with_partials = false;
    int threads = 1;
    std::map<std::int32_t, double> last_prices;  // genesis seeds; need a coverage start
};

/// offered == accepted + sum(rejected) + late + beyond_horizon, always.
struct BatchReport {
    std::int64_t offered = 0;
    std::int64_t accepted = 0;
    std::int64_t late = 0;            // dropped
    std::int64_t beyond_horizon = 0;  // too late to be amended: their bars are INCOMPLETE
    RejectCounts rejected{};
};

namespace detail {
class Update;
}

/// Every update runs twice over its rows: first over times only, which judges every row, finds
/// every error and counts the rows of the result; then over whole trades, which cannot fail and
/// writes each row in its final place. An update that throws has changed nothing.
class BatchAggregator {
public:
    BatchAggregator(RollupPlan plan, BatchOptions options);
    ~BatchAggregator();

    /// The bars closed by these batches, and with `finish` what is open at the end too.
    /// With more than one thread, rows are cut into slices whose edges are merged exactly.
    BarTable run(std::span<const TradeColumns> batches, bool finish);

    void replace_tables(const std::vector<Interval>& intervals);

    [[nodiscard]] const RollupPlan& plan() const noexcept { return plan_; }
    [[nodiscard]] const BatchReport& report() const noexcept { return report_; }
    /// Rows passed so far, both runs counted; readable from other threads.
    [[nodiscard]] std::int64_t rows_passed() const noexcept { return rows_passed_.load(); }
    /// Asks a running `run` to stop soon with Cancelled.
    void cancel() noexcept { cancelled_.store(true); }

    struct Cancelled {};

private:
    struct State;

    BarTable run_amending(detail::Update& update, bool finish);
    BarTable run_in_place(detail::Update& update, bool finish);
    [[nodiscard]] std::vector<std::int32_t> symbols_of(detail::Update& update, bool finish) const;
    void count_report(detail::Update& update, std::int64_t beyond_horizon);

    RollupPlan plan_;
    BatchOptions options_;
    BatchReport report_;
    std::unique_ptr<State> state_;
    std::atomic<std::int64_t> rows_passed_{0};
    std::atomic<bool> cancelled_{false};
    bool finished_ = false;
};

}  // namespace klineagg
