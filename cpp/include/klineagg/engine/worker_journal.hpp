// What a worker has of the engine's log.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "klineagg/engine/journal.hpp"
#include "klineagg/engine/waiting_blocks.hpp"
#include "klineagg/wal/trade_codec.hpp"

namespace klineagg::engine {

class WorkerJournal {
public:
    // Blocks that are in flight: at 5 million trades a second, what comes within 13 ms.
    static constexpr std::size_t BLOCKS = 16;

    WorkerJournal(Journal& of, Waiter& waiter, std::size_t block_rows)
        : journal(&of), waiting(BLOCKS, block_rows), slots(block_rows) {
        follower.waiter = &waiter;
        encoder.reserve(block_rows);
        of.follow(follower);
        names.reserve(std::size_t{1} << 16U);
    }
    ~WorkerJournal() { journal->unfollow(follower); }
    WorkerJournal(const WorkerJournal&) = delete;
    WorkerJournal& operator=(const WorkerJournal&) = delete;

    Journal* journal;
    Journal::Follower follower;
    WaitingBlocks waiting;
    wal::TradeEncoder encoder;
    std::vector<std::int32_t> slots;  // of the rows of a block, while their symbols stand there
    std::vector<std::byte> names;     // of symbols that are new to the log
    Bytes staged;                     // the block that the log has had no room for yet
    bool has_staged = false;
    HoleTable came;  // of symbols that have come here: what had been dropped of them meanwhile
    bool is_came_waiting = false;  // one of the blocks
    // Of the command that waits.
    bool has_arrived = false;
    bool is_last = false;             // it was the last to arrive: it writes the record
    Sequence ticks_to = Journal::EVERYTHING;  // those behind it wait

    /// There is something to append that came out of no lane.
    [[nodiscard]] bool has_came() const noexcept { return !came.empty() && !is_came_waiting; }
    [[nodiscard]] bool next_tick(Journal::Tick& tick) const noexcept {
        return journal->tick_at(follower.done.load(std::memory_order_relaxed), tick);
    }
};

}  // namespace klineagg::engine
