#include "klineagg/bus/tombstone.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "klineagg/error.hpp"

namespace klineagg::bus {

Tombstone Tombstone::of(const RingHeader& header) noexcept {
    return {header.tail.load(std::memory_order_acquire),
            header.generation.load(std::memory_order_relaxed), header.origin_created,
            header.origin_sequence};
}

Tombstone Tombstone::read(const std::string& path) {
    Tombstone last;
    std::ifstream file(path);
    if (!(file >> last.sequence >> last.generation)) return {};
    // Earlier versions wrote no more than these.
    if (!(file >> last.origin_created >> last.origin_sequence))
        last.origin_created = 0;
    return last;
}

void Tombstone::write(const std::string& path, const Access& access) const {
    const std::string draft = path + ".new";
    const auto fail = [&] {
        throw Error(ErrorCode::bus_unavailable, "cannot write " + path, {{"path", path}});
    };
    {
        std::ofstream file(draft, std::ios::trunc);
        file << sequence << ' ' << generation << ' ' << origin_created << ' ' << origin_sequence
             << '\n';
        if (!file.flush()) fail();
    }
    // Whoever of the group publishes under this name next has to go on with the sequence.
    if (access.group >= 0 &&
        (::chown(draft.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(access.group)) != 0 ||
         ::chmod(draft.c_str(), 0640) != 0))
        fail();
    if (std::rename(draft.c_str(), path.c_str()) != 0) fail();
}

}  // namespace klineagg::bus
