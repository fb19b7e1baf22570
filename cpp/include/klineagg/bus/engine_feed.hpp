// What an engine publishes, from its workers: accepted trades, closed bars, open bars.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/bus/feed_outlet.hpp"
#include "klineagg/bus/published.hpp"
#include "klineagg/bus/topic.hpp"
#include "klineagg/engine/observer.hpp"

namespace klineagg::bus {

struct EngineFeedOptions {
    std::string name = "engine";  // of the publisher; of several "<name>-0" and so on
    // Topics; empty: not published. Closed and open bars may share one.
    std::string trades;
    std::string bars = "bars";
    std::string open_bars;
    DurationNs open_interval_ns = 100'000'000;  // an open bar at most so often
    int publishers = 1;                         // of each topic, up to PUBLISHERS_MAX
    std::size_t ring_bytes = 0;                 // of each; 0: the topic's default
    /// Folder of the logs of the topics, whose numbers are the sequences; empty: none. The topic of
    /// open bars has one only where closed bars are in it, too.
    std::string log_root;
    wal::LogOptions log;
};

struct EngineFeedCounts {
    std::uint64_t trades = 0;
    std::uint64_t bars = 0;
    std::uint64_t open_bars = 0;
    std::uint64_t unnamed = 0;  // records left out: the name of symbol or interval does not fit
};

/// An option of the engine (EngineOptions::observer). A symbol has one publisher in each topic,
/// by its name: whatever worker it moves to, its records stay in one ring, in their order.
class EngineFeed final : public engine::Observer {
public:
    /// Throws what Publisher and LoggedPublisher throw, and invalid_option.
    EngineFeed(const Folder& folder, EngineFeedOptions options);
    ~EngineFeed() override;

    std::unique_ptr<engine::WorkerObserver> worker(const engine::Core& core,
                                                   std::uint32_t id) override;
    [[nodiscard]] EngineFeedCounts counts() const noexcept;
    [[nodiscard]] const EngineFeedOptions& options() const noexcept { return options_; }
    /// The next sequence of each publisher, as "topic@name". Any thread.
    [[nodiscard]] std::map<std::string, std::uint64_t> next_sequences() const;
    /// With logs: an engine that goes on from its own log publishes what the one before it had
    /// accepted and not published, each record once.
    bool replaying(const engine::ReplayRange& range) override;
    void replayed() override;
    void settle() override;
    /// Readers are told that nothing more comes.
    void stopped() noexcept override;

private:
    friend class EngineFeedWorker;
    using Publishers = std::vector<std::unique_ptr<FeedOutlet>>;
    enum Kind : std::size_t { TRADES, BARS, OPEN_BARS, KINDS };

    Publishers* publishers_of(const Folder& folder, const std::string& topic, const char* type);

    EngineFeedOptions options_;
    std::map<std::string, Publishers> topics_;
    std::array<Publishers*, KINDS> of_{};  // nullptr: not published
    std::array<std::atomic<std::uint64_t>, KINDS> sent_{};
    std::atomic<std::uint64_t> unnamed_{0};
    std::unique_ptr<Published> published_;  // while an engine replays its log
};

/// Which of so many publishers a symbol has: of its name alone, so that it keeps it for ever.
[[nodiscard]] std::size_t publisher_of(std::string_view symbol, std::size_t publishers) noexcept;
/// Trade ids as text: "17", of an aggregated trade "17-21", "" of none.
void set_trade_id(char (&field)[40], std::int64_t first, std::int64_t last) noexcept;

}  // namespace klineagg::bus
