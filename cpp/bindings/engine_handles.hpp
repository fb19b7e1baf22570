// What Python holds of an engine; none of it may be used or destroyed in a forked child.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "fork_guard.hpp"
#include "klineagg/engine.hpp"

namespace klineagg {

using EngineHandle = ForkGuarded<Engine>;
using SnapshotHandle = ForkGuarded<Snapshot>;

class ProducerHandle : public ForkGuarded<Producer> {
public:
    ProducerHandle(std::shared_ptr<Producer> producer, DurationNs timeout)
        : ForkGuarded(std::move(producer)), timeout_ns(timeout) {}

    std::atomic<DurationNs> timeout_ns;  // of calls that name none
    pybind11::object extend = pybind11::none();  // makes the tables of the intervals longer
};

inline pybind11::bytes bytes_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace klineagg
