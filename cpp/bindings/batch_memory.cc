#include "bindings/batch_memory.h"

#include <algorithm>
#include <string>

#include "bindings/arrays.h"
#include "bindings/history.h"
#include "bindings/tensorflow.h"

namespace tfminimize::bindings {
namespace {

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

template <typename T>
Span<T> span(py::array_t<T>& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

/// The exception that Python would have caught. pybind11 translates C++ exceptions only when they leave a function.
py::object exception(const std::exception_ptr& error) {
  if (const auto failed = tensorflow_error(error)) return python_exception(*failed);
  try {
    py::cpp_function([&error] { std::rethrow_exception(error); })();
  } catch (const py::error_already_set& raised) {
    return raised.value();
  }
  return py::none();
}

}  // namespace

BatchMemory::BatchMemory(BatchArguments arguments, std::size_t n, std::size_t m)
    : arguments_(std::move(arguments)),
      count_(arguments_.x.ndim() == 2 ? arguments_.x.shape(0) : 0),
      gradient_({count_, static_cast<py::ssize_t>(n)}),
      multipliers_({count_, static_cast<py::ssize_t>(m)}),
      messages_(size()),
      histories_(arguments_.keeps_history ? size() : 0) {
  const py::array& x = arguments_.x;
  const bool fits = count_ > 0 && x.shape(1) == static_cast<py::ssize_t>(n) && x.writeable() &&
                    (x.flags() & py::array::c_style) != 0 && py::isinstance<py::array_t<double>>(x);
  if (!fits) {
    throw py::value_error("x must be a contiguous, writeable float64 array of at least one row of " +
                          std::to_string(n) + " elements.");
  }
  const std::size_t starts = arguments_.starts;
  if (starts == 0 || size() % starts != 0) throw py::value_error("The rows of x must be a multiple of starts.");
  for (Doubles& values : doubles_) values = Doubles(count_);
  for (Counts& values : counts_) values = Counts(count_);
  for (History& history : histories_) history.keeps_rows = true;
  inputs_ = make_inputs(arguments_.inputs, size() / starts, starts);
  set_rows(n);
}

void BatchMemory::set_rows(std::size_t n) {
  rows_.x = {static_cast<double*>(arguments_.x.mutable_data()), static_cast<std::size_t>(arguments_.x.size())};
  rows_.gradient = span(gradient_);
  rows_.multipliers = span(multipliers_);
  rows_.fun = span(doubles_[0]);
  rows_.constr_violation = span(doubles_[1]);
  rows_.nit = span(counts_[0]);
  rows_.nfev = span(counts_[1]);
  rows_.njev = span(counts_[2]);
  rows_.status = span(counts_[3]);
  rows_.message = messages_;
  rows_.histories = histories_;
  rows_.starts = arguments_.starts;
  if (!arguments_.bounds) return;
  const std::size_t count = size() / arguments_.starts;
  rows_.lower = bounds_span(arguments_.bounds->first, "lower", count, n);
  rows_.upper = bounds_span(arguments_.bounds->second, "upper", count, n);
}

Worker BatchMemory::worker(const SolverUse& use, const PySolver& solver, Objective& objective) const {
  Worker worker{use.core(), solver.problem(), objective, {}, {}};
  if (arguments_.bounds) {
    worker.lower = changeable(solver.arrays().lower, "lower");
    worker.upper = changeable(solver.arrays().upper, "upper");
  }
  return worker;
}

py::dict BatchMemory::to_python(const BatchOutcome& outcome) const {
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

}  // namespace tfminimize::bindings
