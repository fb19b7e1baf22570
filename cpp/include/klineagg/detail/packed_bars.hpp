// Closed bars one behind the other, two in a block: what nobody has looked at since it closed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "klineagg/bar.hpp"
#include "klineagg/block_pool.hpp"

namespace klineagg::detail {

/// Nearly every bar is closed, kept for an hour and forgotten, and in between nobody asks for it.
/// Here it is written once, at half of what a bar with links takes, and forgotten with its block
/// without being read. Bars come at the end and go from both ends; those in between cannot change.
///
/// What the next bar asks of the last one stands here and not in its block: the blocks of many
/// series do not stay in the caches from one of its bars to the next, and a bar that closes would
/// wait for its memory.
class PackedBars {
public:
    PackedBars() = default;
    PackedBars(PackedBars&& other) noexcept
        : front_(std::exchange(other.front_, nullptr)), back_(std::exchange(other.back_, nullptr)),
          last_close_(other.last_close_), given_to_(other.given_to_), in_back_(other.in_back_) {}
    PackedBars& operator=(PackedBars&&) = delete;

    /// Whether nothing of the bar is lost here: it has trades, all of which counted for open and
    /// close, and plain sums.
    [[nodiscard]] static bool fits(const PartialBar& bar) noexcept {
        return bar.has_trades() && bar.has_close() && bar.sum_form == SumForm::pair &&
               bar.keys_split == 0 && bar.run_length == 1 && bar.version == PARTIAL_BAR_VERSION &&
               (bar.flags & (BAR_GAP | BAR_GENESIS)) == 0;
    }

    [[nodiscard]] bool empty() const noexcept { return back_ == nullptr; }
    /// Of the last one; not empty.
    [[nodiscard]] double last_close() const noexcept { return last_close_; }
    [[nodiscard]] TimeNs last_end() const noexcept { return back_->bar(in_back_ - 1).close_time; }
    /// To where the flat bars behind it were handed out.
    [[nodiscard]] TimeNs given_to() const noexcept { return given_to_; }
    void give_to(TimeNs time) noexcept { given_to_ = time; }

    /// One that fits and comes later than all others. True when it begins the second block.
    bool push_back(const PartialBar& bar, TimeNs given_to, BlockPool* pool) {
        bool second = false;
        if (back_ != nullptr) back_->given_to[in_back_ - 1] = given_to_;
        if (back_ == nullptr || in_back_ == BARS) {
            auto* const made = new (take_block<Block>(pool)) Block;  // not cleared
            made->next = nullptr;
            made->prev = back_;
            second = back_ == front_ && back_ != nullptr;
            if (back_ != nullptr && !second) {
                back_->prev->after_next_end = bar.close_time;
                back_->prev->after_next = made;
            }
            (back_ != nullptr ? back_->next : front_) = made;
            back_ = made;
            in_back_ = 0;
        }
        pack(back_->bar(in_back_++), bar);
        last_close_ = bar.close;
        given_to_ = given_to;
        return second;
    }
    /// Takes the last one out; returns to where flat bars behind it were handed out.
    TimeNs pop_back(PartialBar& bar, BlockPool* pool) noexcept {
        const TimeNs given = given_to_;
        unpack(bar, back_->bar(--in_back_));
        if (in_back_ == 0 || (in_back_ == 1 && back_->given_to[0] == GONE)) {
            Block* const gone = back_;
            back_ = gone == front_ ? nullptr : gone->prev;
            if (back_ == nullptr) front_ = nullptr;
            else back_->next = nullptr;
            give_block(pool, gone);
            in_back_ = BARS;
        }
        if (back_ != nullptr) {
            last_close_ = back_->bar(in_back_ - 1).close;
            given_to_ = back_->given_to[in_back_ - 1];
        }
        return given;
    }

    /// Whether the bars of the first block have others behind them in here.
    [[nodiscard]] bool has_more() const noexcept { return front_ != back_; }
    /// When the first bar behind the first block ended; has_more(). Reads that block: see pop_front.
    [[nodiscard]] TimeNs next_end() const noexcept { return front_->next->first.close_time; }
    /// Forgets the first block; has_more(). Returns the close of its last bar, and in `next_end`
    /// what next_end() says from then on, if has_more() still.
    double pop_front(TimeNs& next_end, BlockPool* pool) noexcept {
        Block* const gone = front_;
        const double close = gone->second.close;
        next_end = gone->after_next_end;
        front_ = gone->next;
        // A symbol that was quiet closes many bars at once, and as many blocks go: that of the
        // next one but one has time to come.
        if (front_ != back_) ask_for(gone->after_next);
        give_block(pool, gone);
        return close;
    }
    /// Forgets the very first bar alone, if it has not gone so yet and the one behind it ended at
    /// `horizon` or before; its close is left in `close`.
    void drop_first(TimeNs horizon, double& close) noexcept {
        if (front_ == nullptr || (front_ == back_ && in_back_ != BARS) ||
            front_->given_to[0] == GONE || front_->second.close_time > horizon)
            return;
        close = front_->first.close;
        front_->given_to[0] = GONE;
    }
    /// What pop_front() reads has left the caches long ago.
    void ask_front() const noexcept { ask_for(front_); }
    void clear(BlockPool* pool) noexcept {
        while (front_ != nullptr && front_ != back_)
            give_block(pool, std::exchange(front_, front_->next));
        if (front_ != nullptr) give_block(pool, front_);
        front_ = back_ = nullptr;
    }

