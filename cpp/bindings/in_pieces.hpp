// Waiting that Ctrl-C ends.
#pragma once

#include <algorithm>
#include <optional>

#include "gil.hpp"
#include "klineagg/engine/clock.hpp"
#include "klineagg/time.hpp"

namespace klineagg {

/// Python's signal handlers run in between, so this is how long Ctrl-C may take.
inline constexpr DurationNs PIECE_NS = NS_PER_SECOND / 10;

/// Calls `attempt(timeout_ns)` without the GIL until it says true. False when `timeout` is over
/// first (none: it never is). Throws what a signal's handler raises.
template <class Attempt>
bool in_pieces(std::optional<DurationNs> timeout, Attempt&& attempt) {
    const engine::MonotonicNs start = engine::monotonic_ns();
    while (true) {
        DurationNs piece = PIECE_NS;
        if (timeout) {
            const DurationNs left = *timeout - (engine::monotonic_ns() - start);
            piece = std::clamp<DurationNs>(left, 0, PIECE_NS);
        }
        bool done = false;
        {
            const GilReleased released;
            done = attempt(piece);
        }
        if (done) return true;
        if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
        if (timeout && piece < PIECE_NS) return false;
    }
}

}  // namespace klineagg
