// Who reads closed rows, how far behind, and waiting for them.
#include "control.hpp"
#include "klineagg/engine.hpp"

namespace klineagg {

bool Engine::wait_closed(const std::string& consumer, DurationNs timeout) {
    bool is_behind = false;
    (void)core_->rows_closed.wait(engine::deadline_after(timeout), [&] {
        const std::lock_guard lock(lists_);
        is_behind = snapshotter_->is_behind(consumer, log_list());
        return is_behind || core_->failure.is_set() || state_.load() != EngineState::running;
    });
    return is_behind;
}

std::uint64_t Engine::closed_rows() const {
    const std::lock_guard lock(lists_);
    std::uint64_t rows = retired_rows_;
    for (const auto& worker : logs_) rows += worker->log().end();
    return rows;
}

std::vector<ConsumerStats> Engine::consumers() const {
    const std::lock_guard lock(lists_);
    return snapshotter_->list(log_list());
}

bool Engine::remove_consumer(const std::string& consumer) {
    const Control lock(*this);  // a take of it would make it anew
    if (core_->journal) core_->journal->forget(consumer);
    return snapshotter_->remove(consumer);
}

}  // namespace klineagg
