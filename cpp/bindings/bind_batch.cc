#include <pybind11/stl.h>

#include <array>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/batch_memory.h"
#include "bindings/gil.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/solver.h"
#include "bindings/tensorflow.h"
#include "driver/batch.h"
#include "driver/in_step.h"
#include "objectives/vector_objective.h"

namespace tfminimize::bindings {
namespace {

using Progress = std::optional<py::function>;

/// The elements of a tuple, which must outlive them. Throws py::type_error for anything but a T.
template <typename T>
std::vector<T*> pointers(const py::tuple& tuple, const std::string& name) {
  std::vector<T*> result;
  result.reserve(tuple.size());
  for (const py::handle item : tuple) {
    if (!py::isinstance<T>(item)) {
      throw py::type_error("One of the " + name + " is a " + Py_TYPE(item.ptr())->tp_name + ".");
    }
    result.push_back(item.cast<T*>());
  }
  return result;
}

/// Throws unless all solvers have the same size and the objective fits.
void check(const std::vector<PySolver*>& solvers, const PyObjective& objective, const solvers::Problem& first) {
  for (const PySolver* solver : solvers) {
    const solvers::Problem& problem = solver->problem();
    if (problem.x.size() != first.x.size() || problem.constraints.size() != first.constraints.size()) {
      throw py::value_error("All solvers must have the same size.");
    }
    objective.check_rows(problem.constraints.size(), problem.offsets);
  }
}

/// Handles signals, lets the objectives do what waits for the GIL, and tells Python how many problems are done.
BatchCallback callback_of(const std::vector<PyObjective*>& objectives, const Progress& progress) {
  return [&objectives, &progress](std::size_t done) {
    poll_signals();
    const GilHeld gil;
    for (PyObjective* objective : objectives) objective->attend();
    if (progress) (*progress)(done);
  };
}

using Inputs = std::vector<std::pair<std::size_t, py::array>>;
using Bounds = std::optional<std::pair<py::array_t<double>, py::array_t<double>>>;

/// The objectives and the solvers that each of them serves, in use.
class Desks {
 public:
  /// Throws py::value_error unless all solvers have the same size and each objective fits its own.
  Desks(const std::vector<std::vector<PySolver*>>& solvers, const std::vector<PyObjective*>& objectives)
      : solvers_(solvers) {
    if (solvers.empty() || solvers.size() != objectives.size()) {
      throw py::value_error("There must be as many objectives as solvers, and at least one.");
    }
    for (std::size_t i = 0; i < solvers.size(); ++i) {
      if (solvers[i].empty()) throw py::value_error("An objective has no solvers.");
      check(solvers[i], *objectives[i], first());
    }
    for (std::size_t i = 0; i < solvers.size(); ++i) {
      for (PySolver* solver : solvers[i]) solver_uses_.emplace_back(*solver);
      objective_uses_.emplace_back(*objectives[i], solvers[i].front()->arrays().x);
    }
  }

  const solvers::Problem& first() const { return solvers_.front().front()->problem(); }

  /// The workers of each objective.
  std::vector<std::vector<Worker>> workers(const BatchMemory& memory) const {
    std::vector<std::vector<Worker>> result;
    auto solver_use = solver_uses_.begin();
    auto objective_use = objective_uses_.begin();
    for (const std::vector<PySolver*>& solvers : solvers_) {
      result.emplace_back();
      for (const PySolver* solver : solvers) {
        result.back().push_back(memory.worker(*solver_use++, *solver, objective_use->core()));
      }
      ++objective_use;
    }
    return result;
  }

