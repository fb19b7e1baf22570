// An engine and its log: records of its own, what is accepted, the halt and its end.
#include "klineagg/engine.hpp"

#include <algorithm>
#include <utility>

#include "control.hpp"
#include "handover.hpp"

namespace klineagg {

using engine::Command;
using engine::CommandEntry;

void Engine::enter(Command& command, TimeNs watermark) const {
    enter(command, std::vector<std::byte>());
    if (!command.entry) return;
    const TimeNs now = core_->clock->now();
    const bool is_simulated = core_->clock->simulated() && now != TIME_MIN;
    command.entry->clock = {watermark, is_simulated ? now : TIME_NONE};
}

void Engine::enter(Command& command, std::vector<std::byte> record) const {
    if (!is_journaled()) return;
    const TimeNs now = core_->clock->now();
    command.entry = std::make_unique<CommandEntry>();
    command.entry->record = std::move(record);
    command.entry->time = now == TIME_MIN ? 0 : now;
}

void Engine::write_entry(Command& command) {
    CommandEntry& entry = *command.entry;
    engine::Journal& journal = *core_->journal;
    try {
        entry.position.store(entry.record.empty() ? journal.write_mark(entry.clock, entry.time)
                                                  : journal.write(entry.record, entry.time));
    } catch (const Error&) {
        if (!command.runs_halted) throw;
        command.has_halted.store(true);
        entry.position.store(journal.bound() + 1);
    }
}

void Engine::check_journal() const {
    if (is_journaled()) core_->journal->check();
}

void Engine::check_halted(const Command& command) const {
    if (core_->journal && command.has_halted.load()) core_->journal->check();
}

std::uint64_t Engine::position_of(const Command& command) const noexcept {
    if (!command.entry) return 0;
    const std::uint64_t position = command.entry->position.load();
    return command.has_halted.load() ? std::min(position, core_->journal->bound()) : position;
}

std::optional<std::vector<std::byte>> Engine::placed(std::vector<std::byte> checkpoint,
                                                     std::uint64_t position) const {
    if (!core_->journal) return checkpoint;
    wal::Log& log = core_->journal->log();
    // Whoever keeps it must not be ahead of the log after a power cut: no engine could begin then.
    if (log.sync_mode() != wal::SyncMode::none) {
        if (log.state() == wal::LogState::running)
            (void)log.wait_durable(position, engine::NO_DEADLINE);
        else if (log.durable() < position)
            return {};
    }
    if (core_->options.observer) core_->options.observer->settle();
    return engine::put_placed({log.id(), position, checkpoint});
}

std::uint64_t Engine::accepted_position() const noexcept {
    return core_->journal ? core_->journal->bound() : 0;
}

std::uint64_t Engine::note(std::span<const std::byte> data) {
    const Control lock(*this);
    core_->failure.check();
    if (!core_->journal)
        throw Error(ErrorCode::engine_state, "the engine has no log",
                    {{"hint", "give it one when it is made: Engine(wal=...)"}});
    core_->journal->check();
    std::vector<std::byte> record;
    engine::ByteWriter to(record);
    to.put(engine::JournalKind::note);
    to.put_bytes(data.data(), data.size());
    engine::Nothing command;
    enter(command, std::move(record));
    cut(command);
    check_halted(command);
    return command.entry->position.load();
}

std::vector<engine::LaneRecord> Engine::take_recovered_tail() {
    const Control lock(*this);
    return std::exchange(recovered_tail_, {});
}

void Engine::resume() {
    // No cut is on its way then: it would be at two places.
    const Control lock(*this);
    core_->failure.check();
    if (core_->journal) core_->journal->resume();
}

std::optional<engine::JournalStats> Engine::journal_stats() const {
    if (!core_->journal) return {};
    return core_->journal->stats();
}

}  // namespace klineagg
