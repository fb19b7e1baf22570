// The append-only log of closed bars of one worker.
//
// The worker appends, takers read below `end`, and the keeper gives the memory: chunks are put in
// place ahead of the writer and taken back behind the slowest reader, so appending never allocates.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "klineagg/detail/prefetch.hpp"
#include "klineagg/engine/bar_row.hpp"
#include "klineagg/engine/row_file.hpp"

namespace klineagg::engine {

class ClosedLog {
public:
    static constexpr std::uint64_t CHUNK_ROWS = 1024;

    /// `rows_max`: the bound of what is kept for readers; `spare_chunks` more are held ready.
    /// `folder`: of the file for rows beyond the bound; empty: there is none.
    ClosedLog(std::uint64_t rows_max, std::uint64_t spare_chunks, const std::string& folder = {});
    ~ClosedLog();
    ClosedLog(const ClosedLog&) = delete;
    ClosedLog& operator=(const ClosedLog&) = delete;

    // --- The worker ---

    /// True when at least one row can be appended. False: the keeper is behind, or readers keep
    /// more than the bound allows.
    [[nodiscard]] bool has_room() const noexcept {
        return next_ % CHUNK_ROWS != 0 || next_ / CHUNK_ROWS < ready_.load(std::memory_order_acquire);
    }
    /// The place of the next row. Needs has_room().
    BarRow& append() noexcept {
        if (next_ % CHUNK_ROWS == 0) chunk_ = slot(next_ / CHUNK_ROWS).load(std::memory_order_acquire);
        BarRow& row = chunk_->rows[next_++ % CHUNK_ROWS];
        // Rows go to memory that left the caches long ago: the writer would wait for every line.
        detail::prefetch_ahead(&row, ROWS_AHEAD);
        return row;
    }
    /// Shows the rows appended so far to readers: once a block, not once a row.
    /// True when there were any.
    bool publish() noexcept {
        const bool any = end_.load(std::memory_order_relaxed) != next_;
        if (any) end_.store(next_, std::memory_order_release);
        return any;
    }
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }

    // --- Readers ---

    [[nodiscard]] std::uint64_t end() const noexcept { return end_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t begin() const noexcept {
        return begin_.load(std::memory_order_acquire);
    }
    /// Row `index`, begin() <= index < end(), while nobody trims beyond it.
    [[nodiscard]] const BarRow& row(std::uint64_t index) const noexcept {
        return slot(index / CHUNK_ROWS).load(std::memory_order_acquire)->rows[index % CHUNK_ROWS];
    }

    // --- The keeper, one thread at a time ---

    /// Holds spares ready: `spare_chunks`, or more where the writer was faster; with
    /// `beyond_bound` also when readers hold all that they may. True when it put any in place:
    /// the writer is busy. Throws std::bad_alloc.
    bool refill(bool beyond_bound = false);
    /// Takes back the chunks below `index`.
    void trim(std::uint64_t index) noexcept;
    /// Moves some of the oldest rows beyond the bound into the file, where readers find them as
    /// before. False when there is none, or the system refuses. Not while anybody reads.
    bool evict() noexcept;
    /// Rows beyond the bound: how many the slowest readers have to give up.
    [[nodiscard]] std::uint64_t rows_over() const noexcept;
    [[nodiscard]] std::size_t bytes() const noexcept;

private:
    struct Chunk {
        BarRow rows[CHUNK_ROWS];
    };

    // Where the chunks are, by number modulo its size. A larger one takes its place when more
    // chunks are held than were meant to; readers may look at the old one still.
    struct Ring {
        explicit Ring(std::uint64_t size)
            : mask(size - 1), slots(std::make_unique<std::atomic<Chunk*>[]>(size)) {}
        std::uint64_t mask;
        std::unique_ptr<std::atomic<Chunk*>[]> slots;
    };
    static constexpr std::uint64_t SPARES_MAX = 512;
    static constexpr std::size_t ROWS_AHEAD = 6;

    [[nodiscard]] std::atomic<Chunk*>& slot(std::uint64_t chunk) const noexcept {
        const Ring& ring = *ring_.load(std::memory_order_acquire);
        return ring.slots[chunk & ring.mask];
    }
    static constexpr std::uint64_t EVICTED_AT_ONCE = 16;  // chunks: who waits for the keeper may go on

    void grow();
    [[nodiscard]] Chunk* make_chunk();
    void put_by(Chunk* chunk) noexcept;
    /// The first chunk that is in memory, or may be.
    [[nodiscard]] std::uint64_t held_from() const noexcept {
        return evicted_ > trimmed_ ? evicted_ : trimmed_;
    }

    std::uint64_t rows_max_;
    std::uint64_t spare_chunks_;
    std::vector<std::unique_ptr<Ring>> rings_;  // the last one is in use
    std::atomic<const Ring*> ring_{nullptr};
    std::vector<Chunk*> free_;     // the keeper's
    std::uint64_t trimmed_ = 0;    // the keeper's: chunks below are taken back
    std::uint64_t evicted_ = 0;    // the keeper's: chunks below are in the file
    std::unique_ptr<RowFile> file_;  // the keeper's
    std::uint64_t made_ = 0;       // chunks in existence
    std::uint64_t spares_ = 0;     // the keeper's: to be held ready, by what the writer took lately
    std::uint64_t last_filled_ = 0;
    std::atomic<std::size_t> bytes_{0};

    alignas(128) std::atomic<std::uint64_t> ready_{0};  // chunks in place, from the first ever
    std::atomic<std::uint64_t> begin_{0};
    alignas(128) std::uint64_t next_ = 0;  // the worker's
    Chunk* chunk_ = nullptr;
    alignas(128) std::atomic<std::uint64_t> end_{0};
};

}  // namespace klineagg::engine
