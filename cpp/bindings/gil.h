#ifndef TFMINIMIZE_BINDINGS_GIL_H_
#define TFMINIMIZE_BINDINGS_GIL_H_

#include <pybind11/pybind11.h>

namespace tfminimize::bindings {

// Instead of pybind11's classes: in a daemon thread that asks for the GIL when the interpreter ends, Python before 3.14
// unwinds the stack, which ends the process (std::terminate) at the first destructor or noexcept function. With these
// the thread waits for the end of the process, as it does from Python 3.14 on.

/// Holds the GIL while it lives.
class GilHeld {
 public:
  GilHeld();
  ~GilHeld() { PyGILState_Release(state_); }
  GilHeld(const GilHeld&) = delete;
  GilHeld& operator=(const GilHeld&) = delete;

 private:
  PyGILState_STATE state_;
};

/// Gives up the GIL, which the thread holds, while it lives.
class GilReleased {
 public:
  GilReleased() : thread_(PyEval_SaveThread()) {}
  ~GilReleased();
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* thread_;
};

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_GIL_H_
