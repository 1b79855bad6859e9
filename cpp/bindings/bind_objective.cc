#include <chrono>
#include <stdexcept>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"

namespace tfminimize {
namespace {

double evaluate(PyObjective& objective, const py::array& x, const py::array& g) {
  const Span<const double> x_span = vector_span<double>(x, "x", {true, false});
  const Span<double> g_span = vector_span<double>(g, "g");
  if (x_span.size() != g_span.size()) throw py::value_error("x and g must have the same size.");
  double f = 0;
  const auto start = std::chrono::steady_clock::now();
  objective.with(x, [&](Objective& bound) {
    const LongEvaluationWatch watch(objective, bound);
    const GilReleased no_gil;
    try {
      f = bound.evaluate(x_span, g_span);
    } catch (...) {
      poll_signals();  // an evaluation that was cancelled ends as the interrupt, not as its own error
      throw;
    }
  });
  objective.expected_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return f;
}

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

}  // namespace

void PyObjective::check_idle() const {
  if (busy_) {
    throw std::runtime_error(
        "This objective is in use by another solve or thread; each needs an objective of its own.");
  }
}

void PyObjective::with(const py::array& x, const std::function<void(Objective&)>& use) {
  check_idle();
  const Flag flag(busy_);
  with_exclusively(x, use);
}

void register_objective(py::module_& m) {
  py::class_<PyObjective>(m, "Objective", R"(A function to minimise, with its gradient.

It serves one drive() or evaluate() at a time; a second raises RuntimeError.)")
      .def("evaluate", &evaluate, py::arg("x"), py::arg("g"),
           "Returns f(x), and writes the gradient to g. x, g: 64-byte aligned float64 vectors of the same size.");
}

}  // namespace tfminimize
