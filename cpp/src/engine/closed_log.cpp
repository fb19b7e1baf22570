#include "klineagg/engine/closed_log.hpp"

#include <algorithm>
#include <bit>

namespace klineagg::engine {

ClosedLog::ClosedLog(std::uint64_t rows_max, std::uint64_t spare_chunks)
    : rows_max_(rows_max), spare_chunks_(std::max<std::uint64_t>(spare_chunks, 1)) {
    // A chunk that is partly acknowledged and one that is being filled come on top of the bound.
    const std::uint64_t chunks = rows_max_ / CHUNK_ROWS + 2 + spare_chunks_;
    const std::uint64_t places = std::bit_ceil(chunks);
    mask_ = places - 1;
    slots_ = std::make_unique<std::atomic<Chunk*>[]>(places);
    bytes_.store(places * sizeof(std::atomic<Chunk*>));
    (void)refill();
}

ClosedLog::~ClosedLog() {
    for (std::uint64_t chunk = trimmed_; chunk < ready_.load(); ++chunk) delete slot(chunk).load();
    for (Chunk* chunk : free_) delete chunk;
}

bool ClosedLog::refill() {
    const std::uint64_t limit = rows_max_ / CHUNK_ROWS + 2;
    const std::uint64_t filled = (end() + CHUNK_ROWS - 1) / CHUNK_ROWS;
    // While readers hold all that the bound allows there are no spares: the writer waits.
    const std::uint64_t target = std::min(filled + spare_chunks_, trimmed_ + limit + spare_chunks_);
    std::uint64_t ready = ready_.load(std::memory_order_relaxed);
    const bool behind = ready < target;
    for (; ready < target; ++ready) {
        if (free_.empty()) {
            // Not made_unique<Chunk>(): zeroing rows that will be written anyway would double the
            // memory traffic.
            free_.reserve(made_ + 1);  // so that taking one back never allocates
            free_.push_back(new Chunk);
            ++made_;
            bytes_.fetch_add(sizeof(Chunk), std::memory_order_relaxed);
        }
        slot(ready).store(free_.back(), std::memory_order_release);
        free_.pop_back();
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
        free_.push_back(slot(trimmed_).load(std::memory_order_relaxed));
        // A burst must not keep its memory for ever.
        if (free_.size() > 2 * spare_chunks_) {
            delete free_.back();
            free_.pop_back();
            --made_;
            bytes_.fetch_sub(sizeof(Chunk), std::memory_order_relaxed);
        }
    }
}

std::uint64_t ClosedLog::rows_over() const noexcept {
    const std::uint64_t kept = end() - begin();
    return kept > rows_max_ ? kept - rows_max_ : 0;
}

std::size_t ClosedLog::bytes() const noexcept { return bytes_.load(std::memory_order_relaxed); }

}  // namespace klineagg::engine
