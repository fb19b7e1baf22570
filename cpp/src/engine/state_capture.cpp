#include "klineagg/engine/state_capture.hpp"

#include <bit>
#include <utility>

namespace klineagg::engine {

void StateCapture::prepare(std::size_t symbols, std::vector<int> outputs) {
    clear();
    outputs_ = std::move(outputs);
    records_.reserve(symbols);
    done_.store(false, std::memory_order_relaxed);
}

void StateCapture::begin(const SlotSet& owned, std::size_t limit, TimeNs clock,
                         const Counts& counts) {
    counts_ = counts;
    clock_ = clock;
    cursor_ = 0;
    limit_ = limit;
    left_ = 0;
    for (std::size_t word = 0; word * 64 < limit; ++word) {
        slots_.set_word(word, owned.word(word));
        left_ += static_cast<std::size_t>(std::popcount(owned.word(word)));
    }
    done_.store(left_ == 0, std::memory_order_release);
}

bool StateCapture::advance(const SlotTable& table, std::size_t count) {
    if (left_ == 0) [[likely]] return false;
    for (; left_ != 0 && count != 0; --count) {
        cursor_ = slots_.next(cursor_, limit_);
        take(table[static_cast<std::uint32_t>(cursor_)]);
    }
    if (left_ == 0) done_.store(true, std::memory_order_release);
    return true;
}

void StateCapture::take(const SymbolSlot& slot) {
    if (pieces_.empty() || pieces_.back().size() > PIECE_BYTES / 2) {
        pieces_.emplace_back();
        pieces_.back().reserve(PIECE_BYTES);
    }
    std::vector<std::byte>& piece = pieces_.back();
    const std::size_t begin = piece.size();
    ByteWriter to(piece);
    put_slot(to, slot, outputs_, clock_);
    records_.push_back({slot.symbol, pieces_.size() - 1, begin, piece.size() - begin});
    slots_.erase(slot.index);
    --left_;
}

void StateCapture::clear() noexcept {
    records_ = {};
    pieces_ = {};
    done_.store(true, std::memory_order_relaxed);
}

}  // namespace klineagg::engine
