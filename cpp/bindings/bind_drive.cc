#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/lbfgsb.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/slsqp.h"
#include "driver/drive.h"

namespace tfminimize {
namespace {

using Callback = std::optional<py::function>;

bool is_true(const py::object& value) {
  const int truth = PyObject_IsTrue(value.ptr());
  if (truth < 0) throw py::error_already_set();
  return truth != 0;
}

/// Calls run(solver, objective, observer, poll) without the GIL, with both lent.
template <typename Solver, typename Core, typename Run>
Timing drive_without_gil(Solver& solver, PyObjectiveOf<Core>& objective, const Callback& on_iteration, const Run& run) {
  Timing timing;
  solver.lend([&](auto& core) {
    objective.with(solver.x(), [&](Core& bound) {
      const LongEvaluationWatch watch(objective, bound);
      const InterruptPoll poll = [&] {
        watch.forget();
        poll_signals();
      };
      Observer observer;
      if (on_iteration) {
        observer = [&] {
          const GilHeld gil;
          const bool stop = solver.show([&] { return is_true((*on_iteration)()); });
          watch.forget();
          return stop;
        };
      }
      const GilReleased no_gil;
      timing = run(core, bound, observer, poll);
    });
  });
  if (timing.evaluations > 0) objective.expected_seconds = timing.evaluate / static_cast<double>(timing.evaluations);
  return timing;
}

Timing drive_lbfgsb(PyLbfgsb& solver, PyObjective& objective, const Callback& on_iteration) {
  return drive_without_gil(
      solver, objective, on_iteration,
      [&](solvers::Lbfgsb& core, Objective& bound, const Observer& observer, const InterruptPoll& poll) {
        return drive(core, solver.x_span(), solver.gradient_span(), bound, observer, poll);
      });
}

Timing drive_slsqp(PySlsqp& solver, PyConstrainedObjective& objective, const Callback& on_iteration) {
  objective.check_rows(solver.problem().constraints.size(), solver.problem().offsets);
  return drive_without_gil(
      solver, objective, on_iteration,
      [&](solvers::Slsqp& core, ConstrainedObjective& bound, const Observer& observer, const InterruptPoll& poll) {
        return drive(core, solver.problem(), bound, observer, poll);
      });
}

Timing drive_any(const py::object& solver, const py::object& objective, const Callback& on_iteration) {
  if (py::isinstance<PyLbfgsb>(solver) && py::isinstance<PyObjective>(objective)) {
    return drive_lbfgsb(solver.cast<PyLbfgsb&>(), objective.cast<PyObjective&>(), on_iteration);
  }
  if (py::isinstance<PySlsqp>(solver) && py::isinstance<PyConstrainedObjective>(objective)) {
    return drive_slsqp(solver.cast<PySlsqp&>(), objective.cast<PyConstrainedObjective&>(), on_iteration);
  }
  throw py::type_error(
      std::string("drive() takes a Lbfgsb and an Objective, or a Slsqp and a ConstrainedObjective; not ") +
      Py_TYPE(solver.ptr())->tp_name + " and " + Py_TYPE(objective.ptr())->tp_name + ".");
}

}  // namespace

void register_drive(py::module_& m) {
  py::class_<Timing>(m, "Timing", py::is_final(), "Where the time of a solve went, in seconds.")
      .def_readonly("evaluate", &Timing::evaluate)
      .def_readonly("solver", &Timing::solver)
      .def_readonly("evaluations", &Timing::evaluations);
  m.attr("drive") = plain_function(
      "drive", &drive_any, {{{"solver"}, {"objective"}, {"on_iteration", false}}},
      R"(Solves to the end, without holding the GIL: an Lbfgsb with an Objective, or a Slsqp with a ConstrainedObjective.

on_iteration() is called after every iteration; a true value stops the solve. What it or the objective raises comes
through, and so does KeyboardInterrupt; the objective can then be driven again with a new solver.

Of a constrained problem, functions of TensorFlow are asked for values and derivatives at once where the solver expects
to need both, and at the end for the derivatives at the last x if the solver has stopped without; it does not count
that.)");
}

}  // namespace tfminimize
