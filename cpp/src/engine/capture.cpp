#include "klineagg/engine/capture.hpp"

#include <algorithm>
#include <thread>

namespace klineagg::engine {

void Capture::prefetch_behind(const SlotTable& table, std::size_t slot) const noexcept {
    // The next ones' memory comes while this one's bars are put together.
    const auto go_on = [&](auto&& ask) {
        if (slot != SlotSet::NONE) slot = slots_.next(slot + 1, limit_);
        if (slot != SlotSet::NONE) ask(table[static_cast<std::uint32_t>(slot)].aggregator);
    };
    go_on(OpenBars::prefetch_open);
    go_on(OpenBars::prefetch_base);
}

bool Capture::advance(const SlotTable& table, std::size_t count) {
    bool any = false;
    // With a lateness a symbol may have more rows than that: then it waits in the middle.
    for (; left_ != 0 && count != 0 && rows_.has_room(rows_each()); --count) {
        cursor_ = slots_.next(cursor_, limit_);
        prefetch_behind(table, cursor_);
        take(table[static_cast<std::uint32_t>(cursor_)], [] { std::this_thread::yield(); });
        any = true;
    }
    if (any) finish_if_last();
    else if (left_ != 0) ask_for_room();
    return any;
}

void Capture::prepare(std::size_t symbols) {
    constexpr std::size_t KEPT_TIMES = 8;
    rows_.clear();
    group_count_ = 0;
    wanted_.store(0, std::memory_order_relaxed);
    const std::size_t rows = (symbols + 1) * rows_each();
    // One large capture, as of a new consumer, must not keep its memory for ever.
    if (rows_.room() / KEPT_TIMES > rows) rows_.shrink(std::max(rows, CaptureRows::CHUNK_ROWS));
    rows_.grow(rows);
}

void Capture::give_room() { rows_.grow(wanted_.load(std::memory_order_relaxed)); }

}  // namespace klineagg::engine
