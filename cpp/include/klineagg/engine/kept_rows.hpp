// The last closed bars of each interval of one symbol, for reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "klineagg/engine/bar_row.hpp"

namespace klineagg::engine {

/// One ring for each output. All memory is taken when it is made; pages that no row has come to
/// yet are not the process's.
class KeptRows {
public:
    KeptRows() = default;
    /// `count` rows of each of `outputs` intervals; none when `count` is 0.
    KeptRows(std::size_t outputs, std::size_t count);
    KeptRows(KeptRows&&) noexcept = default;
    KeptRows& operator=(KeptRows&&) noexcept = default;

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t outputs() const noexcept { return rings_.size(); }

    /// A row in the order of emission: it is the last of its interval, or it replaces what was
    /// said of its span before.
    void put(const BarRow& row) noexcept {
        if (count_ == 0) return;
        Ring& ring = rings_[static_cast<std::size_t>(row.interval)];
        if (ring.size == 0 || at(ring, ring.size - 1).close_time <= row.open_time) [[likely]]
            push(ring, row);
        else replace(ring, row);
    }
    /// Calls `visit(row)` for the rows of an output, in order of time.
    template <class Visit>
    void each(std::size_t output, Visit&& visit) const {
        if (output >= rings_.size()) return;
        const Ring& ring = rings_[output];
        for (std::size_t i = 0; i < ring.size; ++i) visit(at(ring, i));
    }
    /// Forgets those of an output.
    void clear(std::size_t output) noexcept {
        if (output < rings_.size()) rings_[output].begin = rings_[output].size = 0;
    }
    /// The same rows with room for more outputs. Throws std::bad_alloc.
    [[nodiscard]] KeptRows grown(std::size_t outputs) const;
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_of(rings_.size(), count_); }
    [[nodiscard]] static std::size_t bytes_of(std::size_t outputs, std::size_t count) noexcept {
        return count == 0 ? 0 : outputs * (sizeof(Ring) + count * sizeof(BarRow));
    }

private:
    struct Ring {
        std::unique_ptr<BarRow[]> rows;
        std::size_t begin = 0;
        std::size_t size = 0;
    };

    BarRow& at(const Ring& ring, std::size_t index) const noexcept {
        const std::size_t place = ring.begin + index;
        return ring.rows[place < count_ ? place : place - count_];
    }
    void push(Ring& ring, const BarRow& row) noexcept {
        if (ring.size == count_) ring.begin = ring.begin + 1 == count_ ? 0 : ring.begin + 1;
        else ++ring.size;
        at(ring, ring.size - 1) = row;
    }
    void replace(Ring& ring, const BarRow& row) noexcept;
    /// Returns where it is then: in a full ring the first one makes room.
    std::size_t insert(Ring& ring, std::size_t index, const BarRow& row) noexcept;
    void erase(Ring& ring, std::size_t index) noexcept;

    std::vector<Ring> rings_;
    std::size_t count_ = 0;
};

}  // namespace klineagg::engine