 private:
  std::vector<std::vector<PySolver*>> solvers_;
  std::list<SolverUse> solver_uses_;
  std::list<ObjectiveUse> objective_uses_;
};

BatchArguments arguments_of(const py::array& x, const Inputs& inputs, std::optional<bool> keeps_history,
                            const Bounds& bounds, std::optional<std::size_t> starts) {
  return {x, inputs, keeps_history.value_or(false), bounds, starts.value_or(1)};
}

py::tuple drive_batch(const py::tuple& solver_tuple, const py::tuple& objective_tuple, const py::array& x,
                      const Inputs& inputs, const Progress& progress, std::optional<bool> keeps_history,
                      const Bounds& bounds, std::optional<std::size_t> starts) {
  std::vector<std::vector<PySolver*>> solvers;
  for (PySolver* solver : pointers<PySolver>(solver_tuple, "solvers")) solvers.push_back({solver});
  const std::vector<PyObjective*> objectives = pointers<PyObjective>(objective_tuple, "objectives");
  const Desks desks(solvers, objectives);
  BatchMemory memory(arguments_of(x, inputs, keeps_history, bounds, starts), desks.first().x.size(),
                     desks.first().constraints.size());
  std::vector<Worker> workers;
  for (const std::vector<Worker>& one : desks.workers(memory)) workers.push_back(one.front());
  BatchOutcome outcome;
  without_gil(
      [&] { outcome = solve_batch(workers, memory.inputs(), memory.rows(), callback_of(objectives, progress)); });
  return py::make_tuple(memory.to_python(outcome), outcome.timing);
}

py::tuple drive_in_step(const py::tuple& solver_tuples, const py::tuple& objective_tuple, const py::array& x,
                        const Inputs& inputs, const Progress& progress, std::optional<bool> keeps_history,
                        const Bounds& bounds, std::optional<std::size_t> starts) {
  std::vector<std::vector<PySolver*>> solvers;
  for (const py::handle team : solver_tuples) solvers.push_back(pointers<PySolver>(team.cast<py::tuple>(), "solvers"));
  const std::vector<PyObjective*> objectives = pointers<PyObjective>(objective_tuple, "objectives");
  const Desks desks(solvers, objectives);
  BatchMemory memory(arguments_of(x, inputs, keeps_history, bounds, starts), desks.first().x.size(),
                     desks.first().constraints.size());
  std::vector<Team> teams;
  for (std::vector<Worker>& workers : desks.workers(memory)) {
    auto* objective = dynamic_cast<VectorObjective*>(&workers.front().objective);
    if (objective == nullptr) throw py::type_error("One of the objectives evaluates one problem at a time.");
    if (workers.size() > objective->capacity()) {
      throw py::value_error("An objective has " + std::to_string(workers.size()) + " solvers, and its capacity is " +
                            std::to_string(objective->capacity()) + ".");
    }
    teams.push_back({std::move(workers), *objective});
  }
  BatchOutcome outcome;
  without_gil(
      [&] { outcome = solve_in_step(teams, memory.inputs(), memory.rows(), callback_of(objectives, progress)); });
  return py::make_tuple(memory.to_python(outcome), outcome.timing);
}

}  // namespace

void register_batch(py::module_& m) {
  const std::array<Parameter, 8> parameters = {{{"solvers"},
                                                {"objectives"},
                                                {"x"},
                                                {"inputs"},
                                                {"progress", false},
                                                {"keeps_history", false},
                                                {"bounds", false},
                                                {"starts", false}}};
  m.attr("drive_batch") = plain_function(
      "drive_batch", &drive_batch, parameters,
      R"(Solves one problem for each row of x, which holds the starting points, with one thread for each solver.

All solvers have the same size, and each has its own objective. A solver starts again for every problem, with the same
options. inputs: pairs (position, array [B, ...]); each problem takes its row of the array as the input at that
position. bounds: arrays [B, n] of lower and upper bounds, which each solver gets in the memory of its own ones.
starts: so many problems, one after another, share a row of the inputs and the bounds. progress(done) is called about
every 50 ms with the number of problems that are done. An exception that it raises comes through, and so does
KeyboardInterrupt.

Returns a dict of SciPy's fields, which are arrays with an element or row for each problem, and the summed Timing. With
keeps_history, `history` is a dict of arrays, see History, with the rows of all problems, and the number of rows of
each. x holds the results. If the objective raises for a problem, the exception is in `errors` under the problem's
index; the problem keeps its starting point, its other results are NaN, and its status is -1.)");
  m.attr("drive_in_step") = plain_function("drive_in_step", &drive_in_step, parameters,
                                           R"(Solves as drive_batch() does, but many problems in step.

solvers: a tuple for each objective, which is a VectorObjective and evaluates the problems of all its solvers in one
call. There is one thread for each objective, and each has its own share of the problems. If an evaluation raises, all
problems in it have the exception.)");
}

}  // namespace tfminimize::bindings
