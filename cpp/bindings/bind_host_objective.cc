#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bindings/gil.h"
#include "bindings/host_values.h"
#include "bindings/objective.h"
#include "objectives/host_objective.h"

namespace tfminimize::bindings {
namespace {

/// Copies an [m, n] array into the rows of a Jacobian; a single row may also be a vector.
void copy_jacobian(const py::handle& value, const Buffers& to) {
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

class PyHostObjective final : public PyObjective {
 public:
  PyHostObjective(py::function fun, std::optional<py::function> derivatives)
      : fun_(std::move(fun)), derivatives_(std::move(derivatives)) {}

  void check_rows(std::size_t m, Span<const double> offsets) const override {
    if (m > 0 && !derivatives_) {
      throw py::value_error("The solver has " + std::to_string(m) +
                            " constraints, and the HostObjective has one function only, which returns none.");
    }
    const auto* linear =
        std::find_if(offsets.begin(), offsets.end(), [](double offset) { return !std::isnan(offset); });
    if (linear == offsets.end()) return;
    throw py::value_error("Constraint " + std::to_string(linear - offsets.begin()) +
                          " is linear for the solver, and a HostObjective writes all constraints.");
  }

 private:
  Objective& begin(const py::array& x) override {
    const py::array view = read_only_view(x);
    // On the heap, since other threads must not look at this stack, see solve_batch().
    if (derivatives_) {
      core_ = std::make_unique<HostObjective>(
          [this, view](Span<const double> /*x*/, const Buffers& to) { return values(view, to); },
          [this, view](Span<const double> /*x*/, const Buffers& to) { differentiate(view, to); });
    } else {
      core_ = std::make_unique<HostObjective>(
          [this, view](Span<const double> /*x*/, const Buffers& to) { return value_and_gradient(view, to); });
    }
    return *core_;
  }

  void end() override { core_.reset(); }

  double value_and_gradient(const py::array& x, const Buffers& to) const {
    const GilHeld gil;
    if (!to.constraints.empty()) throw py::value_error("The HostObjective has one function only, without constraints.");
    const py::object result = fun_(x);
    const auto [value, gradient] = to_pair(result, "The function", "its value and its gradient");
    if (!to.gradient.empty()) copy_values(gradient, "gradient", to.gradient, "x has ");
    return to_scalar(value, "value of the function");
  }

  double values(const py::array& x, const Buffers& to) const {
    const GilHeld gil;
    const py::object result = fun_(x);
    const auto [value, constraints] = to_pair(result, "The function of values", "its value and the constraints");
    copy_values(constraints, "vector of constraints", to.constraints, "the solver has ");
    return to_scalar(value, "value of the function");
  }

  void differentiate(const py::array& x, const Buffers& to) const {
    const GilHeld gil;
    const py::object result = (*derivatives_)(x);
    const auto [gradient, jacobian] = to_pair(result, "The function of derivatives", "the gradient and the Jacobian");
    copy_values(gradient, "gradient", to.gradient, "x has ");
    copy_jacobian(jacobian, to);
  }

  py::function fun_;
  std::optional<py::function> derivatives_;
  std::unique_ptr<HostObjective> core_;
};

}  // namespace

void register_host_objective(py::module_& m) {
  py::class_<PyHostObjective, PyObjective>(
      m, "HostObjective", py::is_final(),
      R"(One Python function x -> (value, gradient); or two, x -> (value, constraints [m]) and
x -> (gradient [n], Jacobian [m, n]). The second is called only when the solver needs it.

The functions get x itself as a read-only array, which changes when the solver moves on: keep a copy, not the array.)")
      .def(py::init<py::function, std::optional<py::function>>(), py::arg("fun"), py::arg("derivatives") = py::none());
}

}  // namespace tfminimize::bindings
