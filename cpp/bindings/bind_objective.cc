#include <stdexcept>

#include "bindings/arrays.h"
#include "bindings/evaluate_once.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"

namespace tfminimize {
namespace {

/// True while it lives.
class Flag {
 public:
  explicit Flag(bool& flag) : flag_(flag) { flag_ = true; }
  ~Flag() { flag_ = false; }
  Flag(const Flag&) = delete;
  Flag& operator=(const Flag&) = delete;

 private:
  bool& flag_;
};

double evaluate(PyObjective& objective, const py::array& x, const py::array& g) {
  const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
  const Span<double> g_span = vector_span<double>(g, "g");
  if (x_span.size() != g_span.size()) throw py::value_error("x and g must have the same size.");
  double f = 0;
  evaluate_once(objective, x, [&](Objective& bound) { f = bound.evaluate(x_span, g_span); });
  return f;
}

}  // namespace

void PyEvaluator::check_idle() const {
  if (busy_) {
    throw std::runtime_error(
        "This objective is in use by another solve or thread; each needs an objective of its own.");
  }
}

void PyEvaluator::use_alone(const std::function<void()>& use) {
  check_idle();
  const Flag flag(busy_);
  use();
}

void register_objective(py::module_& m) {
  const py::class_<PyObjective> binding(m, "Objective", R"(A function to minimise, with its gradient.

It serves one drive() or evaluate() at a time; a second raises RuntimeError.)");
  add_plain_method(
      binding, "evaluate", &evaluate, {{{"self"}, {"x"}, {"g"}}},
      "Returns f(x), and writes the gradient to g. x, g: 64-byte aligned float64 vectors of the same size.");
}

}  // namespace tfminimize
