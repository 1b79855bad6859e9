#ifndef TFMINIMIZE_BINDINGS_TENSORFLOW_H_
#define TFMINIMIZE_BINDINGS_TENSORFLOW_H_

#include <pybind11/pybind11.h>

#include <exception>
#include <optional>
#include <string>

#include "bindings/gil.h"
#include "driver/exception_of.h"
#include "tensorflow/c/tf_datatype.h"
#include "tfe/tfe_api.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// The TensorFlow that Python has imported, as far as the bindings call it.
struct BoundTensorFlow {
  tfe::TfeApi api;
  TFE_TensorHandle* (*eager_tensor_handle)(const PyObject*);
  bool (*is_eager_tensor)(const PyObject*);
  py::object make_error;  ///< (code: int, message: str) -> the exception to raise
};

/// What bind_tensorflow has found; throws std::runtime_error before it was called.
const BoundTensorFlow& bound_tensorflow();

/// TensorFlow's dtype of this name; throws py::value_error for all but 'float64' and 'float32'.
TF_DataType parse_dtype(const std::string& dtype, const std::string& name);

/// TensorFlow's context in its capsule; throws py::type_error for another capsule.
TFE_Context* parse_context(const py::capsule& context);

/// The exception of Python for an error of TensorFlow, by the function that has failed if it knows one.
py::object python_exception(const tfe::TensorFlowError& error);

/// Throws it.
[[noreturn]] void throw_python(const tfe::TensorFlowError& error);

/// The error itself, if it is one of TensorFlow.
std::optional<tfe::TensorFlowError> tensorflow_error(const std::exception_ptr& error);

/// Calls work() without the GIL, which the thread holds, and throws errors of TensorFlow as Python knows them. That is
/// done outside of the handler, since Python may switch to another stack, which handles exceptions of its own.
template <typename Work>
void without_gil(const Work& work) {
  std::exception_ptr error;
  {
    const GilReleased no_gil;
    error = exception_of(work);
  }
  if (!error) return;
  if (const auto failed = tensorflow_error(error)) throw_python(*failed);
  std::rethrow_exception(error);
}

/// Calls wait_for_thread() without the GIL, which the thread holds.
void wait_without_gil(const py::capsule& context);

/// The tensor of an EagerTensor, owned; throws py::type_error, in a sentence that begins with `name`, for anything
/// else.
tfe::TensorHandle tensor_handle(const py::handle& tensor, const std::string& name);

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_TENSORFLOW_H_
