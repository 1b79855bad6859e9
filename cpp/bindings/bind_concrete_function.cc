#include <pybind11/stl.h>

#include <utility>

#include "bindings/arrays.h"
#include "bindings/function_arguments.h"
#include "bindings/gil.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/tensorflow.h"
#include "objectives/concrete_function.h"

namespace tfminimize {
namespace {

class PyConcreteFunction final : public PyObjective {
 public:
  PyConcreteFunction(const py::capsule& context, PyFunctionCall call, const std::vector<Component>& components,
                     const std::string& loss_dtype)
      : context_(context),
        call_(std::move(call)),
        function_(bound_tensorflow().api, parse_context(context), call_.options(), components,
                  parse_dtype(loss_dtype, "loss_dtype")) {}

  bool can_be_cancelled() const override { return true; }

  const char* dispatch() const { return name_of(function_.dispatch()); }

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

  void translate(const std::function<void()>& evaluate) const override {
    const std::optional<TensorFlowError> error = tensorflow_error(evaluate);
    if (!error) return;
    const GilHeld gil;
    call_.fail(*error);
  }

 private:
  void with_exclusively(const py::array& x, const std::function<void(Objective&)>& use) override {
    const Owner<ConcreteFunction> owner(function_, x);
    wait_without_gil(context_);
    translate([&] { use(function_); });
  }

  py::capsule context_;
  PyFunctionCall call_;
  ConcreteFunction function_;
};

double repeat(PyConcreteFunction& self, const py::array& x, const py::array& g, std::int64_t count) {
  return self.repeat(x, g, count);
}

std::unique_ptr<PyConcreteFunction> make_concrete_function(
    const py::capsule& context, const py::bytes& function, const py::sequence& inputs,
    const std::vector<Component>& components, const std::string& dispatch, const py::bytes& config_proto,
    const std::string& executor_type, const std::string& device, const std::string& loss_dtype,
    const py::bytes& optimized, bool repeatable, bool keeps_inputs, std::optional<py::function> make_error) {
  PyFunctionCall call = make_function_call(function, inputs, dispatch, config_proto, executor_type, device, optimized,
                                           repeatable, keeps_inputs, std::move(make_error));
  return std::make_unique<PyConcreteFunction>(context, std::move(call), components, loss_dtype);
}

}  // namespace

void register_concrete_function(py::module_& m) {
  py::class_<PyConcreteFunction, PyObjective> binding(
      m, "ConcreteFunction", py::is_final(),
      R"(A TensorFlow function that returns the loss, a scalar, and a gradient for each component.

How it is called: see FunctionCall.)");
  binding
      .def(py::init(&make_concrete_function), py::arg("context"), py::arg("function"), py::arg("inputs"),
           py::arg("components"), py::kw_only(), py::arg("dispatch") = "function",
           py::arg("config_proto") = py::bytes(), py::arg("executor_type") = "", py::arg("device") = "",
           py::arg("loss_dtype") = "float64", py::arg("optimized") = py::bytes(), py::arg("repeatable") = false,
           py::arg("keeps_inputs") = false, py::arg("make_error") = py::none())
      .def_property_readonly(
          "dispatch", &PyConcreteFunction::dispatch,
          "How the function is called: 'function' or 'partitioned_call', the faster as far as known.")
      .def("set_input", &PyConcreteFunction::set_input, py::arg("position"), py::arg("tensor"),
           "Passes another tensor of the same dtype from now on.")
      .def("input_address", &PyConcreteFunction::input_address, py::arg("x"), py::arg("position"),
           "The address that TensorFlow reads for the component that is the input at `position`.");
  add_plain_method(binding, "repeat", &repeat, {{{"self"}, {"x"}, {"g"}, {"count"}}},
                   "Seconds of one evaluation in a bare loop of `count`: what a solve is measured by.");
}

}  // namespace tfminimize
