#include <pybind11/pybind11.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace py = pybind11;

namespace tfminimize::bindings {
namespace {

std::atomic<int> running{0};

/// Ends the process without the destructors of static objects, which a thread may still use. Python has ended before.
[[maybe_unused]] void exit_at_once(int status, void* /*unused*/) {
  if (running == 0) return;
  std::fflush(nullptr);
  _exit(status);
}

void begin_background_work() {
#ifdef __GLIBC__
  [[maybe_unused]] static const int registered = on_exit(&exit_at_once, nullptr);
#endif
  ++running;
}

void end_background_work() { --running; }

}  // namespace

void register_background(py::module_& m) {
  m.def("begin_background_work", &begin_background_work,
        "A thread begins work that cannot be interrupted: if the process ends meanwhile, it does not wait for the end "
        "of the work, and leaves out the destructors of static objects.");
  m.def("end_background_work", &end_background_work, "The work has ended.");
}

}  // namespace tfminimize::bindings
