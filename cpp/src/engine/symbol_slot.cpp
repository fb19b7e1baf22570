#include "klineagg/engine/symbol_slot.hpp"

#include <string>

#include "klineagg/engine/open_view.hpp"
#include "klineagg/error.hpp"

namespace klineagg::engine {

SlotTable::SlotTable(const PlanGeneration& generation, std::size_t keep_bars)
    : generation_(&generation),
      keep_bars_(keep_bars),
      chunks_(std::make_unique<std::atomic<Chunk*>[]>(CHUNKS_MAX)) {}

SlotTable::~SlotTable() {
    for (std::uint32_t chunk = 0; chunk < made() / CHUNK; ++chunk) delete chunks_[chunk].load();
}

void SlotTable::follow(const PlanGeneration& generation) {
    const std::lock_guard lock(making_);
    generation_ = &generation;
}

void SlotTable::on_growth(std::function<void(std::uint32_t slots)> before_growth) {
    const std::lock_guard lock(making_);
    before_growth_ = std::move(before_growth);
    if (before_growth_) before_growth_(made());
}

void SlotTable::release(std::uint32_t index) noexcept {
    std::uint64_t seen = free_.load(std::memory_order_relaxed);
    std::uint64_t next = 0;
    do {
        std::atomic_ref(next_free_[index])
            .store(static_cast<std::uint32_t>(seen), std::memory_order_relaxed);
        next = ((seen >> 32U) + 1) << 32U | (index + 1);
    } while (!free_.compare_exchange_weak(seen, next, std::memory_order_release,
                                          std::memory_order_relaxed));
}

bool SlotTable::take_free(std::uint32_t& index) noexcept {
    std::uint64_t seen = free_.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(seen) != 0) {
        index = static_cast<std::uint32_t>(seen) - 1;
        const std::uint32_t below =
            std::atomic_ref(next_free_[index]).load(std::memory_order_relaxed);
        const std::uint64_t next = ((seen >> 32U) + 1) << 32U | below;
        if (free_.compare_exchange_weak(seen, next, std::memory_order_acquire)) return true;
    }
    return false;
}

void SlotTable::make_chunk() {
    const std::uint32_t first = made_.load(std::memory_order_relaxed);
    if (first / CHUNK >= CHUNKS_MAX) {
        throw Error(ErrorCode::engine_state, "the engine has " + std::to_string(first) +
                                                 " symbols, which is its limit");
    }
    auto chunk = std::make_unique<Chunk>();
    chunk->reserve(CHUNK);
    for (std::uint32_t i = 0; i < CHUNK; ++i) chunk->emplace_back(*generation_, first + i, keep_bars_);
    next_free_.grow(first + CHUNK);
    if (before_growth_) before_growth_(first + CHUNK);
    chunks_[first / CHUNK].store(chunk.release(), std::memory_order_release);
    made_.store(first + CHUNK, std::memory_order_release);
}

bool SlotTable::prepare(std::uint32_t spare) {
    if (made() >= used() + spare) return false;
    const std::lock_guard lock(making_);
    while (made() < used() + spare) make_chunk();
    return true;
}

std::uint32_t SlotTable::claim() {
    std::uint32_t index = 0;
    if (take_free(index)) return index;
    index = used_.load(std::memory_order_relaxed);
    while (true) {
        if (index >= made()) {
            misses_.fetch_add(1, std::memory_order_relaxed);
            (void)prepare(1);
            index = used_.load(std::memory_order_relaxed);
            continue;
        }
        if (used_.compare_exchange_weak(index, index + 1, std::memory_order_acq_rel)) return index;
    }
}

std::size_t SlotTable::bytes() const noexcept {
    const std::size_t levels = generation_->plan.levels().size();
    // The slot and the levels behind it; what their histories keep is counted apart.
    const bool amends = generation_->options.late == LatePolicy::amend;
    const std::size_t each = sizeof(SymbolSlot) + (levels - 1) * OpenBars::LEVEL_BYTES +
                             (amends ? levels * sizeof(History) : 0);
    return CHUNKS_MAX * sizeof(std::atomic<Chunk*>) + made() * each;
}

}  // namespace klineagg::engine
