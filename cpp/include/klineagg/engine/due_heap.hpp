// Which symbols have bars that a clock can close, by the time of the first one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "klineagg/engine/growing_array.hpp"
#include "klineagg/engine/symbol_slot.hpp"

namespace klineagg::engine {

/// A binary heap with at most one entry a symbol, so that its room is known: the slots made.
/// Symbols with nothing open are not in it, so a tick costs what it closes and nothing else.
class DueHeap {
public:
    /// Of the keeper: room for this many symbols.
    void grow(std::size_t symbols) { entries_.grow(symbols); }

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    /// The earliest end; TIME_MAX when there is none.
    [[nodiscard]] TimeNs next_due() const noexcept { return size_ == 0 ? TIME_MAX : entries_[0].due; }
    [[nodiscard]] SymbolSlot& first() const noexcept { return *entries_[0].slot; }

    /// Puts a symbol where `due` belongs; TIME_MAX takes it out.
    void update(SymbolSlot& slot, TimeNs due) noexcept {
        const std::uint32_t at = slot.heap_index;
        if (due == TIME_MAX) {
            if (at != NOT_IN_HEAP) remove(at);
        } else if (at == NOT_IN_HEAP) {
            rise(static_cast<std::uint32_t>(size_++), {due, &slot});
        } else if (due < entries_[at].due) {
            rise(at, {due, &slot});
        } else if (due > entries_[at].due) {
            sink(at, {due, &slot});
        }
    }

    [[nodiscard]] std::size_t bytes() const noexcept { return entries_.bytes(); }

private:
    struct Entry {
        TimeNs due;
        SymbolSlot* slot;
    };

    void place(std::uint32_t at, Entry entry) noexcept {
        entries_[at] = entry;
        entry.slot->heap_index = at;
    }
    void rise(std::uint32_t at, Entry entry) noexcept {
        while (at > 0) {
            const std::uint32_t parent = (at - 1) / 2;
            if (entries_[parent].due <= entry.due) break;
            place(at, entries_[parent]);
            at = parent;
        }
        place(at, entry);
    }
    void sink(std::uint32_t at, Entry entry) noexcept {
        while (true) {
            std::uint32_t child = 2 * at + 1;
            if (child >= size_) break;
            if (child + 1 < size_ && entries_[child + 1].due < entries_[child].due) ++child;
            if (entries_[child].due >= entry.due) break;
            place(at, entries_[child]);
            at = child;
        }
        place(at, entry);
    }
    void remove(std::uint32_t at) noexcept {
        entries_[at].slot->heap_index = NOT_IN_HEAP;
        const Entry last = entries_[--size_];
        if (at == size_) return;
        if (at > 0 && entries_[(at - 1) / 2].due > last.due) rise(at, last);
        else sink(at, last);
    }

    GrowingArray<Entry> entries_;
    std::size_t size_ = 0;
};

}  // namespace klineagg::engine
