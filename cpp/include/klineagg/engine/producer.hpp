// A producer: where trades come in. It owns one lane to each worker.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/admission.hpp"
#include "klineagg/engine/core.hpp"
#include "klineagg/engine/intake.hpp"
#include "klineagg/trade_columns.hpp"

namespace klineagg {

namespace engine {
class Worker;
}

/// Why an engine refuses a row, behind the reasons of RejectReason.
enum class EngineReject : std::uint8_t {
    time_ahead = REJECT_REASONS,  // more than max_ahead past the clock
    symbol_unknown,               // and unknown ones are not admitted
};
inline constexpr std::size_t ENGINE_REJECT_REASONS = REJECT_REASONS + 2;
std::string_view engine_reason_name(std::size_t reason) noexcept;

struct RejectedRow {
    std::size_t row;
    std::uint8_t reason;
};

/// offered == queued + rejected + dropped + timed_out_rows; the rows that timed out are the last.
struct PushResult {
    std::size_t offered = 0;
    std::size_t queued = 0;
    std::size_t rejected = 0;
    std::size_t dropped = 0;
    std::size_t timed_out_rows = 0;  // lanes stayed full for longer than the timeout: not taken

    /// Rows from the front about which everything is said; push the others again.
    [[nodiscard]] std::size_t settled_rows() const noexcept { return offered - timed_out_rows; }
};

enum class PushOne : std::uint8_t {
    queued,
    rejected,
    dropped,  // by the lane's policy
    beyond_tables,  // its time is outside of Engine::replace_tables' reach: nothing was taken
    full,     // no room, or the producer is in use just now: nothing was taken; push() waits
};

/// A producer's rows at one moment:
/// offered == accepted + rejected + refused + dropped_newest + dropped_oldest + in_flight.
struct ProducerStats {
    struct Lane {
        std::size_t worker = 0;
        std::size_t capacity = 0;
        engine::LanePolicy policy = engine::LanePolicy::block;
        engine::LaneCounts counts;
    };

    std::string name;
    std::uint16_t source = 0;
    std::uint64_t offered = 0;   // taken, dropped or rejected; not what a push left
    std::uint64_t accepted = 0;  // applied to bars
    std::uint64_t in_flight = 0;
    std::uint64_t dropped_newest = 0;
    std::uint64_t dropped_oldest = 0;
    engine::LaneRefused refused;  // by the worker
    std::array<std::uint64_t, ENGINE_REJECT_REASONS> rejected{};  // by push
    std::vector<Lane> lanes;      // of today; the counts above are of all there were

    [[nodiscard]] std::uint64_t rejected_total() const noexcept;
};

/// Used by one thread at a time; a second one waits until the first has pushed.
class Producer {
public:
    Producer(std::shared_ptr<engine::Core> core, std::string name, std::uint16_t source,
             std::vector<engine::Worker*> workers);

    /// Judges, routes and queues a batch. Bad rows are counted and left out; with `rejected`
    /// they are handed back too. Throws Error(worker_failed), Error(engine_state).
    /// `timeout` in place of the engine's block timeout.
    PushResult push(const TradeColumns& trades, std::vector<RejectedRow>* rejected = nullptr,
                    std::optional<DurationNs> timeout = {});
    /// One trade, by the same rules. Never waits. `reason` is set for one that is rejected. Throws
    /// as push does.
    PushOne push_one(std::int32_t symbol, const Trade& trade, std::uint8_t* reason = nullptr);
    /// Waits until all that was pushed before is applied; false when `timeout` is over. Throws
    /// Error(worker_failed).
    bool flush(std::optional<DurationNs> timeout = {}) const;
    [[nodiscard]] ProducerStats stats() const;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint16_t source() const noexcept { return source_; }
    [[nodiscard]] std::array<std::int64_t, ENGINE_REJECT_REASONS> rejected() const noexcept;

    // --- The engine ---

    static constexpr std::size_t STAGE_ROWS = 512;  // 24 KiB: they stay in the first-level cache
    /// Rows on their way to one worker.
    struct Stage {
        std::array<engine::LaneRecord, STAGE_ROWS> records;
        std::size_t size = 0;
    };

