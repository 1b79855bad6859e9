#ifndef TFMINIMIZE_BINDINGS_GIL_H_
#define TFMINIMIZE_BINDINGS_GIL_H_

#include <pybind11/pybind11.h>

namespace tfminimize::bindings {

// These replace pybind11's classes because of daemon threads. If such a thread asks for the GIL while the interpreter
// shuts down, Python before 3.14 unwinds its stack, and the first destructor or noexcept function on the way then ends
// the process (std::terminate). With these classes the thread waits until the process ends, as in Python 3.14.

/// Holds the GIL while it lives.
class GilHeld {
 public:
  GilHeld();
  ~GilHeld();
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
