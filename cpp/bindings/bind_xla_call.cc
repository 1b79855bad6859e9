#include <cstring>
#include <utility>

#include "bindings/function_arguments.h"
#include "bindings/gil.h"
#include "bindings/tensorflow.h"
#include "bindings/xla_call.h"
#include "xla/xla_capsule.h"

namespace tfminimize {

PyXlaCall make_xla_call(const py::capsule& program, const py::sequence& inputs) {
  const char* name = program.name();
  if (name == nullptr || std::strcmp(name, kXlaProgramCapsule) != 0) {
    throw py::type_error(std::string("program is a capsule of ") + (name == nullptr ? "something else" : name) +
                         "; it must be one of _xla.compile(), and both extensions of the same build (" +
                         kXlaProgramCapsule + ").");
  }
  return {*program.get_pointer<std::shared_ptr<XlaProgram>>(), py::tuple(inputs)};
}

HostTensor host_tensor(const py::capsule& context, const py::object& tensor, const std::string& name) {
  TensorHandle handle = tensor_handle(tensor, name);
  TFE_Context* pointer = parse_context(context);
  const GilReleased no_gil;  // what computes the tensor may need it
  return host_tensor(bound_tensorflow().api, pointer, std::move(handle));
}

XlaOptions PyXlaCall::options(const py::capsule& context, const std::string& prefix) const {
  XlaOptions options{program, {}};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const py::object input = inputs[i];
    if (py::isinstance<py::int_>(input)) {
      options.inputs.emplace_back(input.cast<std::size_t>());
    } else {
      options.inputs.emplace_back(host_tensor(context, input, prefix + "input " + std::to_string(i)));
    }
  }
  return options;
}

void register_xla_call(py::module_& m) {
  py::class_<PyXlaCall>(m, "XlaCall", py::is_final(), R"(A program of _xla.compile(), and what it is called with.

inputs: in the order of the program's parameters, an EagerTensor whose memory is passed, or the index of a component.)")
      .def(py::init(&make_xla_call), py::arg("program"), py::arg("inputs"));
}

}  // namespace tfminimize
