// Trades that an engine found in its log, and that their source will tell once more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "klineagg/engine/lane_record.hpp"

namespace klineagg::engine {

/// Those behind the place at which the source is read on. Equal trades are as good as each other,
/// so it does not matter in which order they come.
class RecoveredTail {
public:
    /// `symbol` of a record is the symbol's id.
    explicit RecoveredTail(const std::vector<LaneRecord>& records) {
        for (const LaneRecord& record : records) ++rows_[Key::of(record)];
        left_ = records.size();
    }
    [[nodiscard]] std::size_t left() const noexcept { return left_; }
    /// True for a trade that is in the log already; once for each time that it is there.
    bool take(std::int32_t symbol, const Trade& trade) {
        if (left_ == 0 || !fits_lane(trade)) return false;
        const auto place = rows_.find(Key::of(to_record(trade, symbol, 0, 0)));
        if (place == rows_.end()) return false;
        if (--place->second == 0) rows_.erase(place);
        --left_;
        return true;
    }

private:
    struct Key {
        LaneRecord record;

        static Key of(LaneRecord record) noexcept {
            record.pushed_tick = 0;
            record.source = 0;
            return {record};
        }
        [[nodiscard]] std::string_view bytes() const noexcept {
            return {reinterpret_cast<const char*>(&record), sizeof record};
        }
        bool operator==(const Key& other) const noexcept { return bytes() == other.bytes(); }
    };
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept {
            return std::hash<std::string_view>()(key.bytes());
        }
    };

    std::unordered_map<Key, std::uint32_t, Hash> rows_;
    std::size_t left_ = 0;
};

}  // namespace klineagg::engine
