#include "bindings/gil.h"

#include <unistd.h>

namespace tfminimize::bindings {
namespace {

[[noreturn]] void wait_for_exit() {
  while (true) pause();
}

template <typename Take>
auto take_or_wait(const Take& take) {
  try {
    return take();
  } catch (...) {  // Python ends this thread; that is no exception object that a catch could name
    wait_for_exit();
  }
}

}  // namespace

GilHeld::GilHeld() : state_(take_or_wait([] { return PyGILState_Ensure(); })) {}

GilHeld::~GilHeld() {
  // Python code may have released the GIL and not got it back: then Python is ending this thread.
  if (PyGILState_Check() == 0) wait_for_exit();
  PyGILState_Release(state_);
}

GilReleased::~GilReleased() {
  take_or_wait([&] { PyEval_RestoreThread(thread_); });
}

}  // namespace tfminimize::bindings
