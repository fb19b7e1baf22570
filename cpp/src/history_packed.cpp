// Of a history: bars that are packed and unpacked, and those that are forgotten.
#include <algorithm>
#include <limits>

#include "klineagg/history.hpp"

namespace klineagg {

namespace {

// Spans that a bar may stay beyond its horizon, so that those of slow symbols need one look each.
constexpr TimeNs FORGET_STEP = 4;

}  // namespace

void History::unpack_one() {
    bars_.forget_jumps();  // what was packed since they were set has gone from the list
    PartialBar bar;
    const TimeNs given_to = packed_.pop_back(bar, bars_.pool());
    bars_.insert_behind(nullptr, bar).flat_given_to = given_to;
    refresh_second();
}

void History::reach(TimeNs time) {
    while (!packed_.empty() && (bars_.empty() || bars_.front()->bar.open_time > time)) unpack_one();
    // Where late trades come again and again the list stays: to make it and to pack it may not cost
    // more than the bars that closed in between.
    busy_ = bars_.size();
}

void History::pack(int most) {
    for (; most != 0 && !bars_.empty(); --most) {
        const KeptBar& first = *bars_.front();
        if (first.is_news() || !first.revisions.empty() || !detail::PackedBars::fits(first.bar))
            break;
        (void)packed_.push_back(first.bar, first.flat_given_to, bars_.pool());
        bars_.pop_front();
    }
    refresh_second();
}

void History::refresh_second() noexcept {
    const KeptBar* const front = bars_.front();
    if (packed_.has_more()) second_close_ = packed_.next_end();
    else if (!packed_.empty()) second_close_ = front != nullptr ? front->bar.close_time : TIME_MAX;
    else if (front != nullptr && front->links.next != nullptr)
        second_close_ = front->links.next->bar.close_time;
    else second_close_ = TIME_MAX;
}

void History::forget_all_before(TimeNs horizon) noexcept {
    forget(horizon, std::numeric_limits<std::size_t>::max());
    packed_.drop_first(horizon, close_before_);
    for (const KeptBar* first = nullptr; packed_.empty() && first != bars_.front();) {
        first = bars_.front();
        refresh_second();  // forget() leaves a few for later
        forget_before(horizon);
    }
}

void History::forget(TimeNs horizon, std::size_t most) noexcept {
    // While there is a second block, second_close_ is the end of its first bar: a block is read
    // when it goes, not before.
    while (most != 0 && packed_.has_more()) {
        if (second_close_ > horizon) return;
        close_before_ = packed_.pop_front(second_close_, bars_.pool());
        // Who forgets a few at a time reads the next block when its memory has come.
        if (--most <= 1) break;
    }
    if (packed_.has_more()) return;
    if (!packed_.empty()) {
        refresh_second();
        // The last block of them goes at once, when the first bar of the list is what stays.
        if (most == 0 || second_close_ > horizon) return;
        close_before_ = packed_.last_close();
        packed_.clear(bars_.pool());
    }
    // The bar before the first kept one says what the flat bars behind it cost.
    for (; most != 0 && bars_.front() != bars_.back() && !bars_.front()->is_news(); --most) {
        KeptBar& first = *bars_.front();
        KeptBar& second = *first.links.next;
        if (second.bar.close_time > horizon) {
            second_close_ = second.bar.close_time;
            return;
        }
        // Not more than a few spans: behind a night without trades a whole day would be kept.
        const TimeNs step = std::min(second.bar.close_time - first.bar.close_time,
                                     FORGET_STEP * (second.bar.close_time - second.bar.open_time));
        if (first.bar.has_close()) close_before_ = first.bar.close;
        first.revisions.clear(bars_.pool());
        bars_.pop_front();
        // These bars have left the caches long ago: one of the next to go is asked for now. And
        // the next is looked at when it may be due: as far behind this one as this one was.
        if (second.next_news != nullptr) {
            __builtin_prefetch(&second.next_news->bar);
            __builtin_prefetch(&second.next_news->links, 1);
        }
        second_close_ = second.bar.close_time + step;
        if (second_close_ > horizon) return;
    }
    if (bars_.front() == bars_.back()) second_close_ = TIME_MAX;
}

}  // namespace klineagg
