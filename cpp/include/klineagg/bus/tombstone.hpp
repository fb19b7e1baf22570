// What is left of a publisher whose segment was removed: where its sequence goes on.
#pragma once

#include <cstdint>
#include <string>

#include "klineagg/bus/ring.hpp"
#include "klineagg/time.hpp"

namespace klineagg::bus {

struct Tombstone {
    std::uint64_t sequence = 0;  // 0: there is none
    std::uint64_t generation = 0;
    // As in the header of the ring, so that a subscriber that never saw it counts what was in it.
    TimeNs origin_created = 0;
    std::uint64_t origin_sequence = 0;

    static Tombstone of(const RingHeader& header) noexcept;
    static Tombstone read(const std::string& path);
    /// Throws bus_unavailable.
    void write(const std::string& path) const;
};

}  // namespace klineagg::bus
