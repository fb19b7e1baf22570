// What Python holds of the bus.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "gil.hpp"
#include "klineagg/bus/delayed.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/engine/clock.hpp"
#include "klineagg/error.hpp"

namespace klineagg {

// Copies below this many bytes are over before another thread could have had the GIL.
inline constexpr std::size_t BUS_SMALL_COPY_BYTES = 1 << 16;
// How long a wait goes on before it looks whether the user has pressed Ctrl-C.
inline constexpr DurationNs BUS_WAIT_STEP_NS = 100'000'000;

/// A subscriber is for one thread at a time; Python threads take turns by the mutex, which is
/// never asked for with the GIL in hand.
struct BusSubscriberHandle {
    std::mutex mutex;
    bus::Subscriber subscriber;
    std::unique_ptr<bus::Delayed> delayed;

    BusSubscriberHandle(const bus::Folder& folder, const std::string& topic,
                        const bus::RecordType& type, const bus::SubscriberOptions& options)
        : subscriber(folder, topic, type, options) {}
};

inline bus::Folder bus_folder(const std::string& path, std::int64_t group) {
    bus::Access access;
    access.group = group;
    return bus::Folder(path, access);
}

/// Takes the mutex with the GIL let go of meanwhile: its owner may be waiting for the GIL.
inline std::unique_lock<std::mutex> bus_turn(std::mutex& mutex) {
    std::unique_lock lock(mutex, std::try_to_lock);
    if (!lock.owns_lock()) {
        const GilReleased released;
        lock.lock();
    }
    return lock;
}

/// Throws invalid_option.
inline bus::SubscriberOptions bus_subscriber_options(
    const std::string& name, const std::string& wait, const std::string& start,
    const std::map<std::string, std::uint64_t>& from) {
    bus::SubscriberOptions options;
    options.name = name;
    if (wait != "spin" && wait != "backoff" && wait != "park") {
        throw Error(ErrorCode::invalid_option,
                    "wait is 'spin', 'backoff' or 'park', not '" + wait + "'", {{"wait", wait}});
    }
    if (wait != "park")
        options.wait = wait == "spin" ? engine::WaitKind::spin : engine::WaitKind::backoff;
    if (start != "latest" && start != "oldest") {
        throw Error(ErrorCode::invalid_option,
                    "start is 'latest' or 'oldest', not '" + start + "'", {{"start", start}});
    }
    options.start = start == "oldest" ? bus::Start::oldest : bus::Start::latest;
    options.from = from;
    return options;
}

inline engine::MonotonicNs bus_deadline(std::optional<double> timeout_s) {
    if (!timeout_s || *timeout_s > 1e9) return engine::NO_DEADLINE;
    return engine::deadline_after(static_cast<DurationNs>(std::max(*timeout_s, 0.0) * 1e9));
}

/// `step(deadline)` with the mutex and without the GIL, again and again, until it is true or the
/// time is over.
template <class Step>
bool bus_wait_in_steps(std::mutex& mutex, std::optional<double> timeout_s, Step&& step) {
    const engine::MonotonicNs deadline = bus_deadline(timeout_s);
    while (true) {
        bool done = false;
        {
            const GilReleased released;
            const std::lock_guard lock(mutex);
            done = step(std::min(deadline, engine::deadline_after(BUS_WAIT_STEP_NS)));
        }
        if (done) return true;
        if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
        if (engine::monotonic_ns() >= deadline) return false;
    }
}

}  // namespace klineagg
