#ifndef TFMINIMIZE_BINDINGS_TENSORFLOW_H_
#define TFMINIMIZE_BINDINGS_TENSORFLOW_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <exception>
#include <optional>
#include <string>

#include "bindings/gil.h"
#include "objectives/exception_of.h"
#include "tensorflow/c/tf_datatype.h"
#include "tfe/tfe_api.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// What the bindings call in the TensorFlow that Python has imported.
struct BoundTensorFlow {
  tfe::TfeApi api;
  TFE_TensorHandle* (*eager_tensor_handle)(const PyObject*);
  bool (*is_eager_tensor)(const PyObject*);
  py::object make_error;  ///< (code: int, message: str) -> the exception to raise
};

/// What bind_tensorflow() has found. Throws std::runtime_error if it has not been called.
const BoundTensorFlow& bound_tensorflow();

/// TensorFlow's dtype of this name. Throws py::value_error unless it is 'float64' or 'float32'.
TF_DataType parse_dtype(const std::string& dtype, const std::string& name);

/// TensorFlow's dtype for NumPy's; nothing for dtypes that are not plain numbers, such as strings, and for numbers in
/// another byte order than the machine's.
std::optional<TF_DataType> number_dtype(const py::dtype& dtype);

/// The TensorFlow context in a capsule. Throws py::type_error for a capsule of something else.
TFE_Context* parse_context(const py::capsule& context);

/// The Python exception for an error of TensorFlow. The make_error() of the function that failed makes it, if there is
/// one.
py::object python_exception(const tfe::TensorFlowError& error);

/// Throws that exception.
[[noreturn]] void throw_python(const tfe::TensorFlowError& error);

/// The error, if TensorFlow raised it.
std::optional<tfe::TensorFlowError> tensorflow_error(const std::exception_ptr& error);

/// Calls work() without the GIL, which the thread must hold, and throws TensorFlow's errors as Python exceptions. It
/// makes them outside of the handler, since Python may switch to another stack that handles exceptions of its own.
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

/// Calls wait_for_thread() without the GIL, which the thread must hold.
void wait_without_gil(const py::capsule& context);

/// A handle of its own to the tensor of an EagerTensor. Throws py::type_error for anything else, in a sentence that
/// begins with `name`.
tfe::TensorHandle tensor_handle(const py::handle& tensor, const std::string& name);

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_TENSORFLOW_H_
