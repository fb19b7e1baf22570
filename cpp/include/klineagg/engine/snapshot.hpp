// What a consumer gets: frozen rows, and the say about them.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "klineagg/bar_table.hpp"

namespace klineagg {

/// Rises for each consumer, also from one engine to the next.
struct SnapshotId {
    std::int64_t epoch = 0;
    std::int64_t number = 0;
    friend auto operator<=>(const SnapshotId&, const SnapshotId&) = default;
};

/// Rows frozen at one cut, owed to a consumer until it acknowledges them. Movable; a snapshot
/// that is dropped without an ack gives its rows back.
class Snapshot {
public:
    struct State;

    explicit Snapshot(std::unique_ptr<State> state);
    ~Snapshot();
    Snapshot(Snapshot&&) noexcept;
    Snapshot& operator=(Snapshot&&) noexcept;

    [[nodiscard]] const BarTable& closed() const noexcept;
    [[nodiscard]] const BarTable& open() const noexcept;
    /// For who keeps the rows longer than the snapshot.
    [[nodiscard]] std::shared_ptr<const BarTable> share_closed() const noexcept;
    [[nodiscard]] std::shared_ptr<const BarTable> share_open() const noexcept;
    [[nodiscard]] SnapshotId id() const noexcept;
    [[nodiscard]] const std::string& consumer() const noexcept;
    /// The clock's watermark at the cut, TIME_NONE when it was never raised.
    [[nodiscard]] TimeNs watermark() const noexcept;
    /// Closed rows that the bound took before they could be handed out.
    [[nodiscard]] std::uint64_t rows_lost() const noexcept;

    /// Of the last record of the log that is in it; 0 without a log.
    [[nodiscard]] std::uint64_t position() const noexcept;
    /// The engine's state at the cut, for Engine::restore; nullptr when it was not asked for.
    [[nodiscard]] std::shared_ptr<const std::vector<std::byte>> checkpoint() const noexcept;

    /// Commits: the next snapshot begins behind this one. Throws Error(snapshot_over).
    void ack();
    /// The next snapshot has the same rows again. Nothing happens when it is over.
    void nack() noexcept;

private:
    std::unique_ptr<State> state_;
};

/// The open bars of every symbol at one cut.
struct View {
    std::shared_ptr<const BarTable> open;
    TimeNs watermark = TIME_NONE;
    std::uint64_t position = 0;  // see Snapshot::position
};

}  // namespace klineagg
