#include "klineagg/engine/duplicates.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace klineagg::engine {

void SourceCounts::add(const IdCounts& counts) noexcept {
    // Several workers add here, but not for each trade.
    if (counts.duplicates != 0) duplicates.fetch_add(counts.duplicates, std::memory_order_relaxed);
    if (counts.gaps != 0) gaps.fetch_add(counts.gaps, std::memory_order_relaxed);
    if (counts.out_of_order != 0)
        out_of_order.fetch_add(counts.out_of_order, std::memory_order_relaxed);
}

IdCounts SourceCounts::read() const noexcept {
    return {duplicates.load(std::memory_order_relaxed), gaps.load(std::memory_order_relaxed),
            out_of_order.load(std::memory_order_relaxed)};
}

SourceTable::~SourceTable() {
    for (SourceCounts* counts = first_.load(); counts != nullptr;)
        delete std::exchange(counts, counts->next);
}

SourceCounts& SourceTable::make(std::uint16_t source) {
    const std::lock_guard lock(making_);
    if (SourceCounts* const known = find(source)) return *known;
    auto* const made = new SourceCounts(source);
    made->next = first_.load(std::memory_order_relaxed);
    first_.store(made, std::memory_order_release);
    return *made;
}

SourceCounts* SourceTable::find(std::uint16_t source) const noexcept {
    SourceCounts* counts = first_.load(std::memory_order_acquire);
    while (counts != nullptr && counts->source != source) counts = counts->next;
    return counts;
}

SeenIds::SeenIds(SeenIds&& other) noexcept
    : first_(other.first_),
      last_(other.last_),
      sources_(std::exchange(other.sources_, nullptr)),
      source_(other.source_) {}

SeenIds& SeenIds::operator=(SeenIds&& other) noexcept {
    first_ = other.first_;
    last_ = other.last_;
    std::swap(sources_, other.sources_);
    source_ = other.source_;
    return *this;
}

template <class AnyTrade>
AnyTrade* SeenIds::filter_any(AnyTrade* trade, AnyTrade* end, std::uint16_t source,
                              BlockPool* pool, IdCounts& counts) {
    AnyTrade* kept = trade;
    for (; trade != end; ++trade) {
        if (trade->id >= 0) {
            if (source != source_) turn_to(source, pool);
            if (follows(trade->id)) last_ = last_id_of(*trade);
            else if (!add({trade->id, last_id_of(*trade)}, pool, counts)) continue;
        }
        if (kept != trade) *kept = *trade;
        ++kept;
    }
    return kept;
}
template Trade* SeenIds::filter_any(Trade*, Trade*, std::uint16_t, BlockPool*, IdCounts&);
template PlainTrade* SeenIds::filter_any(PlainTrade*, PlainTrade*, std::uint16_t, BlockPool*,
                                         IdCounts&);

SeenIds::Source& SeenIds::below(BlockPool* pool) {
    if (sources_ == nullptr || sources_->source != source_) {
        sources_ = new (detail::take_block<Source>(pool))
            Source{sources_, NONE, nullptr, nullptr, nullptr, 0, source_};
    }
    return *sources_;
}

void SeenIds::turn_to(std::uint16_t source, BlockPool* pool) {
    if (last_ != NONE.last) below(pool).top = {first_, last_};
    source_ = source;
    first_ = NONE.first;
    last_ = NONE.last;
    for (Source** link = &sources_; *link != nullptr; link = &(*link)->next) {
        Source* const found = *link;
        if (found->source != source) continue;
        *link = found->next;
        found->next = sources_;
        sources_ = found;
        first_ = found->top.first;
        last_ = found->top.last;
        return;
    }
}

bool SeenIds::add(Range ids, BlockPool* pool, IdCounts& counts) {
    if (last_ == NONE.last) {
        first_ = ids.first;
        last_ = ids.last;
        return true;
    }
    if (ids.first > last_) {  // and not the next one
        ++counts.gaps;
        Source& source = below(pool);
        const std::size_t end = source.last != nullptr ? source.last->count : 0;
        insert_at(source, {source.last, end}, {first_, last_}, pool);
        if (source.ranges >= RANGES_MAX) erase(source, {source.first, 0}, pool);
        first_ = ids.first;
        last_ = ids.last;
        return true;
    }
    if (ids.first >= first_ && ids.last <= last_) {
        ++counts.duplicates;
        return false;
    }
    if (ids.last < first_ && first_ - ids.last > 1) {
        if (!insert(below(pool), ids, pool)) {
            ++counts.duplicates;
            return false;
        }
        ++counts.out_of_order;
        if (sources_->ranges >= RANGES_MAX) erase(*sources_, {sources_->first, 0}, pool);
        return true;
    }
    // It touches the highest range, and so perhaps what lies below that.
    if (ids.last < last_) ++counts.out_of_order;
    first_ = std::min(first_, ids.first);
    last_ = std::max(last_, ids.last);
    if (sources_ == nullptr || sources_->source != source_) return true;
    while (Block* const block = sources_->last) {
        // The analyzer takes it for one that was freed: it does not know that nothing is behind it.
        const Range below = block->ranges[block->count - 1];  // NOLINT(clang-analyzer-*)
        if (below.last < first_ && first_ - below.last > 1) break;
        first_ = std::min(first_, below.first);
        erase(*sources_, {block, block->count - 1}, pool);
    }
    return true;
}

