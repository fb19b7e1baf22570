// What is wrong in a log, and where.
#pragma once

#include <cstdint>
#include <string>

#include "klineagg/error.hpp"
#include "klineagg/wal/format.hpp"

namespace klineagg::wal {

/// Bytes that are not what was written.
struct Damage {
    std::string path;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    Sequence first = 0;  // the records that are lost with them: first ... last
    Sequence last = 0;   // below `first`: none is

    [[nodiscard]] bool loses_records() const noexcept { return last >= first; }
    [[nodiscard]] std::string text() const;
    /// wal_damaged, with all of it as fields.
    [[nodiscard]] Error error() const;
};

}  // namespace klineagg::wal
