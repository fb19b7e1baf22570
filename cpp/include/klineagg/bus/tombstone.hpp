// What is left of a publisher whose segment was removed: where its sequence goes on.
#pragma once

#include <cstdint>
#include <string>

#include "klineagg/bus/ring.hpp"
#include "klineagg/bus/segment.hpp"
#include "klineagg/time.hpp"

namespace klineagg::bus {

struct Tombstone {
    std::uint64_t sequence = 0;  // 0: there is none
    std::uint64_t generation = 0;
    // As in the header of the ring, so that a subscriber that never saw it counts what was in it.
    TimeNs origin_created = 0;
    std::uint64_t origin_sequence = 0;

    static Tombstone of(const RingHeader& header) noexcept;
    /// None, also where this user may not read it.
    static Tombstone read(const std::string& path);
    /// Readable for whom `access` names. Throws bus_unavailable.
    void write(const std::string& path, const Access& access) const;
};

}  // namespace klineagg::bus
