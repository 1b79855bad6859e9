#ifndef TFMINIMIZE_BINDINGS_XLA_CALL_H_
#define TFMINIMIZE_BINDINGS_XLA_CALL_H_

#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "xla/xla_function.h"
#include "xla/xla_program.h"

namespace tfminimize {

namespace py = pybind11;

/// A program of XLA and what it is called with, as Python describes it.
struct PyXlaCall {
  std::shared_ptr<XlaProgram> program;
  py::tuple inputs;

  /// What to make the XlaFunction of. Throws py::type_error for an input that cannot be passed, in a sentence that
  /// begins with `prefix`.
  XlaOptions options(const py::capsule& context, const std::string& prefix = "") const;
};

/// Throws py::type_error for a capsule that holds no program.
PyXlaCall make_xla_call(const py::capsule& program, const py::sequence& inputs);

/// The memory of an EagerTensor on the host; throws py::type_error, in a sentence that begins with `name`, for anything
/// else.
HostTensor host_tensor(const py::capsule& context, const py::object& tensor, const std::string& name);

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_XLA_CALL_H_
