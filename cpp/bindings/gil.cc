#include "bindings/gil.h"

#include <unistd.h>

namespace tfminimize::bindings {
namespace {

template <typename Take>
auto take_or_wait(const Take& take) {
  try {
    return take();
  } catch (...) {  // Python ends this thread; that is no exception object that a catch could name
    while (true) pause();
  }
}

}  // namespace

GilHeld::GilHeld() : state_(take_or_wait([] { return PyGILState_Ensure(); })) {}

GilReleased::~GilReleased() {
  take_or_wait([&] { PyEval_RestoreThread(thread_); });
}

}  // namespace tfminimize::bindings