bool SeenIds::insert(Source& source, Range ids, BlockPool* pool) {
    Block* block = source.near != nullptr ? source.near : source.last;
    if (block == nullptr) {
        insert_at(source, {nullptr, 0}, ids, pool);
        return true;
    }
    while (block->prev != nullptr && block->ranges[0].first > ids.first) block = block->prev;
    while (block->next != nullptr && block->next->ranges[0].first <= ids.first) block = block->next;
    source.near = block;
    Range* const ranges = block->ranges;
    // The first range that begins behind ours.
    const auto index = static_cast<std::size_t>(
        std::upper_bound(ranges, ranges + block->count, ids.first,
                         [](std::int64_t id, const Range& range) { return id < range.first; }) -
        ranges);
    if (index > 0 && ranges[index - 1].last >= ids.first - 1) {
        Range& range = ranges[index - 1];
        if (range.last >= ids.last) return false;
        range.last = ids.last;
        swallow(source, {block, index - 1}, pool);
        return true;
    }
    const bool at_end = index == block->count;
    Block* const behind = at_end ? block->next : block;
    const std::size_t behind_index = at_end ? 0 : index;
    if (behind != nullptr && behind->ranges[behind_index].first - 1 <= ids.last) {
        Range& range = behind->ranges[behind_index];
        range.first = ids.first;
        range.last = std::max(range.last, ids.last);
        swallow(source, {behind, behind_index}, pool);
        return true;
    }
    insert_at(source, {block, index}, ids, pool);
    return true;
}

void SeenIds::insert_at(Source& source, Place place, Range ids, BlockPool* pool) {
    auto [block, index] = place;
    if (block == nullptr || block->count == Block::RANGES) {
        auto* const made = new (detail::take_block<Block>(pool)) Block;
        made->prev = block;
        made->next = block != nullptr ? block->next : nullptr;
        (made->next != nullptr ? made->next->prev : source.last) = made;
        (block != nullptr ? block->next : source.first) = made;
        if (block != nullptr && index < block->count) {
            // In the middle: both halves get room. At the end a full block stays full.
            constexpr std::size_t HALF = Block::RANGES / 2;
            std::copy(block->ranges + HALF, block->ranges + block->count, made->ranges);
            made->count = block->count - HALF;
            block->count = HALF;
        }
        if (block == nullptr || index > block->count || block->count == Block::RANGES) {
            index -= block != nullptr ? block->count : 0;
            block = made;
        }
    }
    std::copy_backward(block->ranges + index, block->ranges + block->count,
                       block->ranges + block->count + 1);
    block->ranges[index] = ids;
    ++block->count;
    ++source.ranges;
}

void SeenIds::erase(Source& source, Place place, BlockPool* pool) noexcept {
    Block* const block = place.block;
    std::copy(block->ranges + place.index + 1, block->ranges + block->count,
              block->ranges + place.index);
    --source.ranges;
    if (--block->count != 0) return;
    (block->prev != nullptr ? block->prev->next : source.first) = block->next;
    (block->next != nullptr ? block->next->prev : source.last) = block->prev;
    if (source.near == block) source.near = block->prev != nullptr ? block->prev : block->next;
    detail::give_block(pool, block);
}

void SeenIds::swallow(Source& source, Place place, BlockPool* pool) noexcept {
    Range& range = place.block->ranges[place.index];
    while (true) {
        const bool at_end = place.index + 1 == place.block->count;
        Block* const block = at_end ? place.block->next : place.block;
        const std::size_t index = at_end ? 0 : place.index + 1;
        if (block == nullptr || block->ranges[index].first - 1 > range.last) return;
        range.last = std::max(range.last, block->ranges[index].last);
        erase(source, {block, index}, pool);
    }
}

void SeenIds::clear(BlockPool* pool) noexcept {
    while (sources_ != nullptr) {
        Source* const source = std::exchange(sources_, sources_->next);
        for (Block* block = source->first; block != nullptr;)
            detail::give_block(pool, std::exchange(block, block->next));
        detail::give_block(pool, source);
    }
    first_ = NONE.first;
    last_ = NONE.last;
}

std::vector<SeenIds::SeenRange> SeenIds::all() const {
    std::vector<SeenRange> all;
    if (last_ != NONE.last) all.push_back({source_, first_, last_});
    for (const Source* source = sources_; source != nullptr; source = source->next) {
        // The highest range of the source that came last is held apart, and what stands here old.
        if (source->source != source_) all.push_back({source->source, source->top.first, source->top.last});
        for (const Block* block = source->first; block != nullptr; block = block->next) {
            for (std::size_t i = 0; i < block->count; ++i)
                all.push_back({source->source, block->ranges[i].first, block->ranges[i].last});
        }
    }
    if (all.size() > 1) {
        std::sort(all.begin(), all.end(), [](const SeenRange& a, const SeenRange& b) {
            return a.source != b.source ? a.source < b.source : a.first < b.first;
        });
    }
    return all;
}

void SeenIds::restore(const SeenRange& ids, BlockPool* pool) {
    if (ids.source != source_) turn_to(ids.source, pool);
    IdCounts uncounted;  // they were when they came
    (void)add({ids.first, ids.last}, pool, uncounted);
}

std::size_t SeenIds::ranges() const noexcept {
    const bool known = sources_ != nullptr && sources_->source == source_;
    return (last_ == NONE.last ? 0 : 1) + (known ? sources_->ranges : 0);
}

}  // namespace klineagg::engine
