#include <pybind11/stl.h>

#include <optional>

#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/solver.h"
#include "bindings/tensorflow.h"
#include "driver/drive.h"

namespace tfminimize::bindings {
namespace {

using Callback = std::optional<py::function>;

bool is_true(const py::object& value) {
  const int truth = PyObject_IsTrue(value.ptr());
  if (truth < 0) throw py::error_already_set();
  return truth != 0;
}

/// Seconds of an evaluation, apart from the first, which may have compiled the function.
double seconds_of_one(const Timing& timing) {
  if (timing.evaluations == 1) return timing.first;
  return (timing.evaluate - timing.first) / static_cast<double>(timing.evaluations - 1);
}

Timing drive_python(PySolver& solver, PyObjective& objective, const Callback& on_iteration, const Callback& on_start) {
  objective.check_rows(solver.problem().constraints.size(), solver.problem().offsets);
  const SolverUse solver_use(solver);
  const ObjectiveUse use(objective, solver.arrays().x);
  const LongEvaluationWatch watch(objective, use.core());
  const auto call = [&](const py::function& callback) {
    const GilHeld gil;
    const SolverShown shown(solver);
    const bool result = is_true(callback());
    watch.forget();
    return result;
  };
  Callbacks callbacks;
  if (on_start) callbacks.on_start = [&](double /*f*/) { call(*on_start); };
  if (on_iteration) callbacks.on_iteration = [&] { return call(*on_iteration); };
  callbacks.poll = [&] {
    watch.forget();
    poll_signals();
  };
  Timing timing;
  without_gil([&] { timing = drive(solver_use.core(), solver.problem(), use.core(), callbacks); });
  if (timing.evaluations > 0) objective.expected_seconds = seconds_of_one(timing);
  return timing;
}

}  // namespace

void register_drive(py::module_& m) {
  py::class_<Timing>(m, "Timing", py::is_final(), "Where the time of a solve went, in seconds.")
      .def_readonly("evaluate", &Timing::evaluate)
      .def_readonly("first", &Timing::first)
      .def_readonly("solver", &Timing::solver)
      .def_readonly("evaluations", &Timing::evaluations);
  m.attr("drive") = plain_function("drive", &drive_python,
                                   {{{"solver"}, {"objective"}, {"on_iteration", false}, {"on_start", false}}},
                                   R"(Solves to the end, without holding the GIL.

on_iteration() is called after every iteration; a true value stops the solve. on_start() is called once, after the first
evaluation, whose time is in Timing.first and, as that of all others, in Timing.evaluate. What they or the objective
raise comes through, and so does KeyboardInterrupt; the objective can then be driven again with a new solver.

Compiled functions are asked for values and derivatives at once if the solver expects to need both, and at the end for
the derivatives at the last x if the solver has stopped without; it does not count that.)");
}

}  // namespace tfminimize::bindings