    [[nodiscard]] const std::vector<std::shared_ptr<engine::Intake>>& intakes() const noexcept {
        return intakes_;
    }
    /// Closes the gates of all lanes behind one row of this producer.
    void close_gates() noexcept;
    /// Keeps the producer outside of its blocks until release(); false at the deadline.
    bool hold(engine::MonotonicNs deadline) noexcept;
    void release() noexcept;
    /// As close_gates, of a producer that is held.
    void close_gates_held() noexcept;
    /// A lane to the worker at a place, to be installed; throws std::bad_alloc.
    [[nodiscard]] std::shared_ptr<engine::Intake> make_intake(std::size_t place,
                                                              std::size_t capacity) const;
    /// What a producer has for each worker, in order of place.
    struct Lanes {
        std::vector<std::shared_ptr<engine::Intake>> intakes;
        std::vector<engine::Worker*> workers;
        std::vector<std::unique_ptr<Stage>> stages;  // as many as may be needed: see prepare
    };
    /// The memory that install() needs. Throws std::bad_alloc.
    void prepare(Lanes& lanes);
    /// Of a producer that is held, with its gates closed: exchanges the lanes. The rows that it
    /// has staged go by the routes as they are when it goes on.
    void install(Lanes& lanes) noexcept;
    /// Of a producer that is held: whether rows of a slot wait for room.
    [[nodiscard]] bool has_staged(std::uint32_t slot) const noexcept;
    [[nodiscard]] std::size_t staged_rows() const noexcept;
    /// From its next block on it takes no more rows.
    void retire() noexcept { retired_.store(true); }
    /// Until no thread is in a push. Throws Error(worker_failed).
    void wait_until_outside(const engine::Failure& failure) const;
    /// Memory of its lanes and of what it stages.
    [[nodiscard]] std::size_t bytes() const;

private:
    static constexpr int OUTSIDE = 0;
    static constexpr int PUSHING = 1;  // in the middle of a block
    static constexpr int HELD = 2;     // the engine keeps it outside for a moment

    class Turn;
    class Section;

    template <class Rows>
    void push_rows(const TradeColumns& trades, const Rows& rows, PushResult& result,
                   std::vector<RejectedRow>* rejected);
    bool judge(const TradeColumns& trades, std::size_t row, TimeNs ahead,
               std::vector<RejectedRow>* rejected);
    void reject(std::size_t row, std::size_t reason, std::vector<RejectedRow>* rejected);
    void count_rejects() noexcept;
    void clear_block() noexcept;
    PushOne push_in_section(std::int32_t symbol, const Trade& trade, std::uint8_t& reason);
    std::uint8_t judge_one(std::int32_t symbol, const Trade& trade);
    void keep_counts_of(const std::vector<std::shared_ptr<engine::Intake>>& intakes);
    std::uint64_t route_new(std::int32_t symbol);
    void stage(const engine::Route& route, const Trade& trade) noexcept;
    bool wait_for_room(Section& section);
    bool flush_stages(Section& section, PushResult& result);
    void restage() noexcept;
    void queue(std::size_t worker, PushResult& result);
    void commit() noexcept;
    [[nodiscard]] TimeNs ahead_limit() const noexcept;

    std::shared_ptr<engine::Core> core_;
    std::string name_;
    std::uint16_t source_;
    std::uint32_t tick_ = 0;  // of the block that is being pushed
    std::uint32_t ones_ = 0;  // rows that came one by one
    TimeNs ahead_ = TIME_NONE;  // the limit for times as it was last; it only rises
    DurationNs timeout_ns_ = 0;
    std::array<std::uint32_t, ENGINE_REJECT_REASONS> block_rejects_{};  // not counted yet
    std::vector<engine::Worker*> workers_;
    std::vector<std::shared_ptr<engine::Intake>> intakes_;  // by worker
    std::size_t stage_rows_;  // at most half of a lane, also of the smallest to come
    std::vector<std::unique_ptr<Stage>> stages_;  // never fewer than there are lanes
    engine::CutBoard board_;
    engine::CutBoard::Positions positions_{};
    std::array<std::atomic<std::int64_t>, ENGINE_REJECT_REASONS> rejected_{};
    // Every lane there was: those that are gone only until they are empty, then as sums.
    mutable std::mutex all_;
    mutable std::vector<std::shared_ptr<engine::Intake>> all_intakes_;
    mutable ProducerStats gone_;
    std::atomic<bool> retired_{false};
    std::atomic<bool> taken_{false};  // by the thread that pushes a batch
    alignas(128) std::atomic<int> section_{OUTSIDE};
};

}  // namespace klineagg
