// What Python holds of a log that it writes.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "fork_guard.hpp"
#include "klineagg/wal/log.hpp"
#include "klineagg/wal/trade_codec.hpp"

namespace klineagg {

struct LogState {
    std::mutex mutex;  // of the encoder: threads take turns, without the GIL
    wal::Log log;
    wal::TradeEncoder encoder;

    LogState(const std::string& path, const wal::LogOptions& options)
        : log(real_files(), path, options) {}
};

struct WalHandle {
    ForkGuarded<LogState> state;

    explicit WalHandle(std::shared_ptr<LogState> made) : state(std::move(made)) {}
    [[nodiscard]] wal::Log& log() const { return state.get().log; }
};

}  // namespace klineagg