    /// Calls `visit(bar, given_to)` for each, in order of time.
    template <class Visit>
    void each(Visit&& visit) const {
        PartialBar bar;
        for (const Block* block = front_; block != nullptr; block = block->next) {
            const std::size_t count = block == back_ ? in_back_ : BARS;
            std::size_t i = block == front_ && count == BARS && block->given_to[0] == GONE ? 1 : 0;
            for (; i < count; ++i) {
                const bool last = block == back_ && i + 1 == count;
                unpack(bar, block->bar(i));
                visit(std::as_const(bar), last ? given_to_ : block->given_to[i]);
            }
        }
    }

private:
    static constexpr std::size_t BARS = 2;
    static constexpr TimeNs GONE = TIME_NONE;  // given_to of the first one, when it was dropped
    static constexpr std::size_t FRONT_BYTES = 128;  // of a PartialBar, up to its sums' end

    struct Packed {
        TimeNs close_time;
        double high;
        double low;
        double close;
        TimeNs last_time;
        std::int64_t last_key_id;
        std::int64_t last_id;
        std::int64_t trade_count;
        double sums[2 * SUM_LANES];
        TimeNs open_time;
        double open;
        TimeNs first_time;
        std::int64_t first_id;
        std::int32_t revision;
        std::uint16_t flags;
        std::uint16_t unused;
    };
    static_assert(sizeof(Packed) == 168 && offsetof(Packed, open_time) == FRONT_BYTES);
    static_assert(offsetof(PartialBar, open_time) == FRONT_BYTES);
    static_assert(offsetof(Packed, trade_count) == offsetof(PartialBar, trade_count));

    // What it takes to forget the block lies in one cache line.
    struct Block {
        Packed first;
        Block* prev;
        TimeNs given_to[BARS];  // of the last bar of all: see given_to_
        Block* next;
        // Of the block behind the next, if there is one: when its first bar ended, and where it is.
        TimeNs after_next_end;
        const Block* after_next;
        Packed second;

        [[nodiscard]] Packed& bar(std::size_t i) noexcept { return i == 0 ? first : second; }
        [[nodiscard]] const Packed& bar(std::size_t i) const noexcept {
            return i == 0 ? first : second;
        }
    };
    static_assert(sizeof(Block) == BlockPool::BLOCK_BYTES);
    static_assert(offsetof(Block, next) == 192 && offsetof(Block, second) < 224);

    static void ask_for(const Block* block) noexcept {
        __builtin_prefetch(reinterpret_cast<const std::byte*>(block) + offsetof(Block, next), 1);
    }
    static void pack(Packed& to, const PartialBar& from) noexcept {
        struct Line {
            std::uint64_t words[8];
        };
        Line lines[2];
        static_assert(sizeof lines == FRONT_BYTES);
        // In lines: see copy_bar.
        for (int i = 0; i < 2; ++i) {
            std::memcpy(&lines[i], reinterpret_cast<const std::byte*>(&from) + 64 * i, 64);
            std::memcpy(reinterpret_cast<std::byte*>(&to) + 64 * i, &lines[i], 64);
        }
        to.open_time = from.open_time;
        to.open = from.open;
        to.first_time = from.first.time;
        to.first_id = from.first.id;
        to.revision = from.revision;
        to.flags = from.flags;
        to.unused = 0;
    }
    static void unpack(PartialBar& to, const Packed& from) noexcept {
        to = PartialBar{};
        std::memcpy(static_cast<void*>(&to), &from, FRONT_BYTES);
        to.open_time = from.open_time;
        to.open = from.open;
        to.first = {from.first_time, from.first_id};
        to.revision = from.revision;
        to.flags = from.flags;
    }

    Block* front_ = nullptr;
    Block* back_ = nullptr;
    double last_close_ = NO_PRICE;
    TimeNs given_to_ = TIME_NONE;
    std::size_t in_back_ = 0;  // bars in the last block; all others are full
};

}  // namespace klineagg::detail
