#include <pybind11/stl.h>

#include <utility>

#include "bindings/arrays.h"
#include "bindings/function_arguments.h"
#include "bindings/gil.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/tensorflow.h"
#include "objectives/constrained_function.h"

namespace tfminimize {
namespace {

using Part = ConstrainedFunction::Part;

class PyConstrainedFunction final : public PyConstrainedObjective {
 public:
  PyConstrainedFunction(const py::capsule& context, PyFunctionCall values, PyFunctionCall derivatives,
                        const std::vector<Component>& components, const std::vector<ConstraintRow>& rows,
                        const ConstrainedOutputs& outputs)
      : context_(context),
        values_(std::move(values)),
        derivatives_(std::move(derivatives)),
        function_(bound_tensorflow().api, parse_context(context), values_.options("values: "),
                  derivatives_.options("derivatives: "), components, outputs, rows) {}

  bool can_be_cancelled() const override { return true; }

  void check_rows(std::size_t m, Span<const double> offsets) const override {
    function_.rows().check_complete(m, offsets);
  }

  py::tuple dispatch() const {
    return py::make_tuple(name_of(function_.dispatch(Part::kValues)), name_of(function_.dispatch(Part::kDerivatives)));
  }

  void set_input(std::size_t position, const py::object& tensor) {
    check_idle();
    function_.set_input(position, tensor_handle(tensor, "input " + std::to_string(position)));
  }

  void set_rows(const std::vector<ConstraintRow>& rows) {
    check_idle();
    function_.set_rows(rows);
  }

  py::tuple repeat(const py::array& x, std::int64_t count) {
    const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
    if (count < 1) throw py::value_error("count is " + std::to_string(count) + "; it must be at least 1.");
    double values = 0;
    double derivatives = 0;
    with(x, [&](ConstrainedObjective& /*function_*/) {
      const GilReleased no_gil;
      values = function_.repeat(Part::kValues, x_span, count);
      derivatives = function_.repeat(Part::kDerivatives, x_span, count);
    });
    return py::make_tuple(values, derivatives);
  }

  py::tuple input_address(const py::array& x, std::size_t position) {
    const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
    py::tuple addresses;
    with(x, [&](ConstrainedObjective& /*function_*/) {
      const auto address = [&](Part part) {
        return reinterpret_cast<std::uintptr_t>(function_.input_address(part, x_span, position));
      };
      addresses = py::make_tuple(address(Part::kValues), address(Part::kDerivatives));
    });
    return addresses;
  }

  void translate(const std::function<void()>& evaluate) const override {
    const std::optional<TensorFlowError> error = tensorflow_error(evaluate);
    if (!error) return;
    const GilHeld gil;
    (function_.last() == Part::kValues ? values_ : derivatives_).fail(*error);
  }

 private:
  void with_exclusively(const py::array& x, const std::function<void(ConstrainedObjective&)>& use) override {
    const Owner<ConstrainedFunction> owner(function_, x);
    wait_without_gil(context_);
    translate([&] { use(function_); });
  }

  py::capsule context_;
  PyFunctionCall values_;
  PyFunctionCall derivatives_;
  ConstrainedFunction function_;
};

py::tuple repeat(PyConstrainedFunction& self, const py::array& x, std::int64_t count) { return self.repeat(x, count); }

std::unique_ptr<PyConstrainedFunction> make_constrained_function(
    const py::capsule& context, const PyFunctionCall& values, const PyFunctionCall& derivatives,
    const std::vector<Component>& components, const std::vector<ConstraintRow>& rows, std::size_t num_values,
    const std::string& loss_dtype, const std::string& values_dtype) {
  ConstrainedOutputs outputs;
  outputs.loss_dtype = parse_dtype(loss_dtype, "loss_dtype");
  outputs.values_dtype = parse_dtype(values_dtype, "values_dtype");
  outputs.num_values = num_values;
  return std::make_unique<PyConstrainedFunction>(context, values, derivatives, components, rows, outputs);
}

}  // namespace

void register_constrained_function(py::module_& m) {
  py::class_<ConstraintRow>(m, "Row", py::is_final(),
                            R"(How one constraint is made of the values that TensorFlow computes.

c[row] = sign * values[source] + offset, and the same for its row of the Jacobian; sign is 1 or -1.)")
      .def(py::init<std::size_t, std::size_t, double, double>(), py::arg("row"), py::arg("source"),
           py::arg("sign") = 1.0, py::arg("offset") = 0.0)
      .def_readonly("row", &ConstraintRow::row)
      .def_readonly("source", &ConstraintRow::source)
      .def_readonly("sign", &ConstraintRow::sign)
      .def_readonly("offset", &ConstraintRow::offset);
  py::class_<PyConstrainedFunction, PyConstrainedObjective> binding(m, "ConstrainedFunction", py::is_final(),
                                                                    R"(Two TensorFlow functions, of the same components:

values:       loss (a scalar), the values that constraints are made of (a vector [num_values])
derivatives:  the same two, one gradient for each component, one Jacobian of the values for each component

Gradients and Jacobians have the dtype of their component; a Jacobian has num_values rows of as many elements as the
component has. If num_values is 0, neither values nor Jacobians are returned. Constraints that are in no row are never
written.)");
  binding
      .def(py::init(&make_constrained_function), py::arg("context"), py::arg("values"), py::arg("derivatives"),
           py::arg("components"), py::arg("rows"), py::kw_only(), py::arg("num_values"),
           py::arg("loss_dtype") = "float64", py::arg("values_dtype") = "float64")
      .def_property_readonly("dispatch", &PyConstrainedFunction::dispatch,
                             "How values and derivatives are called: 'function' or 'partitioned_call', the faster as "
                             "far as known.")
      .def("set_input", &PyConstrainedFunction::set_input, py::arg("position"), py::arg("tensor"),
           "Passes both functions another tensor of the same dtype from now on.")
      .def("set_rows", &PyConstrainedFunction::set_rows, py::arg("rows"), "Makes other constraints from now on.")
      .def("input_address", &PyConstrainedFunction::input_address, py::arg("x"), py::arg("position"),
           "The addresses that values and derivatives read for the component that is their input at `position`.");
  add_plain_method(binding, "repeat", &repeat, {{{"self"}, {"x"}, {"count"}}},
                   "Seconds of one call of values and of derivatives, in bare loops of `count`.");
}

}  // namespace tfminimize
