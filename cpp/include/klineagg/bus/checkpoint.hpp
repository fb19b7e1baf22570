// Where a resumable subscriber is, in a file: the same one for C++ and Python.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "klineagg/file.hpp"

namespace klineagg::bus {

/// Publisher -> the next sequence of it.
using Positions = std::map<std::string, std::uint64_t>;

/// Positions in a file, replaced as a whole: a crash leaves the old ones or the new ones. Beside
/// it, "<path>.seen" has what was handed out since, for the marks of repeats.
class Checkpoint {
public:
    /// Throws file_not_found when its folder is not there: before anything is received that it
    /// could not keep.
    explicit Checkpoint(std::string path);

    /// Empty when there is no file yet. Throws file_format, wal_io.
    [[nodiscard]] Positions load() const;
    /// On the disk when it returns. Throws wal_io.
    void save(const Positions& positions) const;
    /// What was handed out at last, saved or not: what lies below may have had its effect.
    [[nodiscard]] Positions load_seen() const;
    /// Survives the death of the process, not that of the machine: nothing is synced.
    void save_seen(const Positions& positions);

private:
    std::string path_;
    std::unique_ptr<File> seen_;
};

}  // namespace klineagg::bus
