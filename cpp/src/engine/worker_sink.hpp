// Of a worker: rows that close go into its log.
#pragma once

#include <cstdint>

#include "klineagg/engine/metrics.hpp"
#include "klineagg/engine/row_sink.hpp"
#include "klineagg/engine/worker.hpp"

namespace klineagg::engine {

/// Appends rows to the log.
struct Worker::LogRows {
    Worker* worker;
    SymbolSlot* slot;

    [[nodiscard]] BarRow& next(std::int16_t) const {
        while (!worker->log_.has_room()) [[unlikely]] worker->wait_for_room();
        return worker->log_.append();
    }
    void tell(const BarRow& row) const {
        slot->kept.put(row);
        if (row.revision == 0) worker->metrics_.closed(row.close_time);
    }
};

/// Appends what the aggregator hands out to the log.
struct Worker::LogSink : RowSink<LogRows> {
    static constexpr bool AT_ONCE = true;

    LogSink(Worker& worker, SymbolSlot& slot)
        : RowSink(slot, worker.generation_->outputs, {&worker, &slot}) {}

    void outside(int, const PartialBar& bar) const {
        add_relaxed<std::int64_t>(rows().worker->counts_.outside, bar.trade_count);
    }
};

}  // namespace klineagg::engine
