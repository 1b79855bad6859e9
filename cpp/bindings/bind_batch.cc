#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "bindings/history.h"
#include "bindings/interrupt_watch.h"
#include "bindings/objective.h"
#include "bindings/plain_function.h"
#include "bindings/solver.h"
#include "bindings/tensorflow.h"
#include "driver/batch.h"

namespace tfminimize::bindings {
namespace {

using Progress = std::optional<py::function>;

/// The values of one input for all `count` problems.
BatchedInput make_input(std::size_t position, const py::array& array, std::size_t count, std::size_t starts) {
  if ((array.flags() & py::array::c_style) == 0 || array.ndim() == 0 ||
      static_cast<std::size_t>(array.shape(0)) != count) {
    throw py::value_error("The array for input " + std::to_string(position) + " must be contiguous and have " +
                          std::to_string(count) + " rows.");
  }
  BatchedInput input;
  input.position = position;
  const std::optional<TF_DataType> dtype = number_dtype(array.dtype());
  if (!dtype) {
    throw py::value_error("The array for input " + std::to_string(position) + " has dtype " +
                          std::string(py::str(array.dtype())) + ", which is no number.");
  }
  input.dtype = *dtype;
  input.shape.assign(array.shape() + 1, array.shape() + array.ndim());
  input.bytes = static_cast<std::size_t>(array.nbytes()) / count;
  input.count = count;
  input.repeat = starts;
  input.data = static_cast<const std::byte*>(array.data());
  input.owner = keep_alive(array);
  return input;
}

std::vector<BatchedInput> make_inputs(const std::vector<std::pair<std::size_t, py::array>>& arrays, std::size_t count,
                                      std::size_t starts) {
  std::vector<BatchedInput> inputs;
  inputs.reserve(arrays.size());
  for (const auto& [position, array] : arrays) inputs.push_back(make_input(position, array, count, starts));
  return inputs;
}

using BatchBounds = std::optional<std::pair<py::array_t<double>, py::array_t<double>>>;

/// The bounds of all problems, [count, n].
Span<const double> bounds_span(const py::array_t<double>& side, const char* name, std::size_t count, std::size_t n) {
  if ((side.flags() & py::array::c_style) == 0 || side.ndim() != 2 ||
      static_cast<std::size_t>(side.shape(0)) != count || static_cast<std::size_t>(side.shape(1)) != n) {
    throw py::value_error(std::string("The ") + name + " bounds must be contiguous, with " + std::to_string(count) +
                          " rows of " + std::to_string(n) + " elements.");
  }
  return {side.data(), static_cast<std::size_t>(side.size())};
}

/// The memory of a solver's bounds, to be changed for each problem.
Span<double> changeable(const std::optional<py::array>& side, const char* name) {
  if (!side) throw py::value_error(std::string("A solver has no ") + name + " bounds, and the problems have them.");
  return vector_span<double>(*side, name, {false, true});
}

/// The rows of a batch as Python arrays.
class PyRows {
 public:
  /// x: [B, n], the starting points; results are written in place. n: the size of the solvers; m: the number of
  /// constraints.
  PyRows(py::array x, std::size_t n, std::size_t m, bool keeps_history)
      : count_(x.ndim() == 2 ? x.shape(0) : 0),
        x_(std::move(x)),
        gradient_({count_, static_cast<py::ssize_t>(n)}),
        multipliers_({count_, static_cast<py::ssize_t>(m)}),
        messages_(size()),
        histories_(keeps_history ? size() : 0) {
    const bool fits = count_ > 0 && x_.shape(1) == static_cast<py::ssize_t>(n) && x_.writeable() &&
                      (x_.flags() & py::array::c_style) != 0 && py::isinstance<py::array_t<double>>(x_);
    if (!fits) {
      throw py::value_error("x must be a contiguous, writeable float64 array of at least one row of " +
                            std::to_string(n) + " elements.");
    }
    for (Doubles& values : doubles_) values = Doubles(count_);
    for (Counts& values : counts_) values = Counts(count_);
    for (History& history : histories_) history.keeps_rows = true;
  }

  std::size_t size() const { return static_cast<std::size_t>(count_); }

  BatchRows rows() {
    BatchRows rows;
    rows.x = {static_cast<double*>(x_.mutable_data()), static_cast<std::size_t>(x_.size())};
    rows.gradient = span(gradient_);
    rows.multipliers = span(multipliers_);
    rows.fun = span(doubles_[0]);
    rows.constr_violation = span(doubles_[1]);
    rows.nit = span(counts_[0]);
    rows.nfev = span(counts_[1]);
    rows.njev = span(counts_[2]);
    rows.status = span(counts_[3]);
    rows.message = messages_;
    rows.histories = histories_;
    return rows;
  }

  /// Everything but x.
  py::dict to_python(const BatchOutcome& outcome) const {
    py::dict errors;
    py::list messages;
    for (std::size_t i = 0; i < size(); ++i) {
      const py::object error = outcome.errors[i] ? exception(outcome.errors[i]) : py::none();
      if (!error.is_none()) errors[py::int_(i)] = error;
      messages.append(error.is_none() ? text(messages_[i]) : py::str(error));
    }
    py::dict result;
    result["fun"] = doubles_[0];
    result["jac"] = gradient_;
    result["nit"] = counts_[0];
    result["nfev"] = counts_[1];
    result["njev"] = counts_[2];
    result["status"] = counts_[3];
    result["message"] = messages;
    result["constr_violation"] = doubles_[1];
    result["multipliers"] = multipliers_;
    result["errors"] = errors;
    if (histories_.empty()) return result;
    Counts sizes(count_);
    std::transform(histories_.begin(), histories_.end(), sizes.mutable_data(),
                   [](const History& history) { return static_cast<std::int64_t>(history.rows.size()); });
    result["history"] = py::make_tuple(columns({histories_.data(), histories_.size()}), sizes);
    return result;
  }

