#include <pybind11/stl.h>

#include <utility>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "bindings/objective.h"
#include "bindings/tensorflow.h"
#include "objectives/concrete_function.h"

namespace tfminimize {
namespace {

TF_DataType parse_dtype(const std::string& dtype, const std::string& name) {
  if (dtype == "float64") return TF_DOUBLE;
  if (dtype == "float32") return TF_FLOAT;
  throw py::value_error(name + " is '" + dtype + "'; it must be 'float64' or 'float32'.");
}

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

TFE_Context* parse_context(const py::capsule& context) {
  if (context.name() != nullptr) {
    throw py::type_error(std::string("context is a capsule of ") + context.name() +
                         "; it must be TensorFlow's context.");
  }
  return context.get_pointer<TFE_Context>();
}

/// Lets TensorFlow keep the memory of an array alive, for one scope.
class Owner {
 public:
  Owner(ConcreteFunction& function, const py::array& x) : function_(function) { function_.set_owner(keep_alive(x)); }
  ~Owner() { function_.set_owner(nullptr); }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

 private:
  ConcreteFunction& function_;
};

class PyConcreteFunction final : public PyObjective {
 public:
  PyConcreteFunction(const py::capsule& context, const py::bytes& function, const py::sequence& inputs,
                     const std::vector<Component>& components, const std::string& dispatch,
                     const py::bytes& config_proto, const std::string& executor_type, const std::string& device,
                     const std::string& loss_dtype, const py::bytes& optimized, bool repeatable,
                     std::optional<py::function> make_error)
      : context_(context),
        make_error_(std::move(make_error)),
        function_(bound_tensorflow().api, parse_context(context),
                  make_calls(dispatch, function, optimized, config_proto, executor_type, device), parse_inputs(inputs),
                  components, parse_dtype(loss_dtype, "loss_dtype"), repeatable) {}

  bool can_be_cancelled() const override { return true; }

  std::string dispatch() const { return function_.dispatch() == Dispatch::kFunction ? "function" : "partitioned_call"; }

  void set_input(std::size_t position, const py::object& tensor) {
    check_idle();
    function_.set_input(position, tensor_handle(tensor, "input " + std::to_string(position)));
  }

  double repeat(const py::array& x, const py::array& g, std::int64_t count) {
    const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
    vector_span<double>(g, "g");
    if (count < 1) throw py::value_error("count is " + std::to_string(count) + "; it must be at least 1.");
    double seconds = 0;
    with(x, [&](Objective& /*function_*/) {
      const GilReleased no_gil;
      seconds = function_.repeat(x_span, count);
    });
    return seconds;
  }

  std::uintptr_t input_address(const py::array& x, std::size_t position) {
    const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
    std::uintptr_t address = 0;
    with(x, [&](Objective& /*function_*/) {
      address = reinterpret_cast<std::uintptr_t>(function_.input_address(x_span, position));
    });
    return address;
  }

 private:
  static std::vector<ConcreteFunction::Input> parse_inputs(const py::sequence& inputs) {
    std::vector<ConcreteFunction::Input> parsed;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const py::object input = inputs[i];
      if (py::isinstance<py::int_>(input)) {
        parsed.emplace_back(input.cast<std::size_t>());
      } else {
        parsed.emplace_back(tensor_handle(input, "input " + std::to_string(i)));
      }
    }
    return parsed;
  }

  void with_exclusively(const py::array& x, const std::function<void(Objective&)>& use) override {
    const Owner owner(function_, x);
    try {
      use(function_);
    } catch (const TensorFlowError& error) {
      if (!make_error_) throw;
      throw_python((*make_error_)(static_cast<int>(error.code()), py::str(error.what())));
    }
  }

  py::capsule context_;
  std::optional<py::function> make_error_;
  ConcreteFunction function_;
};

}  // namespace

void register_concrete_function(py::module_& m) {
  py::class_<Component>(m, "Component", py::is_final(), R"(One segment of x as TensorFlow sees it.

offset: of its first element in x, a multiple of 8. staging: aligned float32 memory that a float32 component is cast to
before every evaluation, for a variable that shares it.)")
      .def(py::init(&make_component), py::arg("offset"), py::arg("shape"), py::arg("dtype"),
           py::arg("staging") = py::none());
  py::class_<PyConcreteFunction, PyObjective>(
      m, "ConcreteFunction", py::is_final(),
      R"(A TensorFlow function that returns the loss, a scalar, and a gradient for each component.

inputs: in the order of the function's signature, an EagerTensor that is passed as it is, or the index of a component
that is passed by value. dispatch: "function" calls `function` by its name, as Python does; "partitioned_call" runs
`optimized`, a function of the same signature whose graph is optimised already, in the calling thread; "fastest" times
both in turn and stays with the faster. repeatable: the function has no side effects, so that an evaluation that fails
in `optimized` is repeated in `function`, whose errors say more. make_error(code, message): makes the exception for an
error of TensorFlow.)")
      .def(py::init<const py::capsule&, const py::bytes&, const py::sequence&, const std::vector<Component>&,
                    const std::string&, const py::bytes&, const std::string&, const std::string&, const std::string&,
                    const py::bytes&, bool, std::optional<py::function>>(),
           py::arg("context"), py::arg("function"), py::arg("inputs"), py::arg("components"), py::kw_only(),
           py::arg("dispatch") = "function", py::arg("config_proto") = py::bytes(), py::arg("executor_type") = "",
           py::arg("device") = "", py::arg("loss_dtype") = "float64", py::arg("optimized") = py::bytes(),
           py::arg("repeatable") = false, py::arg("make_error") = py::none())
      .def_property_readonly(
          "dispatch", &PyConcreteFunction::dispatch,
          "How the function is called: 'function' or 'partitioned_call', the faster as far as known.")
      .def("set_input", &PyConcreteFunction::set_input, py::arg("position"), py::arg("tensor"),
           "Passes another tensor of the same dtype from now on.")
      .def("repeat", &PyConcreteFunction::repeat, py::arg("x"), py::arg("g"), py::arg("count"),
           "Seconds of one evaluation in a bare loop of `count`: what a solve is measured by.")
      .def("input_address", &PyConcreteFunction::input_address, py::arg("x"), py::arg("position"),
           "The address that TensorFlow reads for the component that is the input at `position`.");
}

}  // namespace tfminimize
