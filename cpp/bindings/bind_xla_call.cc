#include <cstring>
#include <memory>
#include <utility>

#include "bindings/call.h"
#include "bindings/gil.h"
#include "bindings/tensorflow.h"
#include "objectives/aligned_tensor.h"
#include "tfe/host_tensor.h"
#include "xla/function.h"
#include "xla/xla_capsule.h"

namespace tfminimize::bindings {
namespace {

/// A copy of an array's elements. Throws py::type_error unless they are numbers in the machine's byte order.
InputTensor array_copy(const py::object& object, const std::string& name) {
  const py::array array = py::array::ensure(object, py::array::c_style);
  const auto dtype = array ? number_dtype(array.dtype()) : std::nullopt;
  if (!dtype) {
    throw py::type_error(name + " is an array of dtype " + std::string(py::str(array.dtype())) +
                         ", which is no number.");
  }
  return aligned_copy(array.data(), *dtype, static_cast<std::size_t>(array.nbytes()));
}

class PyXlaCall final : public PyCall {
 public:
  PyXlaCall(std::shared_ptr<xla::XlaProgram> program, py::tuple inputs, bool use_thread_pool)
      : PyCall(std::move(inputs)), program_(std::move(program)), use_thread_pool_(use_thread_pool) {}

  MakeFunction maker(const py::capsule& context, const std::string& prefix,
                     const std::vector<InputTensor>& given) const override {
    return [program = program_, use_thread_pool = use_thread_pool_, inputs = inputs(context, prefix, given)](
               Components& components, std::vector<Output> outputs) {
      return std::make_unique<xla::Function>(program, components, inputs, std::move(outputs), use_thread_pool);
    };
  }

  /// Returns the memory of an EagerTensor on the host, or a copy of a NumPy array.
  InputTensor tensor(const py::capsule& context, const py::object& tensor, const std::string& name) const override {
    if (py::isinstance<py::array>(tensor)) return array_copy(tensor, name);
    tfe::TensorHandle handle = tensor_handle(tensor, name);
    TFE_Context* pointer = parse_context(context);
    const GilReleased no_gil;  // the computation of the tensor may need it
    return tfe::host_tensor(bound_tensorflow().api, pointer, std::move(handle));
  }

  bool is_tensorflows() const override { return false; }

 private:
  std::shared_ptr<xla::XlaProgram> program_;
  bool use_thread_pool_;
};

/// Throws py::type_error for a capsule without a program.
std::shared_ptr<PyXlaCall> make_xla_call(const py::capsule& program, const py::sequence& inputs, bool use_thread_pool) {
  const char* name = program.name();
  if (name == nullptr || std::strcmp(name, xla::kXlaProgramCapsule) != 0) {
    throw py::type_error(std::string("program is a capsule of ") + (name == nullptr ? "something else" : name) +
                         "; it must be one of _xla.compile(), and both extensions of the same build (" +
                         xla::kXlaProgramCapsule + ").");
  }
  return std::make_shared<PyXlaCall>(*program.get_pointer<std::shared_ptr<xla::XlaProgram>>(), py::tuple(inputs),
                                     use_thread_pool);
}

}  // namespace

void register_xla_call(py::module_& m) {
  py::class_<PyXlaCall, PyCall, std::shared_ptr<PyXlaCall>>(
      m, "XlaCall", py::is_final(), R"(A program of _xla.compile() and its inputs; for `inputs` see Call.

use_thread_pool: whether a large program runs in the pool of the process, outside of batches, or all in the calling
thread.)")
      .def(py::init(&make_xla_call), py::arg("program"), py::arg("inputs"), py::arg("use_thread_pool") = true);
}

}  // namespace tfminimize::bindings
