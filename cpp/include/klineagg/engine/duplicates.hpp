// Which trade ids of a symbol were seen, by source: at-least-once feeds give the same bars.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <memory>
#include <vector>

#include "klineagg/block_pool.hpp"
#include "klineagg/trade.hpp"

namespace klineagg::engine {

struct IdCounts {
    std::int64_t duplicates = 0;    // trades all of whose ids had been seen
    std::int64_t gaps = 0;          // how often ids were passed over; they may come later
    std::int64_t out_of_order = 0;  // trades whose id is below one that was seen before
};

/// The counts of one source, over all its producers, symbols and workers.
struct SourceCounts {
    explicit SourceCounts(std::uint16_t source_) noexcept : source(source_) {}
    void add(const IdCounts& counts) noexcept;
    [[nodiscard]] IdCounts read() const noexcept;

    const std::uint16_t source;
    SourceCounts* next = nullptr;
    std::atomic<std::int64_t> duplicates{0};
    std::atomic<std::int64_t> gaps{0};
    std::atomic<std::int64_t> out_of_order{0};
};

/// A few sources, made with their producers.
class SourceTable {
public:
    SourceTable() = default;
    ~SourceTable();
    SourceTable(const SourceTable&) = delete;
    SourceTable& operator=(const SourceTable&) = delete;

    /// Throws std::bad_alloc.
    SourceCounts& make(std::uint16_t source);
    /// nullptr when there is none. Any thread, without a lock.
    [[nodiscard]] SourceCounts* find(std::uint16_t source) const noexcept;
    template <class Visit>
    void each(Visit&& visit) const {
        for (const SourceCounts* counts = first_.load(std::memory_order_acquire); counts != nullptr;
             counts = counts->next)
            visit(*counts);
    }

private:
    std::mutex making_;
    std::atomic<SourceCounts*> first_{nullptr};
};

/// The ids of one symbol. Feeds count up, so of each source almost all ids are one range; this
/// holds that of the source that came last, and the rest, if there is any, in blocks. Of more
/// than RANGES_MAX ranges the lowest are forgotten: what they say is not recognised any more.
class SeenIds {
public:
    static constexpr std::size_t RANGES_MAX = 4096;

    SeenIds() = default;
    SeenIds(SeenIds&& other) noexcept;
    SeenIds& operator=(SeenIds&& other) noexcept;

    /// Takes out the trades that were seen before, in place; returns the end of the others.
    /// Trades without an id stay, always.
    template <class AnyTrade>
    AnyTrade* filter(AnyTrade* trade, AnyTrade* end, std::uint16_t source, BlockPool* pool,
                     IdCounts& counts) {
        if (source == source_) {
            for (; trade != end && follows(trade->id); ++trade) last_ = last_id_of(*trade);
        }
        return trade == end ? end : filter_any(trade, end, source, pool, counts);
    }

    /// Gives all blocks back; to be called before it goes.
    void clear(BlockPool* pool) noexcept;
    [[nodiscard]] std::size_t ranges() const noexcept;  // of the source that came last

    struct SeenRange {
        std::uint16_t source;
        std::int64_t first;
        std::int64_t last;
    };
    /// All ranges, by source, then in order.
    [[nodiscard]] std::vector<SeenRange> all() const;
    /// Adds one that lies above all others of its source.
    void restore(const SeenRange& ids, BlockPool* pool);

private:
    struct Range {
        std::int64_t first;
        std::int64_t last;
    };
    /// Some of the ranges of a source, in order; those of the next block are higher.
    struct Block {
        static constexpr std::size_t RANGES = 22;
        Block* prev = nullptr;
        Block* next = nullptr;
        std::size_t count = 0;
        Range ranges[RANGES];
    };
    /// A source: its highest range, unless it is the one that came last, and those below.
    struct Source {
        Source* next;
        Range top;
        Block* first = nullptr;
        Block* last = nullptr;
        Block* near = nullptr;  // where the last range was looked for
        std::size_t ranges = 0;
        std::uint16_t source;
    };
    struct Place {
        Block* block;
        std::size_t index;
    };

    static constexpr Range NONE{std::numeric_limits<std::int64_t>::max(),
                                std::numeric_limits<std::int64_t>::min()};

    [[nodiscard]] bool follows(std::int64_t id) const noexcept {
        return static_cast<std::uint64_t>(id) == static_cast<std::uint64_t>(last_) + 1;
    }
    template <class AnyTrade>
    AnyTrade* filter_any(AnyTrade* trade, AnyTrade* end, std::uint16_t source, BlockPool* pool,
                         IdCounts& counts);
    /// False: all of these ids were seen.
    bool add(Range ids, BlockPool* pool, IdCounts& counts);
    void turn_to(std::uint16_t source, BlockPool* pool);
    Source& below(BlockPool* pool);  // of the source that came last

    static bool insert(Source& source, Range ids, BlockPool* pool);
    static void insert_at(Source& source, Place place, Range ids, BlockPool* pool);
    static void erase(Source& source, Place place, BlockPool* pool) noexcept;
    static void swallow(Source& source, Place place, BlockPool* pool) noexcept;

    std::int64_t first_ = NONE.first;
    std::int64_t last_ = NONE.last;
    Source* sources_ = nullptr;  // the one that came last is first, if it is in it
    std::uint16_t source_ = 0;
};

}  // namespace klineagg::engine
