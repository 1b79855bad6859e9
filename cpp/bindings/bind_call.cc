#include <memory>

#include "bindings/call.h"

namespace tfminimize::bindings {

void register_call(py::module_& m) {
  py::class_<PyCall, std::shared_ptr<PyCall>>(m, "Call", R"(A compiled function, and what it is called with.

inputs: in the order of the function's signature, an EagerTensor that is passed as it is, or the index of a component of
x that is passed by value.)");
}

}  // namespace tfminimize::bindings
