#include <memory>

#include "bindings/call.h"

namespace tfminimize::bindings {

void register_call(py::module_& m) {
  py::class_<PyCall, std::shared_ptr<PyCall>>(m, "Call", R"(A compiled function and its inputs.

inputs: in the order of the function's signature. Each is an EagerTensor, which is passed as it is, the index of a
component of x, which is passed by value, or, for a DataSum, None: rows of the data.)");
}

}  // namespace tfminimize::bindings
