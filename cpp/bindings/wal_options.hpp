// Options of a write-ahead log as Python gives them.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "klineagg/error.hpp"
#include "klineagg/wal/damage.hpp"
#include "klineagg/wal/format.hpp"

namespace klineagg {

/// Throws Error(invalid_option); `option`: what the user knows it by.
inline wal::SyncMode sync_mode(const std::string& name, const std::string& option) {
    if (name == "none") return wal::SyncMode::none;
    if (name == "interval") return wal::SyncMode::interval;
    if (name == "always") return wal::SyncMode::always;
    throw Error(ErrorCode::invalid_option,
                option + " is 'none', 'interval' or 'always', not '" + name + "'",
                {{"option", option}, {"value", name}});
}

inline const char* sync_name(wal::SyncMode mode) noexcept {
    switch (mode) {
        case wal::SyncMode::none: return "none";
        case wal::SyncMode::interval: return "interval";
        case wal::SyncMode::always: return "always";
    }
    return "unknown";
}

/// Throws Error(wal_record) for a topic that has no records, or that there is not.
inline wal::Topic wal_topic(const std::string& name) {
    const auto topic = wal::topic_of(name);
    if (topic && static_cast<std::uint8_t>(*topic) <= wal::TOPIC_RECORDS_MAX) return *topic;
    throw Error(ErrorCode::wal_record, "a log has no topic '" + name + "'", {{"topic", name}});
}

/// As (path, offset, bytes, first, last).
inline pybind11::list wal_damages(const std::vector<wal::Damage>& damages) {
    pybind11::list out;
    for (const wal::Damage& each : damages)
        out.append(
            pybind11::make_tuple(each.path, each.offset, each.bytes, each.first, each.last));
    return out;
}

}  // namespace klineagg
