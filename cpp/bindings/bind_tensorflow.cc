#include <exception>
#include <memory>
#include <stdexcept>

#include "bindings/gil.h"
#include "bindings/tensorflow.h"

namespace tfminimize::bindings {
namespace {

/// Filled once, with the GIL held, and never freed, since exceptions may need it while the interpreter shuts down.
std::unique_ptr<const BoundTensorFlow>& binding() {
  static auto* bound = new std::unique_ptr<const BoundTensorFlow>();
  return *bound;
}

void bind_tensorflow(const std::string& libtensorflow_cc, const std::string& pywrap_tensorflow, py::object make_error) {
  if (binding()) return;
  auto bound = std::make_unique<BoundTensorFlow>();
  try {
    bound->api = tfe::TfeApi::load(libtensorflow_cc);
    bound->eager_tensor_handle = reinterpret_cast<decltype(bound->eager_tensor_handle)>(
        tfe::find_symbol(pywrap_tensorflow, "_Z18EagerTensor_HandlePK7_object"));
    bound->is_eager_tensor = reinterpret_cast<decltype(bound->is_eager_tensor)>(
        tfe::find_symbol(pywrap_tensorflow, "_Z22EagerTensor_CheckExactPK7_object"));
  } catch (const std::runtime_error& error) {
    throw py::import_error(error.what());
  }
  bound->make_error = std::move(make_error);
  binding() = std::move(bound);
}

void set_python_error(const py::object& exception) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
}

void translate(std::exception_ptr pointer) {  // NOLINT(performance-unnecessary-value-param): pybind11's signature
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const tfe::TensorFlowError& error) {
    set_python_error(python_exception(error));
  }
}

}  // namespace

const BoundTensorFlow& bound_tensorflow() {
  if (!binding()) throw std::runtime_error("TensorFlow is not bound; call bind_tensorflow() first.");
  return *binding();
}

TF_DataType parse_dtype(const std::string& dtype, const std::string& name) {
  if (dtype == "float64") return TF_DOUBLE;
  if (dtype == "float32") return TF_FLOAT;
  throw py::value_error(name + " is '" + dtype + "'; it must be 'float64' or 'float32'.");
}

std::optional<TF_DataType> number_dtype(const py::dtype& dtype) {
  if (dtype.byteorder() != '=' && dtype.byteorder() != '|') return std::nullopt;
  const auto size = dtype.itemsize();
  switch (dtype.kind()) {
    case 'f':
      if (size == 8) return TF_DOUBLE;
      if (size == 4) return TF_FLOAT;
      if (size == 2) return TF_HALF;
      break;
    case 'i':
      if (size == 8) return TF_INT64;
      if (size == 4) return TF_INT32;
      if (size == 2) return TF_INT16;
      if (size == 1) return TF_INT8;
      break;
    case 'u':
      if (size == 8) return TF_UINT64;
      if (size == 4) return TF_UINT32;
      if (size == 2) return TF_UINT16;
      if (size == 1) return TF_UINT8;
      break;
    case 'c':
      if (size == 16) return TF_COMPLEX128;
      if (size == 8) return TF_COMPLEX64;
      break;
    case 'b':
      return TF_BOOL;
    default:  // bfloat16 is not one of NumPy's own.
      if (py::str(dtype.attr("name")).cast<std::string>() == "bfloat16") return TF_BFLOAT16;
  }
  return std::nullopt;
}

TFE_Context* parse_context(const py::capsule& context) {
  if (context.name() != nullptr) {
    throw py::type_error(std::string("context is a capsule of ") + context.name() +
                         "; it must be TensorFlow's context.");
  }
  return context.get_pointer<TFE_Context>();
}

py::object python_exception(const tfe::TensorFlowError& error) {
  py::object make_error = bound_tensorflow().make_error;
  if (const void* own = error.origin().get()) {  // see FunctionCall
    make_error = py::reinterpret_borrow<py::object>(static_cast<PyObject*>(const_cast<void*>(own)));
  }
  return make_error(static_cast<int>(error.code()), py::str(error.what()));
}

void throw_python(const tfe::TensorFlowError& error) {
  set_python_error(python_exception(error));
  throw py::error_already_set();
}

std::optional<tfe::TensorFlowError> tensorflow_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const tfe::TensorFlowError& found) {
    return found;
  } catch (...) {
    return std::nullopt;  // the caller still has it
  }
}

void wait_without_gil(const py::capsule& context) {
  TFE_Context* pointer = parse_context(context);
  const GilReleased no_gil;
  tfe::wait_for_thread(bound_tensorflow().api, pointer);
}

tfe::TensorHandle tensor_handle(const py::handle& tensor, const std::string& name) {
  const BoundTensorFlow& tensorflow = bound_tensorflow();
  if (!tensorflow.is_eager_tensor(tensor.ptr())) {
    throw py::type_error(name + " is a " + Py_TYPE(tensor.ptr())->tp_name + "; it must be an EagerTensor.");
  }
  return tfe::share(tensorflow.api, tensorflow.eager_tensor_handle(tensor.ptr()));
}

void register_tensorflow(py::module_& m) {
  m.def("bind_tensorflow", &bind_tensorflow, py::arg("libtensorflow_cc"), py::arg("pywrap_tensorflow"),
        py::arg("make_error"),
        "Finds TensorFlow's functions in the libraries at these paths, which must be loaded. make_error(code, message) "
        "makes the exception for an error of TensorFlow.");
  py::register_local_exception_translator(&translate);
}

}  // namespace tfminimize::bindings
