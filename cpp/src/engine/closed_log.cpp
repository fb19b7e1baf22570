#include "klineagg/engine/closed_log.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace klineagg::engine {

ClosedLog::ClosedLog(std::uint64_t rows_max, std::uint64_t spare_chunks, const std::string& folder)
    : rows_max_(rows_max), spare_chunks_(std::max<std::uint64_t>(spare_chunks, 1)) {
    // A chunk that is partly acknowledged and one that is being filled come on top of the bound.
    const std::uint64_t chunks = rows_max_ / CHUNK_ROWS + 2 + spare_chunks_;
    rings_.push_back(std::make_unique<Ring>(std::bit_ceil(chunks)));
    ring_.store(rings_.back().get());
    bytes_.store((rings_.back()->mask + 1) * sizeof(std::atomic<Chunk*>));
    static_assert(sizeof(Chunk) % 4096 == 0);
    if (!folder.empty()) file_ = std::make_unique<RowFile>(folder, sizeof(Chunk));
    (void)refill();
}

ClosedLog::~ClosedLog() {
    for (std::uint64_t chunk = held_from(); chunk < ready_.load(); ++chunk)
        delete slot(chunk).load();
    for (Chunk* chunk : free_) delete chunk;
}

void ClosedLog::grow() {
    const Ring& old = *rings_.back();
    auto next = std::make_unique<Ring>(2 * (old.mask + 1));
    for (std::uint64_t chunk = trimmed_; chunk < ready_.load(); ++chunk)
        next->slots[chunk & next->mask].store(slot(chunk).load());
    bytes_.fetch_add((next->mask + 1) * sizeof(std::atomic<Chunk*>), std::memory_order_relaxed);
    rings_.push_back(std::move(next));
    ring_.store(rings_.back().get(), std::memory_order_release);
}

ClosedLog::Chunk* ClosedLog::make_chunk() {
    constexpr std::size_t PAGE = 4096;
    free_.reserve(made_ + 1);  // so that taking one back never allocates
    // Not make_unique<Chunk>(): zeroing rows that will be written anyway would double the memory
    // traffic. But its pages are asked of the system here and not by the writer.
    auto* const chunk = new Chunk;
    auto* const bytes = reinterpret_cast<volatile char*>(chunk);
    for (std::size_t at = 0; at < sizeof *chunk; at += PAGE) bytes[at] = 0;
    ++made_;
    bytes_.fetch_add(sizeof *chunk, std::memory_order_relaxed);
    return chunk;
}

bool ClosedLog::refill(bool beyond_bound) {
    const std::uint64_t limit = rows_max_ / CHUNK_ROWS + 2;
    const std::uint64_t filled = (end() + CHUNK_ROWS - 1) / CHUNK_ROWS;
    const std::uint64_t taken = filled - std::exchange(last_filled_, filled);
    // A machine that is busy lets the keeper wait: what went since its last turn will go again.
    if (taken == 0 && spares_ > spare_chunks_) --spares_;
    spares_ = std::max(spares_, std::clamp(2 * taken, spare_chunks_, SPARES_MAX));
    std::uint64_t target = filled + spares_;
    // While readers hold all that the bound allows there are no spares: the writer waits.
    // But not for each few rows, where it is quick and the bound large.
    const std::uint64_t over = std::max(spare_chunks_, std::min(spares_, limit / 4));
    if (!beyond_bound) target = std::min(target, held_from() + limit + over);
    std::uint64_t ready = ready_.load(std::memory_order_relaxed);
    const bool behind = ready < target;
    for (; ready < target; ++ready) {
        if (ready - trimmed_ > rings_.back()->mask) grow();
        Chunk* chunk = nullptr;
        if (free_.empty()) {
            chunk = make_chunk();
        } else {
            chunk = free_.back();
            free_.pop_back();
        }
        slot(ready).store(chunk, std::memory_order_release);
        ready_.store(ready + 1, std::memory_order_release);
    }
    return behind;
}

void ClosedLog::trim(std::uint64_t index) noexcept {
    if (index > begin_.load(std::memory_order_relaxed))
        begin_.store(index, std::memory_order_release);
    // A chunk that the writer has not left is not taken, even when all in it was read.
    const std::uint64_t chunks = std::min(index, end()) / CHUNK_ROWS;
    for (; trimmed_ < chunks; ++trimmed_) {
        Chunk* const chunk = slot(trimmed_).load(std::memory_order_relaxed);
        if (trimmed_ < evicted_) file_->take_back(chunk);
        else put_by(chunk);
    }
}

void ClosedLog::put_by(Chunk* chunk) noexcept {
    free_.push_back(chunk);
    // A burst must not keep its memory for ever.
    if (free_.size() > 2 * spares_) {
        delete free_.back();
        free_.pop_back();
        --made_;
        bytes_.fetch_sub(sizeof(Chunk), std::memory_order_relaxed);
    }
}

bool ClosedLog::evict() noexcept {
    if (!file_) return false;
    const std::uint64_t rows = end();
    const std::uint64_t wanted = rows > rows_max_ ? (rows - rows_max_) / CHUNK_ROWS : 0;
    evicted_ = held_from();
    const std::uint64_t until = std::min(wanted, evicted_ + EVICTED_AT_ONCE);
    for (; evicted_ < until; ++evicted_) {
        Chunk* const chunk = slot(evicted_).load(std::memory_order_relaxed);
        const void* const place = file_->put(chunk);
        if (place == nullptr) return false;
        slot(evicted_).store(static_cast<Chunk*>(const_cast<void*>(place)),
                             std::memory_order_release);
        put_by(chunk);
    }
    return true;
}

std::uint64_t ClosedLog::rows_over() const noexcept {
    const std::uint64_t kept = end() - begin();
    return kept > rows_max_ ? kept - rows_max_ : 0;
}

std::size_t ClosedLog::bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

}  // namespace klineagg::engine
