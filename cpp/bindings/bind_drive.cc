#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/lbfgsb.h"
#include "bindings/objective.h"
#include "bindings/slsqp.h"
#include "driver/drive.h"

namespace tfminimize {
namespace {

using Callback = std::optional<py::function>;

/// Calls run(solver, objective, observer) without the GIL, with both lent.
template <typename Solver, typename Core, typename Run>
Timing drive_without_gil(Solver& solver, PyObjectiveOf<Core>& objective, const Callback& on_iteration, const Run& run) {
  Observer observer;
  if (on_iteration) {
    observer = [&] {
      const GilHeld gil;
      return solver.show([&] {
        const int truth = PyObject_IsTrue((*on_iteration)().ptr());
        if (truth < 0) throw py::error_already_set();
        return truth != 0;
      });
    };
  }
  Timing timing;
  solver.lend([&](auto& core) {
    objective.with(solver.x(), [&](Core& bound) {
      const LongEvaluationWatch watch(objective, bound);
      const GilReleased no_gil;
      timing = run(core, bound, observer);
    });
  });
  if (timing.evaluations > 0) objective.expected_seconds = timing.evaluate / static_cast<double>(timing.evaluations);
  return timing;
}

Timing drive_lbfgsb(PyLbfgsb& solver, PyObjective& objective, const Callback& on_iteration) {
  return drive_without_gil(solver, objective, on_iteration,
                           [&](Lbfgsb& core, Objective& bound, const Observer& observer) {
                             return drive(core, solver.x_span(), solver.gradient_span(), bound, observer, poll_signals);
                           });
}

Timing drive_slsqp(PySlsqp& solver, PyConstrainedObjective& objective, const Callback& on_iteration) {
  objective.check_rows(solver.problem().constraints.size(), solver.problem().offsets);
  return drive_without_gil(solver, objective, on_iteration,
                           [&](Slsqp& core, ConstrainedObjective& bound, const Observer& observer) {
                             return drive(core, solver.problem(), bound, observer, poll_signals);
                           });
}

}  // namespace

void register_drive(py::module_& m) {
  py::class_<Timing>(m, "Timing", py::is_final(), "Where the time of a solve went, in seconds.")
      .def_readonly("evaluate", &Timing::evaluate)
      .def_readonly("solver", &Timing::solver)
      .def_readonly("evaluations", &Timing::evaluations);
  m.def("drive", &drive_lbfgsb, py::arg("solver"), py::arg("objective"), py::arg("on_iteration") = py::none(),
        R"(Solves to the end, without holding the GIL.

on_iteration() is called after every iteration; a true value stops the solve. What it or the objective raises comes
through, and so does KeyboardInterrupt; the objective can then be driven again with a new solver.)");
  m.def("drive", &drive_slsqp, py::arg("solver"), py::arg("objective"), py::arg("on_iteration") = py::none(),
        R"(The same for a constrained problem.

Functions of TensorFlow are asked for values and derivatives at once where the solver expects to need both, and at the
end for the derivatives at the last x if the solver has stopped without; it does not count that.)");
}

}  // namespace tfminimize
