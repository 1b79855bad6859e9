#include <pybind11/stl.h>

#include <utility>

#include "bindings/function_arguments.h"
#include "bindings/tensorflow.h"

namespace tfminimize {
namespace {

/// The ways to call the function that `dispatch` allows; the light one first.
std::vector<CallOptions> make_calls(const std::string& dispatch, const std::string& function,
                                    const std::string& optimized, const std::string& config_proto,
                                    const std::string& executor_type, const std::string& device) {
  const bool fastest = dispatch == "fastest";
  if (!fastest && dispatch != "function" && dispatch != "partitioned_call") {
    throw py::value_error("dispatch is '" + dispatch + "'; it must be 'function', 'partitioned_call' or 'fastest'.");
  }
  std::vector<CallOptions> calls;
  if (dispatch != "function") {
    if (optimized.empty()) throw py::value_error("dispatch is '" + dispatch + "', and no optimized function is given.");
    calls.push_back({optimized, Dispatch::kPartitionedCall, "", "", device});
  }
  if (dispatch != "partitioned_call") {
    calls.push_back({function, Dispatch::kFunction, config_proto, executor_type, device});
  }
  return calls;
}

Component make_component(std::size_t offset, std::vector<std::int64_t> shape, const std::string& dtype,
                         const std::optional<py::array>& staging) {
  Component component{offset, std::move(shape), parse_dtype(dtype, "dtype"), nullptr};
  const std::size_t size = element_count(component);
  if (staging) {
    const Span<float> span = vector_span<float>(*staging, "staging");
    if (component.dtype != TF_FLOAT) throw py::value_error("staging is given for a component that is not float32.");
    if (span.size() != size) {
      throw py::value_error("staging has " + std::to_string(span.size()) + " elements, and the component has " +
                            std::to_string(size) + ".");
    }
    // Shares the ownership of the array, and points at its memory.
    component.staging = std::shared_ptr<float>(std::const_pointer_cast<void>(keep_alive(*staging)), span.data());
  }
  return component;
}

}  // namespace

TF_DataType parse_dtype(const std::string& dtype, const std::string& name) {
  if (dtype == "float64") return TF_DOUBLE;
  if (dtype == "float32") return TF_FLOAT;
  throw py::value_error(name + " is '" + dtype + "'; it must be 'float64' or 'float32'.");
}

TFE_Context* parse_context(const py::capsule& context) {
  if (context.name() != nullptr) {
    throw py::type_error(std::string("context is a capsule of ") + context.name() +
                         "; it must be TensorFlow's context.");
  }
  return context.get_pointer<TFE_Context>();
}

const char* name_of(Dispatch dispatch) { return dispatch == Dispatch::kFunction ? "function" : "partitioned_call"; }

PyFunctionCall make_function_call(const py::bytes& function, const py::sequence& inputs, const std::string& dispatch,
                                  const py::bytes& config_proto, const std::string& executor_type,
                                  const std::string& device, const py::bytes& optimized, bool repeatable,
                                  bool keeps_inputs, std::optional<py::function> make_error) {
  return {make_calls(dispatch, function, optimized, config_proto, executor_type, device), py::tuple(inputs), repeatable,
          keeps_inputs, std::move(make_error)};
}

FunctionOptions PyFunctionCall::options(const std::string& prefix) const {
  FunctionOptions options{calls, {}, repeatable, keeps_inputs};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const py::object input = inputs[i];
    if (py::isinstance<py::int_>(input)) {
      options.inputs.emplace_back(input.cast<std::size_t>());
    } else {
      options.inputs.emplace_back(tensor_handle(input, prefix + "input " + std::to_string(i)));
    }
  }
  return options;
}

std::optional<TensorFlowError> tensorflow_error(const std::function<void()>& evaluate) {
  try {
    evaluate();
  } catch (const TensorFlowError& error) {
    return error;
  }
  return std::nullopt;
}

void PyFunctionCall::fail(const TensorFlowError& error) const {
  if (!make_error) throw error;
  throw_python((*make_error)(static_cast<int>(error.code()), py::str(error.what())));
}

void register_function_call(py::module_& m) {
  py::class_<Component>(m, "Component", py::is_final(), R"(One segment of x as TensorFlow sees it.

offset: of its first element in x, a multiple of 8. staging: aligned float32 memory that a float32 component is cast to
before every evaluation, for a variable that shares it.)")
      .def(py::init(&make_component), py::arg("offset"), py::arg("shape"), py::arg("dtype"),
           py::arg("staging") = py::none());
  py::class_<PyFunctionCall>(m, "FunctionCall", py::is_final(), R"(A TensorFlow function, and how it is called.

inputs: in the order of the function's signature, an EagerTensor that is passed as it is, or the index of a component
that is passed by value. dispatch: "function" calls `function` by its name, as Python does; "partitioned_call" runs
`optimized`, a function of the same signature whose graph is optimised already, in the calling thread; "fastest" times
both in turn and stays with the faster. repeatable: the function has no side effects, so that a call that fails in
`optimized` is repeated in `function`, whose errors say more. keeps_inputs: it may keep what it is called with, so that
components are copied for it. make_error(code, message): makes the exception for an error of TensorFlow.)")
      .def(py::init(&make_function_call), py::arg("function"), py::arg("inputs"), py::kw_only(),
           py::arg("dispatch") = "function", py::arg("config_proto") = py::bytes(), py::arg("executor_type") = "",
           py::arg("device") = "", py::arg("optimized") = py::bytes(), py::arg("repeatable") = false,
           py::arg("keeps_inputs") = false, py::arg("make_error") = py::none());
}

}  // namespace tfminimize
