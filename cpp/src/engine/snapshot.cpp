#include "snapshot_state.hpp"

namespace klineagg {

Snapshot::Snapshot(std::unique_ptr<State> state) : state_(std::move(state)) {}
Snapshot::Snapshot(Snapshot&&) noexcept = default;
Snapshot::~Snapshot() { nack(); }

Snapshot& Snapshot::operator=(Snapshot&& other) noexcept {
    nack();
    state_ = std::move(other.state_);
    return *this;
}

const BarTable& Snapshot::closed() const noexcept { return *state_->closed; }
const BarTable& Snapshot::open() const noexcept { return *state_->open; }
std::shared_ptr<const BarTable> Snapshot::share_closed() const noexcept { return state_->closed; }
std::shared_ptr<const BarTable> Snapshot::share_open() const noexcept { return state_->open; }
SnapshotId Snapshot::id() const noexcept { return state_->id; }
const std::string& Snapshot::consumer() const noexcept { return state_->consumer; }
TimeNs Snapshot::watermark() const noexcept { return state_->watermark; }
std::uint64_t Snapshot::position() const noexcept { return state_->position; }
std::uint64_t Snapshot::rows_lost() const noexcept { return state_->rows_lost; }
std::shared_ptr<const std::vector<std::byte>> Snapshot::checkpoint() const noexcept {
    return state_->checkpoint;
}

void Snapshot::ack() {
    state_->snapshotter->ack(state_->consumer, state_->id, state_->core->clock->now());
    engine::Journal* const journal = state_->core->journal.get();
    if (journal != nullptr && state_->checkpoint)
        journal->commit(state_->consumer, state_->position, *state_->checkpoint);
}

void Snapshot::nack() noexcept {
    if (state_) state_->snapshotter->nack(state_->consumer, state_->id);
}

}  // namespace klineagg
