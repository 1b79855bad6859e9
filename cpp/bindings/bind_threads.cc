#include <pybind11/pybind11.h>

#include "solvers/machine.h"
#include "solvers/threads.h"

namespace tfminimize::bindings {

void register_threads(pybind11::module_& m) {
  m.def("set_num_threads", &solvers::set_num_threads, pybind11::arg("num_threads"),
        "Lets the solvers work on long vectors in so many threads from now on; 0: in as many as this process may use "
        "cores.");
  m.def("available_memory", &solvers::available_memory, "How many bytes of memory this process may still take.");
  m.def("get_num_threads", &solvers::num_threads, "The number of threads that the solvers work on long vectors in.");
}

}  // namespace tfminimize::bindings
