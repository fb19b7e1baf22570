// Leaving and taking the GIL, also in a thread that outlives the interpreter.
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

/// The thread has the GIL for as long as this lives, where it can be had: in place of
/// pybind11::gil_scoped_acquire in a destructor or a callback of another library, which die as said
/// above. Once the interpreter ends it cannot be had, and what it guards has to be left alone.
class GilTaken {
public:
    GilTaken() noexcept : held_(!interpreter_ends()) {
        if (!held_) return;
        try {
            state_ = PyGILState_Ensure();
        } catch (...) {  // the end has begun while this waited for its turn
            while (true) (void)pause();
        }
    }
    ~GilTaken() {
        if (held_) PyGILState_Release(state_);
    }
    GilTaken(const GilTaken&) = delete;
    GilTaken& operator=(const GilTaken&) = delete;

    [[nodiscard]] bool held() const noexcept { return held_; }

private:
    static bool interpreter_ends() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
        return Py_IsInitialized() == 0 || Py_IsFinalizing() != 0;
#else
        return Py_IsInitialized() == 0 || _Py_IsFinalizing() != 0;
#endif
    }

    bool held_;
    PyGILState_STATE state_{};
};

using ReleaseGil = pybind11::call_guard<GilReleased>;

}  // namespace klineagg
