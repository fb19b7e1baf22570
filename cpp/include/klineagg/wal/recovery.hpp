// What a log ends with, after whatever ended its last writer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "klineagg/wal/segment.hpp"

namespace klineagg::wal {

struct Recovery {
    Uuid log{};                      // a new one for an empty log
    Sequence next = 1;               // the number of the next record
    std::uint64_t number = 0;        // of the last segment
    Sequence last_segment = 0;       // its first record; 0: there is none
    bool is_sealed = false;          // the last writer closed the log
    std::uint64_t cut_bytes = 0;     // of the torn tail
    std::uint64_t cut_records = 0;   // whole ones that a power cut left behind a hole
    std::vector<Damage> damages;     // what salvage went past
    std::vector<std::string> blank;  // segments of which nothing was written before a power cut

    // Where the last segment's good frames end, and from where on they may not be on the disk.
    std::string path;
    std::uint64_t end = 0;
    std::uint64_t unsynced_from = 0;
    bool was_synced = true;  // its writer synced at all
};

/// Looks at the end of a log and changes nothing. Throws wal_damaged when there is damage that no
/// crash explains, unless `salvage`.
[[nodiscard]] Recovery recover(FileSystem& files, const std::string& directory, bool salvage);

/// Cuts off what is torn. With `sync`, what is left is on the disk when it returns. May be
/// interrupted and repeated at any point.
void repair(FileSystem& files, const std::string& directory, const Recovery& recovery, bool sync);

}  // namespace klineagg::wal
