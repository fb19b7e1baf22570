// Which trades were dropped, by symbol and time, in bounded memory.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include "klineagg/time.hpp"

namespace klineagg::engine {

/// Trades of a symbol that were dropped, so that the bars they would have been in can be marked
/// INCOMPLETE.
struct LaneHole {
    TimeNs time_min = 0;
    TimeNs time_max = 0;
    std::int32_t symbol = 0;
};

/// One hole for each symbol. Those of the first OWN_MAX symbols have times of their own; all
/// others share theirs, so that rather too many bars are marked than too few.
class HoleTable {
public:
    static constexpr std::size_t OWN_MAX = 256;
    static constexpr std::size_t SYMBOLS_MAX = std::size_t{1} << 20U;
    /// Of memory beside it: a bit for each symbol.
    static constexpr std::size_t REST_BYTES = SYMBOLS_MAX / 8;
    static constexpr std::uint64_t NOWHERE = std::numeric_limits<std::uint64_t>::max();

    /// Throws std::bad_alloc; nothing allocates after it.
    HoleTable();

    /// `position`: of the lane's first row behind it. Symbols are below SYMBOLS_MAX.
    void add(const LaneHole& hole, std::uint64_t position) noexcept;
    void add(const HoleTable& more) noexcept;
    void clear() noexcept;
    /// Those of symbols that are `of(symbol)` go over to `other`.
    template <class Of>
    void move_to(HoleTable& other, Of&& of) noexcept {
        const std::uint64_t position = position_;
        std::size_t kept = 0;
        for (std::size_t i = 0; i < own_count_; ++i) {
            if (of(own_[i].symbol)) other.add(own_[i], position);
            else own_[kept++] = own_[i];
        }
        if (kept != own_count_) reindex(kept);
        each_rest([&](const LaneHole& hole) {
            if (!of(hole.symbol)) return;
            other.add(hole, position);
            drop_rest(hole.symbol);
        });
        if (empty()) clear();
    }

    /// Of the first one; NOWHERE: there is none.
    [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
    [[nodiscard]] bool empty() const noexcept { return own_count_ == 0 && rest_count_ == 0; }
    /// `each(hole)`, one for each symbol.
    template <class Each>
    void each(Each&& each) const {
        for (std::size_t i = 0; i < own_count_; ++i) each(own_[i]);
        each_rest(each);
    }

private:
    static constexpr std::size_t INDEX_SIZE = 4 * OWN_MAX;

    struct Free {
        void operator()(std::uint64_t* words) const noexcept { std::free(words); }
    };

    [[nodiscard]] std::size_t place_of(std::int32_t symbol) const noexcept;
    void reindex(std::size_t count) noexcept;
    void add_rest(const LaneHole& hole) noexcept;
    void drop_rest(std::int32_t symbol) noexcept;
    /// The one at hand may be dropped meanwhile.
    template <class Each>
    void each_rest(Each&& each) const {
        if (rest_count_ == 0) return;
        LaneHole hole = rest_times_;
        for (std::size_t word = rest_begin_; word < rest_end_; ++word) {
            for (std::uint64_t bits = rest_[word]; bits != 0; bits &= bits - 1) {
                hole.symbol = static_cast<std::int32_t>(word * 64) + std::countr_zero(bits);
                each(hole);
            }
        }
    }

    std::uint64_t position_ = NOWHERE;
    std::array<LaneHole, OWN_MAX> own_;
    std::array<std::uint16_t, INDEX_SIZE> index_{};  // 1 + place in own_
    std::size_t own_count_ = 0;
    // The others, by their bits: pages of it that no symbol needed were never touched.
    std::unique_ptr<std::uint64_t[], Free> rest_;
    LaneHole rest_times_;
    std::size_t rest_begin_ = 0;  // words
    std::size_t rest_end_ = 0;
    std::size_t rest_count_ = 0;
};

}  // namespace klineagg::engine
