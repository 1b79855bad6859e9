#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/lbfgsb.h"
#include "bindings/objective.h"
#include "driver/drive.h"

namespace tfminimize {
namespace {

Timing drive_from_python(PyLbfgsb& solver, PyObjective& objective, const std::optional<py::function>& on_iteration) {
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
  solver.lend([&](Lbfgsb& core) {
    objective.with(solver.x(), [&](Objective& bound) {
      const LongEvaluationWatch watch(objective, bound);
      const GilReleased no_gil;
      timing = drive(core, solver.x_span(), solver.gradient_span(), bound, observer, poll_signals);
    });
  });
  if (timing.evaluations > 0) objective.expected_seconds = timing.evaluate / static_cast<double>(timing.evaluations);
  return timing;
}

}  // namespace

void register_drive(py::module_& m) {
  py::class_<Timing>(m, "Timing", py::is_final(), "Where the time of a solve went, in seconds.")
      .def_readonly("evaluate", &Timing::evaluate)
      .def_readonly("solver", &Timing::solver)
      .def_readonly("evaluations", &Timing::evaluations);
  m.def("drive", &drive_from_python, py::arg("solver"), py::arg("objective"), py::arg("on_iteration") = py::none(),
        R"(Solves to the end, without holding the GIL.

on_iteration() is called after every iteration; a true value stops the solve. What it or the objective raises comes
through, and so does KeyboardInterrupt; the objective can then be driven again with a new solver.)");
}

}  // namespace tfminimize
