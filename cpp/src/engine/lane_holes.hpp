// What is known of the trades that a lane dropped, in bounded memory.
#pragma once

#include <array>
#include <atomic>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>

#include "klineagg/engine/lane.hpp"
#include "klineagg/engine/metrics.hpp"

namespace klineagg::engine {

/// The producer notes what it drops, by symbol, and hands that over when its push is over. More
/// symbols in one push than the table holds, or more holes than the worker has looked at, become
/// one hole of all symbols, which only ever grows until the worker has seen it.
class LaneHoles {
public:
    // --- Producer ---

    void note(const LaneRecord& record, std::uint64_t position) noexcept;
    void hand_over() noexcept;

    // --- Worker ---

    bool take(LaneHole& hole) noexcept;
    [[nodiscard]] bool empty() const noexcept;

private:
    static constexpr std::size_t SYMBOLS_MAX = 256;
    static constexpr std::size_t INDEX_SIZE = 4 * SYMBOLS_MAX;
    static constexpr std::size_t WAITING_MAX = 1024;
    enum Value : std::size_t { GENERATION, POSITION, TIME_LOWEST, TIME_HIGHEST, COUNT, VALUES };

    [[nodiscard]] LaneHole* find(std::int32_t symbol) noexcept;
    void widen_all(const LaneHole& hole) noexcept;

    // Of the push that goes on.
    std::array<LaneHole, SYMBOLS_MAX> noted_;
    std::array<std::uint16_t, INDEX_SIZE> index_{};  // 1 + place in noted_
    std::size_t noted_count_ = 0;
    LaneHole rest_;  // of the symbols beyond SYMBOLS_MAX

    boost::lockfree::spsc_queue<LaneHole, boost::lockfree::capacity<WAITING_MAX>> waiting_;
    CounterSet<VALUES> all_;
    alignas(LINE_BYTES) std::atomic<std::uint64_t> seen_{0};  // generation that the worker knows
};

}  // namespace klineagg::engine
