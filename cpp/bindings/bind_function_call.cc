#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/call.h"
#include "bindings/tensorflow.h"
#include "tfe/function.h"

namespace tfminimize::bindings {
namespace {

/// How Python asks for a function to be called.
struct CallArguments {
  std::string function;
  std::string dispatch;
  std::string config_proto;
  std::string executor_type;
  std::string device;
  std::string optimized;
};

/// The ways of calling the function that `dispatch` allows, the lightest first.
std::vector<tfe::CallOptions> make_calls(const CallArguments& arguments) {
  const std::string& dispatch = arguments.dispatch;
  const bool fastest = dispatch == "fastest";
  if (!fastest && dispatch != "function" && dispatch != "partitioned_call") {
    throw py::value_error("dispatch is '" + dispatch + "'; it must be 'function', 'partitioned_call' or 'fastest'.");
  }
  std::vector<tfe::CallOptions> calls;
  if (dispatch != "function") {
    if (arguments.optimized.empty()) {
      throw py::value_error("dispatch is '" + dispatch + "', and no optimized function is given.");
    }
    calls.push_back({arguments.optimized, tfe::Dispatch::kPartitionedCall, "", "", arguments.device});
  }
  if (dispatch != "partitioned_call") {
    calls.push_back({arguments.function, tfe::Dispatch::kFunction, arguments.config_proto, arguments.executor_type,
                     arguments.device});
  }
  return calls;
}

class PyFunctionCall final : public PyCall {
 public:
  /// `options` come without the inputs.
  PyFunctionCall(py::tuple inputs, tfe::FunctionOptions options)
      : PyCall(std::move(inputs)), options_(std::move(options)) {}

  MakeFunction maker(const py::capsule& context, const std::string& prefix,
                     const std::vector<InputTensor>& given) const override {
    tfe::FunctionOptions options = options_;
    options.inputs = inputs(context, prefix, given);
    return [options = std::move(options), pointer = parse_context(context)](Components& components,
                                                                            std::vector<Output> outputs) {
      return std::make_unique<tfe::Function>(bound_tensorflow().api, pointer, components, options, std::move(outputs));
    };
  }

  InputTensor tensor(const py::capsule& /*context*/, const py::object& tensor, const std::string& name) const override {
    return tfe::as_tensor(bound_tensorflow().api, tensor_handle(tensor, name));
  }

  bool is_tensorflows() const override { return true; }

 private:
  tfe::FunctionOptions options_;
};

}  // namespace

void register_function_call(py::module_& m) {
  const auto make = [](const py::bytes& function, const py::sequence& inputs, const std::string& dispatch,
                       const py::bytes& config_proto, const std::string& executor_type, const std::string& device,
                       const py::bytes& optimized, bool repeatable, bool keeps_inputs,
                       std::optional<py::function> make_error) {
    tfe::FunctionOptions options;
    options.calls = make_calls({function, dispatch, config_proto, executor_type, device, optimized});
    options.repeatable = repeatable;
    options.keeps_inputs = keeps_inputs;
    if (make_error) options.origin = keep_alive(*std::move(make_error));
    return std::make_shared<PyFunctionCall>(py::tuple(inputs), std::move(options));
  };
  py::class_<PyFunctionCall, PyCall, std::shared_ptr<PyFunctionCall>>(
      m, "FunctionCall", py::is_final(), R"(A TensorFlow function, and how it is called; for `inputs` see Call.

dispatch: "function" calls `function` by its name, as Python does; "partitioned_call" runs `optimized` in the calling
thread, which is a function of the same signature with an optimised graph; "fastest" times both in turn and stays with
the faster. repeatable: the function has no side effects, so if a call of `optimized` fails, `function` is called, since
its errors say more. keeps_inputs: the function may keep its inputs, so it gets copies of the components.
make_error(code, message): makes the exception for an error of TensorFlow.)")
      .def(py::init(make), py::arg("function"), py::arg("inputs"), py::kw_only(), py::arg("dispatch") = "function",
           py::arg("config_proto") = py::bytes(), py::arg("executor_type") = "", py::arg("device") = "",
           py::arg("optimized") = py::bytes(), py::arg("repeatable") = false, py::arg("keeps_inputs") = false,
           py::arg("make_error") = py::none());
}

}  // namespace tfminimize::bindings
