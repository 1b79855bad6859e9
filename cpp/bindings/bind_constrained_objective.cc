#include <string>

#include "bindings/arrays.h"
#include "bindings/evaluate_once.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "solvers/slsqp/slsqp.h"

namespace tfminimize {
namespace {

/// The arrays of one evaluation.
struct Evaluation {
  Span<const double> x;
  Span<double> c;
  Derivatives derivatives;
};

Evaluation values_at(const py::array& x, const py::array& c) {
  Evaluation evaluation;
  evaluation.x = vector_span<double>(x, "x", {true, false});
  evaluation.c = vector_span<double>(c, "c", {false, true});
  return evaluation;
}

Evaluation derivatives_at(const py::array& x, const py::array& g, const py::array& jacobian, std::size_t m) {
  Evaluation evaluation;
  evaluation.x = vector_span<double>(x, "x", {true, false});
  const std::size_t n = evaluation.x.size();
  const std::size_t stride = solvers::SlsqpProblem::stride(n);
  evaluation.derivatives = {vector_span<double>(g, "g", {false, true}), matrix_span(jacobian, "jacobian", m, stride),
                            stride};
  if (evaluation.derivatives.gradient.size() != n) throw py::value_error("x and g must have the same size.");
  return evaluation;
}

double evaluate(PyConstrainedObjective& objective, const py::array& x, const py::array& g, const py::array& c,
                const py::array& jacobian) {
  const Evaluation values = values_at(x, c);
  const Evaluation derivatives = derivatives_at(x, g, jacobian, values.c.size());
  double f = 0;
  evaluate_once(objective, x,
                [&](ConstrainedObjective& bound) { f = bound.evaluate(values.x, values.c, derivatives.derivatives); });
  return f;
}

double evaluate_values(PyConstrainedObjective& objective, const py::array& x, const py::array& c) {
  const Evaluation at = values_at(x, c);
  double f = 0;
  evaluate_once(objective, x, [&](ConstrainedObjective& bound) { f = bound.evaluate_values(at.x, at.c); });
  return f;
}

void evaluate_derivatives(PyConstrainedObjective& objective, const py::array& x, const py::array& g,
                          const py::array& jacobian) {
  const std::size_t m = jacobian.ndim() == 2 ? static_cast<std::size_t>(jacobian.shape(0)) : 0;
  const Evaluation at = derivatives_at(x, g, jacobian, m);
  evaluate_once(objective, x, [&](ConstrainedObjective& bound) { bound.evaluate_derivatives(at.x, at.derivatives); });
}

}  // namespace

void register_constrained_objective(py::module_& m) {
  const py::class_<PyConstrainedObjective> binding(
      m, "ConstrainedObjective",
      R"(A function to minimise and its constraints, with their derivatives.

x, g: [n], c: [m], jacobian: [m, stride], float64; stride is n rounded up to a multiple of 8; x and jacobian are 64-byte
aligned. It serves one drive() or evaluation at a time; a second raises RuntimeError.)");
  add_plain_method(binding, "evaluate", &evaluate, {{{"self"}, {"x"}, {"g"}, {"c"}, {"jacobian"}}},
                   "Returns f(x), and writes the gradient, the constraints and their Jacobian.");
  add_plain_method(binding, "evaluate_values", &evaluate_values, {{{"self"}, {"x"}, {"c"}}},
                   "Returns f(x), and writes the constraints.");
  add_plain_method(binding, "evaluate_derivatives", &evaluate_derivatives, {{{"self"}, {"x"}, {"g"}, {"jacobian"}}},
                   "Writes the gradient and the Jacobian.");
}

}  // namespace tfminimize
