// What an engine writes into its log beside trades, for people.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#include "klineagg/wal/segment.hpp"

namespace klineagg {

/// (kind, values by name) of a record of an engine; None for those of others, and for those that
/// this version cannot read. Times and durations are ns, None where there is none.
pybind11::object wal_event_of(const wal::FrameHeader& header, Bytes payload);

}  // namespace klineagg
