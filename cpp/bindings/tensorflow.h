#ifndef TFMINIMIZE_BINDINGS_TENSORFLOW_H_
#define TFMINIMIZE_BINDINGS_TENSORFLOW_H_

#include <pybind11/pybind11.h>

#include <string>

#include "tfe/tfe_api.h"

namespace tfminimize {

namespace py = pybind11;

/// The TensorFlow that Python has imported, as far as the bindings call it.
struct BoundTensorFlow {
  TfeApi api;
  TFE_TensorHandle* (*eager_tensor_handle)(const PyObject*);
  bool (*is_eager_tensor)(const PyObject*);
  py::object make_error;  ///< (code: int, message: str) -> the exception to raise
};

/// What bind_tensorflow has found; throws std::runtime_error before it was called.
const BoundTensorFlow& bound_tensorflow();

/// Throws a Python exception.
[[noreturn]] void throw_python(const py::object& exception);

/// Calls wait_for_thread() without the GIL, which the thread holds.
void wait_without_gil(const py::capsule& context);

/// The tensor of an EagerTensor, owned; throws py::type_error, in a sentence that begins with `name`, for anything
/// else.
TensorHandle tensor_handle(const py::handle& tensor, const std::string& name);

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_TENSORFLOW_H_
