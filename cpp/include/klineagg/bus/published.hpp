// What the logs of topics say was published of an engine's log, so that an engine that replays its
// log publishes the rest, and nothing twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "klineagg/bus/records.hpp"
#include "klineagg/engine/observer.hpp"

namespace klineagg::bus {

/// Which records of the topics' logs under a folder came out of which log of an engine: a file
/// beside them. Records of an earlier engine's log have numbers that mean something else now.
class FeedOrigin {
public:
    /// Reads the file; `log`: that of the engine. Throws bus_unavailable when it cannot be written.
    FeedOrigin(std::string root, std::string log);
    [[nodiscard]] bool knows(const std::string& name) const {
        return is_same_ || firsts_.contains(name);
    }
    /// The first record of "topic@publisher" that came out of this log; `next`: where the topic's
    /// log ends now, where what is new begins.
    std::uint64_t first(const std::string& name, std::uint64_t next);
    void save() const;

private:
    std::string path_;
    std::string log_;
    bool is_same_ = false;  // the log is the one that was there before
    std::map<std::string, std::uint64_t> firsts_;
};

/// Filled once, before a replay. A symbol's trades and bars come in the same order whenever its
/// log is replayed, and a block of trades has one position: so a position and a count say of a
/// symbol which trades were published, and its key says it of a bar.
class Published {
public:
    explicit Published(const engine::ReplayRange& range) : range_(range) {}

    /// A record out of a topic's log, in its order.
    void add(const TradeEvent& event);
    void add(const Bar& bar);

    /// How many of the first `count` accepted trades of a block were published. In their order.
    [[nodiscard]] std::size_t skip_trades(std::string_view instrument, std::uint64_t position,
                                          std::size_t count);
    [[nodiscard]] bool has(const Bar& bar) const { return bars_.contains(key_of(bar)); }

private:
    struct Last {
        std::uint64_t position = 0;
        std::size_t count = 0;  // of that block
    };

    [[nodiscard]] bool is_replayed(std::uint64_t origin) const noexcept {
        return origin > range_.after && origin < range_.end;
    }
    static std::string key_of(const Bar& bar);

    engine::ReplayRange range_;
    std::unordered_map<std::string, Last> trades_;
    std::unordered_set<std::string> bars_;
};

}  // namespace klineagg::bus
