// A list in order of open time, whose items never move.
#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include "klineagg/block_pool.hpp"
#include "klineagg/time.hpp"

namespace klineagg::detail {

template <class Item>
struct TimeLinks {
    Item* prev = nullptr;
    Item* next = nullptr;
    // One item far before this one, and when it opens: it may be gone by now. The distances are
    // those of a skew-binary counter, so that any item is found in a logarithmic number of steps.
    // Set when somebody looks for one: who only adds to the list touches none of its memory.
    Item* jump = nullptr;
    TimeNs jump_open = TIME_NONE;
    std::uint32_t jump_items = 0;
    std::uint32_t marks = 0;  // the owner's
};

/// Items have `TimeLinks<Item> links` and `bar.open_time`, which is theirs alone and stays. They
/// come at the end, seldom in between, and go from the front.
template <class Item>
class TimeList {
public:
    explicit TimeList(BlockPool* pool = nullptr) noexcept : pool_(pool) {}
    TimeList(TimeList&& other) noexcept
        : front_(std::exchange(other.front_, nullptr)),
          back_(std::exchange(other.back_, nullptr)),
          pool_(other.pool_),
          size_(std::exchange(other.size_, 0)),
          has_jumps_(other.has_jumps_) {}
    TimeList& operator=(TimeList&& other) noexcept {
        std::swap(front_, other.front_);
        std::swap(back_, other.back_);
        std::swap(pool_, other.pool_);
        std::swap(size_, other.size_);
        std::swap(has_jumps_, other.has_jumps_);
        return *this;
    }
    ~TimeList() { clear(); }

    [[nodiscard]] bool empty() const noexcept { return front_ == nullptr; }
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] Item* front() const noexcept { return front_; }
    [[nodiscard]] Item* back() const noexcept { return back_; }
    [[nodiscard]] BlockPool* pool() const noexcept { return pool_; }
    /// Blocks are alike: those taken from one pool may be given to another.
    void set_pool(BlockPool* pool) noexcept { pool_ = pool; }

    /// The last item that opens at `time` or before; nullptr: none.
    [[nodiscard]] Item* find(TimeNs time) const noexcept {
        if (front_ == nullptr || time < front_->bar.open_time) return nullptr;
        Item* item = back_;
        // Most are looked for right after they came.
        for (int i = 0; i < NEAR && item->bar.open_time > time; ++i) item = item->links.prev;
        if (item->bar.open_time > time) set_jumps();
        while (item->bar.open_time > time) {
            const TimeLinks<Item>& links = item->links;
            item = has_jump(*item) && links.jump_open > time ? links.jump : links.prev;
        }
        return item;
    }

    /// Behind `prev` (nullptr: in front). What it is made from must say that it opens there.
    template <class... From>
    Item& insert_behind(Item* prev, From&&... from) {
        Item* const item = new (take_block<Item>(pool_)) Item(std::forward<From>(from)...);
        TimeLinks<Item>& links = item->links;
        links.prev = prev;
        links.next = prev != nullptr ? prev->links.next : front_;
        (prev != nullptr ? prev->links.next : front_) = item;
        (links.next != nullptr ? links.next->links.prev : back_) = item;
        ++size_;
        return *item;
    }
    template <class... From>
    Item& push_back(From&&... from) {
        return insert_behind(back_, std::forward<From>(from)...);
    }

    void pop_front() noexcept {
        Item* const gone = front_;
        front_ = gone->links.next;
        (front_ != nullptr ? front_->links.prev : back_) = nullptr;
        --size_;
        gone->~Item();
        give_block(pool_, gone);
    }
    /// As pop_front, when an item that opens before the front may come later: nobody may believe
    /// then that what he jumps to is still there. Takes a look at every item.
    void pop_front_for_good() noexcept {
        const Item* const gone = front_;
        for (Item* item = front_->links.next; item != nullptr; item = item->links.next) {
            if (item->links.jump == gone) item->links.jump = nullptr;
        }
        pop_front();
    }
    /// Before items come that open before the front, of which others may have gone: as above.
    void forget_jumps() noexcept {
        if (!has_jumps_) return;
        has_jumps_ = false;
        for (Item* item = front_; item != nullptr; item = item->links.next) {
            item->links.jump = nullptr;
            item->links.jump_items = 0;
        }
    }
    void clear() noexcept {
        while (!empty()) pop_front();
    }

private:
    static constexpr int NEAR = 16;

    /// What lies before the front is gone.
    [[nodiscard]] bool has_jump(const Item& item) const noexcept {
        return item.links.jump != nullptr && item.links.jump_open >= front_->bar.open_time;
    }
    /// Of those behind the last that has one.
    void set_jumps() const noexcept {
        has_jumps_ = true;
        Item* item = back_;
        while (item->links.jump_items == 0 && item->links.prev != nullptr) item = item->links.prev;
        for (item = item->links.next; item != nullptr; item = item->links.next) {
            if (item->links.jump_items == 0) set_jump(*item, *item->links.prev);
        }
    }
    void set_jump(Item& item, Item& prev) const noexcept {
        item.links.jump = &prev;
        item.links.jump_open = prev.bar.open_time;
        item.links.jump_items = 1;
        if (!has_jump(prev)) return;
        const Item& far = *prev.links.jump;
        if (!has_jump(far) || far.links.jump_items != prev.links.jump_items) return;
        item.links.jump = far.links.jump;
        item.links.jump_open = far.links.jump_open;
        item.links.jump_items = 1 + 2 * prev.links.jump_items;
    }

    Item* front_ = nullptr;
    Item* back_ = nullptr;
    BlockPool* pool_;
    std::uint32_t size_ = 0;
    mutable bool has_jumps_ = false;
};

}  // namespace klineagg::detail
