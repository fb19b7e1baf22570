// Stretches of time from which trades are known to be missing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>
#include <utility>

#include "klineagg/block_pool.hpp"
#include "klineagg/time.hpp"

namespace klineagg::detail {

/// Those that open bars, or bars to come, have to know of. At most a block: beyond that the two
/// that are nearest to each other become one, so that rather too much is marked than too little.
class MissingTimes {
public:
    explicit MissingTimes(BlockPool* pool = nullptr) noexcept : pool_(pool) {}
    MissingTimes(MissingTimes&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)), pool_(other.pool_) {}
    MissingTimes& operator=(MissingTimes&& other) noexcept {
        std::swap(block_, other.block_);
        std::swap(pool_, other.pool_);
        return *this;
    }
    ~MissingTimes() { clear(); }
    void set_pool(BlockPool* pool) noexcept { pool_ = pool; }

    /// All of [from, to]; `until`: when the last bar over it ends.
    void add(TimeNs from, TimeNs to, TimeNs until) {
        if (block_ == nullptr) block_ = new (take_block<Block>(pool_)) Block;
        Stretch* const all = block_->stretches;
        std::size_t at = block_->count;
        for (; at > 0 && all[at - 1].from > from; --at) all[at] = all[at - 1];
        all[at] = {from, to, until};
        if (++block_->count == ROOM) join_nearest();
    }
    [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }
    [[nodiscard]] bool meets(TimeNs open_time, TimeNs close_time) const noexcept {
        if (block_ == nullptr) return false;
        const Stretch* const begin = block_->stretches;
        return std::any_of(begin, begin + block_->count, [=](const Stretch& stretch) {
            return stretch.from < close_time && stretch.to >= open_time;
        });
    }
    /// How far behind `span`, which some stretch meets, the bars go on that it meets too: they open
    /// before this time.
    [[nodiscard]] TimeNs end_over(TimeNs open_time, TimeNs close_time) const noexcept {
        TimeNs end = close_time;
        each([&](TimeNs from, TimeNs to, TimeNs) {
            if (from < close_time && to >= open_time) end = std::max(end, to + 1);
        });
        return end;
    }
    /// The first time at `time` or behind it that lies in a stretch; TIME_MAX: none.
    [[nodiscard]] TimeNs next(TimeNs time) const noexcept {
        TimeNs next = TIME_MAX;
        each([&](TimeNs from, TimeNs to, TimeNs) {
            if (to >= time) next = std::min(next, std::max(from, time));
        });
        return next;
    }
    /// Forgets what no bar can ask for any more.
    void forget(TimeNs watermark) noexcept {
        if (block_ == nullptr) return;
        Stretch* const begin = block_->stretches;
        Stretch* const kept =
            std::remove_if(begin, begin + block_->count, [watermark](const Stretch& stretch) {
                return stretch.until <= watermark;
            });
        block_->count = static_cast<std::size_t>(kept - begin);
        if (block_->count == 0) clear();
    }
    /// Calls `visit(from, to, until)` in the order of `from`.
    template <class Visit>
    void each(Visit&& visit) const {
        if (block_ == nullptr) return;
        for (std::size_t i = 0; i < block_->count; ++i) {
            const Stretch& stretch = block_->stretches[i];
            visit(stretch.from, stretch.to, stretch.until);
        }
    }
    static constexpr std::size_t STRETCHES_MAX = 14;
    void clear() noexcept {
        if (block_ != nullptr) give_block(pool_, std::exchange(block_, nullptr));
    }

private:
    static constexpr std::size_t ROOM = STRETCHES_MAX + 1;
    struct Stretch {
        TimeNs from;
        TimeNs to;
        TimeNs until;
    };
    struct Block {
        std::size_t count = 0;
        Stretch stretches[ROOM];
    };

    void join_nearest() noexcept {
        Stretch* const all = block_->stretches;
        std::size_t nearest = 0;
        for (std::size_t i = 1; i + 1 < block_->count; ++i) {
            if (all[i + 1].from - all[i].to < all[nearest + 1].from - all[nearest].to) nearest = i;
        }
        all[nearest].to = std::max(all[nearest].to, all[nearest + 1].to);
        all[nearest].until = std::max(all[nearest].until, all[nearest + 1].until);
        std::copy(all + nearest + 2, all + block_->count, all + nearest + 1);
        --block_->count;
    }

    Block* block_ = nullptr;
    BlockPool* pool_;
};

}  // namespace klineagg::detail
