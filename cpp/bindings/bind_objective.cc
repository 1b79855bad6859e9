#include <pybind11/stl.h>

#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>

#include "bindings/arrays.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/tensorflow.h"
#include "objectives/exception_of.h"
#include "solvers/problem.h"

namespace tfminimize::bindings {
namespace {

/// Calls evaluate(objective) once, without the GIL, at the memory of `x`.
template <typename Evaluate>
void evaluate_once(PyObjective& objective, const py::array& x, const Evaluate& evaluate) {
  const auto start = std::chrono::steady_clock::now();
  const ObjectiveUse use(objective, x);
  const LongEvaluationWatch watch(objective, use.core());
  without_gil([&] {
    const std::exception_ptr error = exception_of([&] { evaluate(use.core()); });
    if (!error) return;
    poll_signals();  // a cancelled evaluation raises the interrupt, not its own error
    std::rethrow_exception(error);
  });
  objective.expected_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  objective.attend();
}

Span<const double> x_span(const py::array& x) { return vector_span<double>(x, "x", {true, false}); }

void set_constraints(Buffers& buffers, const std::optional<py::array>& c) {
  if (c) buffers.constraints = vector_span<double>(*c, "c", {false, true});
}

void set_derivatives(Buffers& buffers, std::size_t n, const py::array& g, const std::optional<py::array>& jacobian,
                     std::size_t m) {
  buffers.gradient = vector_span<double>(g, "g");
  if (buffers.gradient.size() != n) throw py::value_error("x and g must have the same size.");
  buffers.stride = solvers::Problem::stride(n);
  if (jacobian) buffers.jacobian = matrix_span(*jacobian, "jacobian", m, buffers.stride);
}

double evaluate(PyObjective& objective, const py::array& x, const py::array& g, const std::optional<py::array>& c,
                const std::optional<py::array>& jacobian) {
  const Span<const double> at = x_span(x);
  Buffers buffers;
  set_constraints(buffers, c);
  set_derivatives(buffers, at.size(), g, jacobian, buffers.constraints.size());
  double f = 0;
  evaluate_once(objective, x, [&](Objective& core) { f = core.evaluate(at, buffers); });
  return f;
}

double values(PyObjective& objective, const py::array& x, const std::optional<py::array>& c) {
  const Span<const double> at = x_span(x);
  Buffers buffers;
  set_constraints(buffers, c);
  double f = 0;
  evaluate_once(objective, x, [&](Objective& core) { f = core.values(at, buffers); });
  return f;
}

void derivatives(PyObjective& objective, const py::array& x, const py::array& g,
                 const std::optional<py::array>& jacobian) {
  const Span<const double> at = x_span(x);
  const std::size_t m = jacobian && jacobian->ndim() == 2 ? static_cast<std::size_t>(jacobian->shape(0)) : 0;
  Buffers buffers;
  set_derivatives(buffers, at.size(), g, jacobian, m);
  evaluate_once(objective, x, [&](Objective& core) { core.derivatives(at, buffers); });
}

}  // namespace

void PyObjective::check_idle() const {
  if (busy_) {
    throw std::runtime_error(
        "This objective is in use by another solve or thread; each needs an objective of its own.");
  }
}

void register_objective(py::module_& m) {
  py::class_<PyObjective> binding(
      m, "Objective", R"(A function to minimise and the functions that constrain it, if any, with their derivatives.

x, g: [n], c: [m], jacobian: see aligned_matrix(m, n); float64; all but c are 64-byte aligned. Without constraints,
leave out c and jacobian. An objective serves one drive() or evaluation at a time; a second raises RuntimeError.)");
  binding.def_readwrite("ends_at_deadline", &PyObjective::ends_at_deadline,
                        "Whether the solver's maxtime ends an evaluation too, if TensorFlow can cancel it.");
  add_plain_method(binding, "evaluate", &evaluate, {{{"self"}, {"x"}, {"g"}, {"c", false}, {"jacobian", false}}},
                   "Returns f(x), and writes the gradient, the constraints and their Jacobian.");
  add_plain_method(binding, "values", &values, {{{"self"}, {"x"}, {"c", false}}},
                   "Returns f(x), and writes the constraints.");
  add_plain_method(binding, "derivatives", &derivatives, {{{"self"}, {"x"}, {"g"}, {"jacobian", false}}},
                   "Writes the gradient and the Jacobian.");
}

}  // namespace tfminimize::bindings
