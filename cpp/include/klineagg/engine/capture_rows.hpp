// Room for the rows of a capture: given by the taker, filled by a worker, kept from take to take.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "klineagg/detail/huge_pool.hpp"
#include "klineagg/detail/prefetch.hpp"
#include "klineagg/engine/bar_row.hpp"

namespace klineagg::engine {

/// Chunks that are made before they are needed and then stay: fresh pages for each snapshot took
/// longer than the bars in them.
class CaptureRows {
public:
    static constexpr std::size_t CHUNK_ROWS = 3840;  // four chunks fill a huge page
    static constexpr std::size_t CHUNKS_MAX = 4096;
    static constexpr std::size_t ROWS_AHEAD = 8;

    struct Chunk {
        BarRow rows[CHUNK_ROWS];
    };

    CaptureRows() : chunks_(std::make_unique<std::atomic<Chunk*>[]>(CHUNKS_MAX)) {}
    ~CaptureRows() { shrink(0); }
    CaptureRows(const CaptureRows&) = delete;
    CaptureRows& operator=(const CaptureRows&) = delete;

    // --- The worker ---

    [[nodiscard]] bool has_room() const noexcept {
        return size_ < room_.load(std::memory_order_acquire);
    }
    [[nodiscard]] bool has_room(std::size_t rows) const noexcept {
        return size_ + rows <= room_.load(std::memory_order_acquire);
    }
    /// The place of the next row. Needs has_room().
    BarRow& append(std::int16_t interval) noexcept {
        const std::size_t place = size_++ % CHUNK_ROWS;
        if (place == 0) chunk_ = chunks_[size_ / CHUNK_ROWS].load(std::memory_order_relaxed);
        ++counts_[static_cast<std::size_t>(interval)];
        // The taker had these lines last: each would be waited for until it comes from its core.
        detail::prefetch_ahead(&chunk_->rows[place], ROWS_AHEAD);
        return chunk_->rows[place];
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void clear() noexcept {
        size_ = 0;
        std::fill(counts_.begin(), counts_.end(), 0);
    }

    /// Rows are of so many intervals from now on. Throws std::bad_alloc.
    void fit(std::size_t intervals) { counts_.resize(intervals); }

    // --- The taker ---

    /// Makes room for `rows` in all. Throws std::bad_alloc.
    void grow(std::size_t rows) {
        std::size_t room = room_.load(std::memory_order_relaxed);
        for (; room < rows && room < CHUNKS_MAX * CHUNK_ROWS; room += CHUNK_ROWS) {
            // Not value-initialized: each row is written before it is read.
            chunks_[room / CHUNK_ROWS].store(new (detail::huge_take(sizeof(Chunk))) Chunk,
                                               std::memory_order_relaxed);
            room_.store(room + CHUNK_ROWS, std::memory_order_release);
        }
    }
    /// Gives back what lies beyond `rows`, between two captures.
    void shrink(std::size_t rows) noexcept {
        std::size_t room = room_.load(std::memory_order_relaxed);
        for (; room >= rows + CHUNK_ROWS; room -= CHUNK_ROWS)
            detail::huge_give(chunks_[room / CHUNK_ROWS - 1].load(std::memory_order_relaxed),
                              sizeof(Chunk));
        room_.store(room, std::memory_order_release);
    }
    [[nodiscard]] std::size_t room() const noexcept {
        return room_.load(std::memory_order_relaxed);
    }
    // Below what the worker had written when it finished:
    [[nodiscard]] const BarRow& row(std::size_t row) const noexcept {
        return chunk(row).rows[row % CHUNK_ROWS];
    }
    /// How many of them are of each interval.
    [[nodiscard]] std::span<const std::size_t> counts() const noexcept { return counts_; }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return room() / CHUNK_ROWS * sizeof(Chunk) + CHUNKS_MAX * sizeof(chunks_[0]);
    }

private:
    [[nodiscard]] const Chunk& chunk(std::size_t row) const noexcept {
        return *chunks_[row / CHUNK_ROWS].load(std::memory_order_relaxed);
    }

    std::unique_ptr<std::atomic<Chunk*>[]> chunks_;
    std::atomic<std::size_t> room_{0};
    std::size_t size_ = 0;
    Chunk* chunk_ = nullptr;
    std::vector<std::size_t> counts_;  // by interval: the taker need not read all rows for it
};

}  // namespace klineagg::engine
