#include <pybind11/stl.h>

#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "bindings/gil.h"
#include "bindings/history.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/reduced.h"
#include "bindings/solver.h"
#include "bindings/tensorflow.h"
#include "driver/drive.h"
#include "driver/drive_together.h"
#include "driver/history.h"
#include "objectives/limited.h"
#include "objectives/reduced.h"

namespace tfminimize::bindings {
namespace {

using Callback = std::optional<py::function>;

bool is_true(const py::object& value) {
  const int truth = PyObject_IsTrue(value.ptr());
  if (truth < 0) throw py::error_already_set();
  return truth != 0;
}

/// Mean seconds of an evaluation, without the first if there are more, since it may have compiled the function.
double seconds_of_one(const Timing& timing) {
  if (timing.evaluations == 1) return timing.first;
  return (timing.evaluate - timing.first) / static_cast<double>(timing.evaluations - 1);
}

/// The record that `history` holds; null for None.
History* as_record(const py::object& history) {
  if (history.is_none()) return nullptr;
  if (!py::isinstance<History>(history)) {
    throw py::type_error(std::string("drive() cannot take a ") + Py_TYPE(history.ptr())->tp_name + " as history.");
  }
  return history.cast<History*>();
}

Timing drive_python(PySolver& solver, PyObjective& objective, const Callback& on_iteration, const Callback& on_start,
                    const py::object& history, const Callback& on_begin, const Callback& on_poll,
                    const Callback& on_evaluation) {
  objective.check_rows(solver.problem().constraints.size(), solver.problem().offsets);
  const SolverUse solver_use(solver);
  const ObjectiveUse use(objective, solver.arrays().x);
  const LongEvaluationWatch watch(objective, use.core());
  std::optional<Limited> limited;
  if (objective.ends_at_deadline && std::isfinite(solver_use.core().maxtime())) limited.emplace(use.core());
  Objective& core = limited ? *limited : use.core();
  const auto call = [&](const py::function& callback) {
    const GilHeld gil;
    const SolverShown shown(solver);
    const bool result = is_true(callback());
    watch.forget();
    return result;
  };
  Callbacks callbacks;
  if (on_start) callbacks.on_start = [&](double /*f*/) { call(*on_start); };
  if (on_begin) callbacks.on_begin = [&] { call(*on_begin); };
  if (on_evaluation) callbacks.on_evaluation = [&] { call(*on_evaluation); };
  if (on_iteration) callbacks.on_iteration = [&] { return call(*on_iteration); };
  const auto* const together = dynamic_cast<const PyReduced*>(&objective);
  if (together != nullptr && together->on_shared()) {
    callbacks.on_shared = [&] { return call(*together->on_shared()); };
    callbacks.shared = together->shared();
  }
  callbacks.poll = [&] {
    watch.forget();
    poll_signals();
    if (on_poll) call(*on_poll);
    const GilHeld gil;
    objective.attend();
  };
  History* const record = as_record(history);
  Timing timing;
  without_gil([&] {
    if (auto* const reduced = dynamic_cast<Reduced*>(&core)) {
      timing = drive_together(solver_use.core(), solver.problem(), *reduced, callbacks, record);
    } else {
      timing = drive(solver_use.core(), solver.problem(), core, callbacks, record);
    }
  });
  if (timing.evaluations > 0) objective.expected_seconds = seconds_of_one(timing);
  return timing;
}

}  // namespace

void register_drive(py::module_& m) {
  py::class_<Timing>(m, "Timing", py::is_final(), "How a solve spent its time, in seconds.")
      .def_readonly("evaluate", &Timing::evaluate)
      .def_readonly("first", &Timing::first)
      .def_readonly("solver", &Timing::solver)
      .def_readonly("evaluations", &Timing::evaluations);
  py::class_<History>(m, "History", py::is_final(),
                      "The time that a solve takes and, if it keeps rows, the record of its iterations.")
      .def(
          py::init(&make_history), py::arg("keeps_rows"), py::arg("seconds") = 0.0, py::arg("columns") = py::dict(),
          py::arg("keeps_latest") = false,
          "Goes on with a solve that has taken so many seconds, and with its record. keeps_latest: record the last row "
          "also if it keeps no rows.")
      .def(
          "columns",
          [](const History& history) {
            return columns({&history, 1});
          },
          "A dict of arrays: fun, gradient_norm, step, nfev, seconds and constr_violation.")
      .def_readonly("keeps_rows", &History::keeps_rows)
      .def_property_readonly(
          "gradient_norm",
          [](const History& history) {
            return history.rows.empty() ? std::numeric_limits<double>::quiet_NaN() : history.rows.back().gradient_norm;
          },
          "That of the last row; NaN if there is none.")
      .def_readonly("seconds", &History::seconds, "What the solve has taken so far.");
  m.attr("drive") = plain_function("drive", &drive_python,
                                   {{{"solver"},
                                     {"objective"},
                                     {"on_iteration", false},
                                     {"on_start", false},
                                     {"history", false},
                                     {"on_begin", false},
                                     {"on_poll", false},
                                     {"on_evaluation", false}}},
                                   R"(Solves to the end, without holding the GIL.

on_iteration() is called after every iteration; a true value stops the solve. on_begin() is called before the first
evaluation of every iteration, and of this solve. on_start() is called once, after the first evaluation. on_poll() is
called about every 50 ms, between two evaluations. on_evaluation() is called after each evaluation of values, but not
after one of derivatives alone. Timing.first is the time of the first evaluation; Timing.evaluate includes it.
Exceptions from the callbacks and
the objective come through, and so does KeyboardInterrupt; the objective can then be driven again with a new solver.

If the solver expects to need both, compiled functions compute values and derivatives in one call. If the solver stops
without the derivatives at the last x, they are evaluated at the end; the solver does not count that.

The solve ends before the next evaluation once it has taken the solver's maxtime. history records its iterations. A
Reduced objective is driven in all processes at once.)");
}

}  // namespace tfminimize::bindings
