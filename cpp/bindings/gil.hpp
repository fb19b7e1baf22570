// Leaving the GIL, also in a thread that outlives the interpreter.
#pragma once

#include <Python.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

namespace klineagg {

/// Takes the GIL back. Once the interpreter ends it is nobody's any more: CPython before 3.14 then
/// ends the thread with pthread_exit, which unwinds the stack like an exception, and in a
/// destructor that is std::terminate for the whole process. The thread is parked in its place, as
/// CPython 3.14 does, and goes with the process.
inline void take_gil_back(PyThreadState* state) noexcept {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        // Leaving this block would go on unwinding, or abort: "exception not rethrown".
        while (true) (void)pause();
    }
}

/// The thread does not have the GIL for as long as this lives. In place of
/// pybind11::gil_scoped_release, which dies as said above. Hold no lock around it: a parked
/// thread keeps what it has.
class GilReleased {
public:
    GilReleased() noexcept : state_(PyEval_SaveThread()) {}
    ~GilReleased() { take_gil_back(state_); }
    GilReleased(const GilReleased&) = delete;
    GilReleased& operator=(const GilReleased&) = delete;

private:
    PyThreadState* state_;
};

using ReleaseGil = pybind11::call_guard<GilReleased>;

}  // namespace klineagg
