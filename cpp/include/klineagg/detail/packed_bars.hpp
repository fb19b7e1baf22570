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
class PackedBars {
public:
    PackedBars() = default;
    PackedBars(PackedBars&& other) noexcept
        : front_(std::exchange(other.front_, nullptr)), back_(std::exchange(other.back_, nullptr)) {}
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
    [[nodiscard]] double last_close() const noexcept { return last().close; }
    [[nodiscard]] TimeNs last_end() const noexcept { return last().close_time; }
    [[nodiscard]] TimeNs last_open_time() const noexcept { return last().open_time; }
    /// To where the flat bars behind it were handed out.
    [[nodiscard]] TimeNs given_to() const noexcept { return back_->given_to[back_->count - 1]; }
    void give_to(TimeNs time) noexcept { back_->given_to[back_->count - 1] = time; }

    /// One that fits and comes later than all others. True when it begins a block.
    bool push_back(const PartialBar& bar, TimeNs given_to, BlockPool* pool) {
        const bool begins = back_ == nullptr || back_->count == BARS;
        if (begins) {
            auto* const made = new (take_block<Block>(pool)) Block;  // not cleared
            made->next = nullptr;
            made->prev = back_;
            made->count = 0;
            (back_ != nullptr ? back_->next : front_) = made;
            if (back_ != nullptr) back_->next_end = bar.close_time;
            back_ = made;
        }
        back_->given_to[back_->count] = given_to;
        pack(back_->bar(back_->count++), bar);
        return begins;
    }
    /// Takes the last one out; returns to where flat bars behind it were handed out.
    TimeNs pop_back(PartialBar& bar, BlockPool* pool) noexcept {
        const TimeNs given = given_to();
        unpack(bar, back_->bar(--back_->count));
        if (back_->count == 0 || (back_->count == 1 && back_->given_to[0] == GONE)) {
            Block* const gone = back_;
            back_ = gone == front_ ? nullptr : gone->prev;
            if (back_ == nullptr) front_ = nullptr;
            else back_->next = nullptr;
            give_block(pool, gone);
        }
        return given;
    }

    /// Whether the bars of the first block have others behind them in here.
    [[nodiscard]] bool has_more() const noexcept { return front_ != back_; }
    /// When the bar behind the first block ended; has_more().
    [[nodiscard]] TimeNs next_end() const noexcept { return front_->next_end; }
    /// Forgets the first block; has_more(). Returns the close of its last bar.
    double pop_front(BlockPool* pool) noexcept {
        Block* const gone = front_;
        const double close = gone->second.close;
        front_ = gone->next;
        give_block(pool, gone);
        ask_front();
        return close;
    }
    /// Forgets the very first bar alone, if it has not gone so yet and the one behind it ended at
    /// `horizon` or before; its close is left in `close`.
    void drop_first(TimeNs horizon, double& close) noexcept {
        if (front_ == nullptr || front_->count != BARS || front_->given_to[0] == GONE ||
            front_->second.close_time > horizon)
            return;
        close = front_->first.close;
        front_->given_to[0] = GONE;
    }
    /// What has_more() and pop_front() read has left the caches long ago.
    void ask_front() const noexcept {
        __builtin_prefetch(reinterpret_cast<const std::byte*>(front_) + offsetof(Block, next), 1);
    }
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
            for (std::size_t i = block->given_to[0] == GONE ? 1 : 0; i < block->count; ++i) {
                unpack(bar, block->bar(i));
                visit(std::as_const(bar), block->given_to[i]);
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
        TimeNs given_to[BARS];
        Block* next;
        TimeNs next_end;  // of the first bar in the next block, if there is one
        std::size_t count;
        Packed second;

        [[nodiscard]] Packed& bar(std::size_t i) noexcept { return i == 0 ? first : second; }
        [[nodiscard]] const Packed& bar(std::size_t i) const noexcept {
            return i == 0 ? first : second;
        }
    };
    static_assert(sizeof(Block) == BlockPool::BLOCK_BYTES);
    static_assert(offsetof(Block, next) == 192 && offsetof(Block, second) < 224);

    [[nodiscard]] const Packed& last() const noexcept { return back_->bar(back_->count - 1); }

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
};

}  // namespace klineagg::detail
