// What nobody needs any more in the folder of a bus, removed beside those who live there.
#pragma once

#include <cstddef>

#include "klineagg/bus/topic.hpp"
#include "klineagg/time.hpp"

namespace klineagg::bus {

/// Removes segments of a topic's publishers that died longer ago than `orphan_after`, and what was
/// left half made. Where their sequence goes on is kept. The number of files removed.
std::size_t remove_orphans(Topic& topic, DurationNs orphan_after);

/// As remove_orphans(), of all topics; then the control segments of topics that have no ring and
/// that nobody has open. What other users' files refuse is left.
std::size_t clean_folder(const Folder& folder, DurationNs orphan_after);

/// Forgets where the sequences of removed publishers go on, if that was noted longer ago than
/// `older_than`: they begin anew. Topics that anybody has open keep their notes, since readers
/// there wait at the sequence. The number of files removed.
std::size_t forget_sequences(const Folder& folder, DurationNs older_than);

}  // namespace klineagg::bus