 private:
  using Doubles = py::array_t<double>;
  using Counts = py::array_t<std::int64_t>;

  template <typename T>
  static Span<T> span(py::array_t<T>& array) {
    return {array.mutable_data(), static_cast<std::size_t>(array.size())};
  }

  /// The exception that Python would have caught. pybind11 translates C++ exceptions only when they leave a function.
  static py::object exception(const std::exception_ptr& error) {
    if (const auto failed = tensorflow_error(error)) return python_exception(*failed);
    try {
      py::cpp_function([&error] { std::rethrow_exception(error); })();
    } catch (const py::error_already_set& raised) {
      return raised.value();
    }
    return py::none();
  }

  /// There may be many problems, but a solver has only a few messages, so each becomes one Python string.
  const py::str& text(const char* message) const { return texts_.try_emplace(message, message).first->second; }

  py::ssize_t count_;
  py::array x_;
  Doubles gradient_;
  Doubles multipliers_;
  std::array<Doubles, 2> doubles_;
  std::array<Counts, 4> counts_;
  std::vector<const char*> messages_;
  std::vector<History> histories_;
  mutable std::unordered_map<const char*, py::str> texts_;
};

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

/// Throws unless all solvers have the same size and their objectives fit.
void check(const std::vector<PySolver*>& solvers, const std::vector<PyObjective*>& objectives) {
  if (solvers.empty() || solvers.size() != objectives.size()) {
    throw py::value_error("There must be as many objectives as solvers, and at least one.");
  }
  const solvers::Problem& first = solvers.front()->problem();
  for (std::size_t i = 0; i < solvers.size(); ++i) {
    const solvers::Problem& problem = solvers[i]->problem();
    if (problem.x.size() != first.x.size() || problem.constraints.size() != first.constraints.size()) {
      throw py::value_error("All solvers must have the same size.");
    }
    objectives[i]->check_rows(problem.constraints.size(), problem.offsets);
  }
}

py::tuple drive_batch(const py::tuple& solver_tuple, const py::tuple& objective_tuple, const py::array& x,
                      const std::vector<std::pair<std::size_t, py::array>>& inputs, const Progress& progress,
                      std::optional<bool> keeps_history, const BatchBounds& bounds, std::optional<std::size_t> starts) {
  const std::vector<PySolver*> solvers = pointers<PySolver>(solver_tuple, "solvers");
  const std::vector<PyObjective*> objectives = pointers<PyObjective>(objective_tuple, "objectives");
  check(solvers, objectives);
  PyRows rows(x, solvers.front()->problem().x.size(), solvers.front()->problem().constraints.size(),
              keeps_history.value_or(false));
  BatchRows memory = rows.rows();
  memory.starts = starts.value_or(1);
  if (memory.starts == 0 || rows.size() % memory.starts != 0) {
    throw py::value_error("The rows of x must be a multiple of starts.");
  }
  const std::size_t count = rows.size() / memory.starts;
  const std::vector<BatchedInput> batched = make_inputs(inputs, count, memory.starts);
  if (bounds) {
    const std::size_t n = solvers.front()->problem().x.size();
    memory.lower = bounds_span(bounds->first, "lower", count, n);
    memory.upper = bounds_span(bounds->second, "upper", count, n);
  }
  const BatchCallback callback = [&](std::size_t done) {
    poll_signals();
    const GilHeld gil;
    for (PyObjective* objective : objectives) objective->attend();
    if (progress) (*progress)(done);
  };
  std::list<SolverUse> solver_uses;
  std::list<ObjectiveUse> objective_uses;
  std::vector<Worker> workers;
  for (std::size_t i = 0; i < solvers.size(); ++i) {
    solvers::Solver& solver = solver_uses.emplace_back(*solvers[i]).core();
    Objective& objective = objective_uses.emplace_back(*objectives[i], solvers[i]->arrays().x).core();
    Worker worker{solver, solvers[i]->problem(), objective, {}, {}};
    if (bounds) {
      worker.lower = changeable(solvers[i]->arrays().lower, "lower");
      worker.upper = changeable(solvers[i]->arrays().upper, "upper");
    }
    workers.push_back(worker);
  }
  BatchOutcome outcome;
  without_gil([&] { outcome = solve_batch(workers, batched, memory, callback); });
  return py::make_tuple(rows.to_python(outcome), outcome.timing);
}

}  // namespace

void register_batch(py::module_& m) {
  m.attr("drive_batch") = plain_function(
      "drive_batch", &drive_batch,
      {{{"solvers"},
        {"objectives"},
        {"x"},
        {"inputs"},
        {"progress", false},
        {"keeps_history", false},
        {"bounds", false},
        {"starts", false}}},
      R"(Solves one problem for each row of x, which holds the starting points, with one thread for each solver.

All solvers have the same size, and each has its own objective. A solver starts again for every problem, with the same
options. inputs: pairs (position, array [B, ...]); each problem takes its row of the array as the input at that
position. bounds: arrays [B, n] of lower and upper bounds, which each solver gets in the memory of its own ones.
starts: so many problems, one after another, share a row of the inputs and the bounds. progress(done) is called about every 50 ms with the number of problems that are done. An exception that it
raises comes through, and so does KeyboardInterrupt.

Returns a dict of SciPy's fields, which are arrays with an element or row for each problem, and the summed Timing. With
keeps_history, `history` is a dict of arrays, see History, with the rows of all problems, and the number of rows of each. x holds the results. If the objective raises for a problem, the exception is in `errors` under the problem's index; the
problem keeps its starting point, its other results are NaN, and its status is -1.)");
}

}  // namespace tfminimize::bindings
