#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "bindings/gil.h"
#include "bindings/host_values.h"
#include "bindings/objective.h"
#include "objectives/constrained_host_function.h"

namespace tfminimize {
namespace {

/// Copies an [m, n] array into the rows of a Jacobian; a single row may also be a vector.
void copy_jacobian(const py::handle& value, const Derivatives& to) {
  const std::size_t n = to.gradient.size();
  const std::size_t m = to.stride == 0 ? 0 : to.jacobian.size() / to.stride;
  const py::array_t<double> array = real_array(value, "Jacobian");
  if (m == 0 && array.size() == 0) return;
  const auto rows = static_cast<py::ssize_t>(m);
  const auto columns = static_cast<py::ssize_t>(n);
  const bool is_matrix = array.ndim() == 2 && array.shape(0) == rows && array.shape(1) == columns;
  const bool is_row = array.ndim() == 1 && m == 1 && array.shape(0) == columns;
  if (!is_matrix && !is_row) {
    throw py::value_error("The Jacobian has the shape " + std::string(py::str(array.attr("shape"))) + "; with " +
                          std::to_string(m) + " constraints and " + std::to_string(n) + " variables it must be (" +
                          std::to_string(m) + ", " + std::to_string(n) + ").");
  }
  for (std::size_t i = 0; i < m; ++i) std::copy_n(array.data() + i * n, n, to.jacobian.data() + i * to.stride);
}

class PyConstrainedHostFunction final : public PyConstrainedObjective {
 public:
  PyConstrainedHostFunction(py::function values, py::function derivatives)
      : values_(std::move(values)), derivatives_(std::move(derivatives)) {}

  void check_rows(std::size_t /*m*/, Span<const double> offsets) const override {
    const auto* linear =
        std::find_if(offsets.begin(), offsets.end(), [](double offset) { return !std::isnan(offset); });
    if (linear == offsets.end()) return;
    throw py::value_error("Constraint " + std::to_string(linear - offsets.begin()) +
                          " is linear for the solver, and a ConstrainedHostFunction writes all constraints.");
  }

 private:
  void with_exclusively(const py::array& x, const std::function<void(ConstrainedObjective&)>& use) override {
    const py::array view = read_only_view(x);
    const auto values = [this, view](Span<const double> /*x*/, Span<double> c) {
      const GilHeld gil;
      const py::object result = values_(view);
      const auto [value, constraints] = to_pair(result, "The function of values", "its value and the constraints");
      copy_values(constraints, "vector of constraints", c, "the solver has ");
      return to_scalar(value, "value of the function");
    };
    const auto differentiate = [this, view](Span<const double> /*x*/, const Derivatives& to) {
      const GilHeld gil;
      const py::object result = derivatives_(view);
      const auto [gradient, jacobian] = to_pair(result, "The function of derivatives", "the gradient and the Jacobian");
      copy_values(gradient, "gradient", to.gradient, "x has ");
      copy_jacobian(jacobian, to);
    };
    // Apart from the stack, which other threads must not look at: see drive_batch().
    const auto function = std::make_unique<ConstrainedHostFunction>(values, differentiate);
    use(*function);
  }

  py::function values_;
  py::function derivatives_;
};

}  // namespace

void register_constrained_host_function(py::module_& m) {
  py::class_<PyConstrainedHostFunction, PyConstrainedObjective>(
      m, "ConstrainedHostFunction", py::is_final(),
      R"(Python functions x -> (value, constraints [m]) and x -> (gradient [n], Jacobian [m, n]).

They are given x itself as a read-only array, which changes when the solver moves on: keep a copy, not the array.
Derivatives are asked for where the values have been, and never before the solver needs them.)")
      .def(py::init<py::function, py::function>(), py::arg("values"), py::arg("derivatives"));
}

}  // namespace tfminimize
