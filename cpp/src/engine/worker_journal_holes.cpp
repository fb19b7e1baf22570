// Of a worker with a log: what lanes have dropped goes into it, too, in front of what came behind.
#include "klineagg/engine/worker.hpp"
#include "klineagg/engine/worker_journal.hpp"

namespace klineagg::engine {

namespace {

constexpr std::size_t HOLE_SYMBOLS = 1024;  // of a record

}  // namespace

bool Worker::journal_holes(Intake& intake) {
    const WorkerJournal& own = *journal_;
    const bool are_more = intake.lane.hole_position() <= intake.lane.taken();
    if (intake.are_holes_waiting) return !are_more;  // they come when these are done with
    if (intake.holes == nullptr) {
        if (!are_more) [[likely]] return true;
        HoleTable* const holes = intake.lane.take_holes();
        if (holes == nullptr) return false;
        set_aside(*holes);
        if (holes->empty()) {
            intake.lane.give_holes();
            return true;
        }
        intake.holes = holes;
    }
    if (own.has_staged || !append_holes(*intake.holes, &intake)) return false;
    intake.are_holes_waiting = true;
    ++intake.waiting;
    return true;
}

bool Worker::append_came() {
    WorkerJournal& own = *journal_;
    own.is_came_waiting = append_holes(own.came, nullptr);
    return own.is_came_waiting;
}

bool Worker::append_holes(HoleTable& holes, Intake* intake) {
    WorkerJournal& own = *journal_;
    if (own.waiting.is_full()) return false;
    const TimeNs now = core_->clock->now();
    const TimeNs time = now == TIME_MIN ? 0 : now;
    HoleRecord record;
    wal::Appended first;
    wal::Appended last;
    std::vector<std::byte> bytes;
    const auto write = [&] {
        if (record.symbols.empty() || last.status != wal::AppendStatus::ok) return;
        bytes.clear();
        ByteWriter to(bytes);
        put_record(to, record);
        record.symbols.clear();
        last = own.journal->append(bytes, time);
        if (first.first == 0) first = last;
    };
    holes.each([&](const LaneHole& hole) {
        const bool fits = hole.time_min == record.time_min && hole.time_max == record.time_max &&
                          record.symbols.size() < HOLE_SYMBOLS;
        if (!fits) write();
        record.time_min = hole.time_min;
        record.time_max = hole.time_max;
        record.symbols.push_back(
            name_of_symbol(core_->slots[static_cast<std::uint32_t>(hole.symbol)].symbol));
    });
    write();
    // What was written of them before the log was full is written once more: a mark twice is one.
    if (last.status != wal::AppendStatus::ok) return false;
    own.waiting.next() = {intake, 0, 0, first.first, last.last, time, &holes};
    own.waiting.push();
    return true;
}

void Worker::apply_holes(const WaitingBlocks::Block& block) {
    mark_holes_of(*block.holes);
    if (block.intake == nullptr) {
        journal_->came.clear();
        journal_->is_came_waiting = false;
        return;
    }
    --block.intake->waiting;
    block.intake->holes = nullptr;
    block.intake->are_holes_waiting = false;
    block.intake->lane.give_holes();
}

}  // namespace klineagg::engine
