#include "klineagg/engine/hole_table.hpp"

#include <new>

namespace klineagg::engine {
namespace {

void widen(LaneHole& hole, const LaneHole& more) noexcept {
    hole.time_min = std::min(hole.time_min, more.time_min);
    hole.time_max = std::max(hole.time_max, more.time_max);
}

}  // namespace

HoleTable::HoleTable()
    : rest_(static_cast<std::uint64_t*>(std::calloc(1, REST_BYTES))) {
    if (!rest_) throw std::bad_alloc();
}

std::size_t HoleTable::place_of(std::int32_t symbol) const noexcept {
    // Ids are dense, so their low bits spread them well; a multiplier helps those that are not.
    std::size_t place = (static_cast<std::uint32_t>(symbol) * 0x9E3779B1U) >> 22U;
    static_assert(INDEX_SIZE == std::size_t{1} << 10U);
    while (index_[place] != 0 && own_[index_[place] - 1U].symbol != symbol)
        place = (place + 1) % INDEX_SIZE;
    return place;
}

void HoleTable::add(const LaneHole& hole, std::uint64_t position) noexcept {
    position_ = std::min(position_, position);
    const std::size_t place = place_of(hole.symbol);
    if (index_[place] != 0) {
        widen(own_[index_[place] - 1U], hole);
    } else if (own_count_ == OWN_MAX) {
        add_rest(hole);
    } else {
        own_[own_count_++] = hole;
        index_[place] = static_cast<std::uint16_t>(own_count_);
    }
}

void HoleTable::add(const HoleTable& more) noexcept {
    more.each([this, &more](const LaneHole& hole) { add(hole, more.position_); });
}

void HoleTable::add_rest(const LaneHole& hole) noexcept {
    const std::size_t word = static_cast<std::size_t>(hole.symbol) / 64;
    if (rest_count_ == 0) {
        rest_times_ = hole;
        rest_begin_ = rest_end_ = word;
    }
    widen(rest_times_, hole);
    rest_begin_ = std::min(rest_begin_, word);
    rest_end_ = std::max(rest_end_, word + 1);
    const std::uint64_t bit = std::uint64_t{1} << (static_cast<std::uint32_t>(hole.symbol) % 64);
    if ((rest_[word] & bit) == 0) ++rest_count_;
    rest_[word] |= bit;
}

void HoleTable::drop_rest(std::int32_t symbol) noexcept {
    rest_[static_cast<std::size_t>(symbol) / 64] &=
        ~(std::uint64_t{1} << (static_cast<std::uint32_t>(symbol) % 64));
    --rest_count_;
}

void HoleTable::reindex(std::size_t count) noexcept {
    own_count_ = count;
    index_.fill(0);
    for (std::size_t i = 0; i < count; ++i)
        index_[place_of(own_[i].symbol)] = static_cast<std::uint16_t>(i + 1);
}

void HoleTable::clear() noexcept {
    each_rest([this](const LaneHole& hole) { drop_rest(hole.symbol); });
    if (own_count_ != 0) reindex(0);
    position_ = NOWHERE;
}

}  // namespace klineagg::engine
