#include "klineagg/wal/ring.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace klineagg::wal {
namespace {

constexpr std::align_val_t PAGE{4096};

std::uint64_t pack(std::uint64_t position, Sequence next) noexcept {
    return (next << 32U) | (position & 0xffffffffU);
}
/// The number whose low half is `low` and that lies less than 2^32 above `base`.
std::uint64_t extend(std::uint64_t base, std::uint64_t low) noexcept {
    return base + static_cast<std::uint32_t>(low - base);
}

}  // namespace

Ring::Ring(std::size_t bytes, Sequence next)
    : grains_(std::bit_ceil(std::clamp(bytes, BYTES_MIN, BYTES_MAX)) / GRAIN),
      mask_(grains_ - 1),
      memory_(static_cast<std::byte*>(::operator new(grains_* GRAIN, PAGE))),
      committed_(std::make_unique<std::atomic<std::uint64_t>[]>(grains_)),
      reserved_(pack(0, next)),
      base_(next) {
    // Touched now, so that no append waits for a page of it.
    std::memset(memory_, 0, grains_ * GRAIN);
}

Ring::~Ring() {
    ::operator delete(memory_, PAGE);
}

bool Ring::reserve(std::size_t payload_bytes, std::uint32_t count, Slot& slot) noexcept {
    const std::uint64_t need = (sizeof(Entry) + payload_bytes + GRAIN - 1) / GRAIN;
    std::uint64_t word = reserved_.load(std::memory_order_acquire);
    while (true) {
        // Read behind the word: when the exchange succeeds, the word has not changed since, so
        // these are the bounds of the very state that it changes.
        const std::uint64_t freed = freed_.load(std::memory_order_acquire);
        const Sequence base = base_.load(std::memory_order_relaxed);
        const std::uint64_t position = extend(freed, word);
        const Sequence next = extend(base, word >> 32U);
        const std::uint64_t left = grains_ - (position & mask_);
        const std::uint64_t skipped = left < need ? left : 0;
        if (position + skipped + need > freed + grains_) {
            // With an old word the bounds mean nothing.
            const std::uint64_t again = reserved_.load(std::memory_order_acquire);
            if (again == word) return false;
            word = again;
            continue;
        }
        if (!reserved_.compare_exchange_weak(word, pack(position + skipped + need, next + count),
                                             std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {
            continue;
        }
        if (skipped != 0) {
            Entry* const skip = entry_at(position);
            skip->bytes = SKIP;
            skip->grains = static_cast<std::uint32_t>(skipped);
            committed_[position & mask_].store(position + 1, std::memory_order_release);
        }
        slot.position = position + skipped;
        slot.entry = entry_at(slot.position);
        slot.payload = reinterpret_cast<std::byte*>(slot.entry) + sizeof(Entry);
        slot.entry->bytes = static_cast<std::uint32_t>(payload_bytes);
        slot.entry->count = count;
        slot.entry->sequence = next;
        slot.entry->grains = static_cast<std::uint32_t>(need);
        return true;
    }
}

Sequence Ring::next_sequence() const noexcept {
    const Sequence base = base_.load(std::memory_order_acquire);
    return extend(base, reserved_.load(std::memory_order_acquire) >> 32U);
}

std::uint64_t Ring::used_bytes() const noexcept {
    const std::uint64_t freed = freed_.load(std::memory_order_acquire);
    return (extend(freed, reserved_.load(std::memory_order_acquire)) - freed) * GRAIN;
}

const Ring::Entry* Ring::peek(std::uint64_t& position) const noexcept {
    while (committed_[position & mask_].load(std::memory_order_acquire) == position + 1) {
        const Entry* const entry = entry_at(position);
        if (entry->bytes != SKIP) return entry;
        position += entry->grains;
    }
    return nullptr;
}

void Ring::free_to(std::uint64_t position, Sequence next) noexcept {
    base_.store(next, std::memory_order_relaxed);
    freed_.store(position, std::memory_order_release);
}

bool Ring::is_end(std::uint64_t position) const noexcept {
    return static_cast<std::uint32_t>(reserved_.load(std::memory_order_acquire)) ==
           static_cast<std::uint32_t>(position);
}

}  // namespace klineagg::wal
