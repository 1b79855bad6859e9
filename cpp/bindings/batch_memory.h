#ifndef TFMINIMIZE_BINDINGS_BATCH_MEMORY_H_
#define TFMINIMIZE_BINDINGS_BATCH_MEMORY_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bindings/solver.h"
#include "driver/batch.h"
#include "driver/history.h"
#include "objectives/batched_input.h"
#include "objectives/objective.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// What drive_batch() and drive_in_step() take besides solvers and objectives.
struct BatchArguments {
  py::array x;                                            ///< [B, n], the starting points; gets the results.
  std::vector<std::pair<std::size_t, py::array>> inputs;  ///< By position.
  bool keeps_history = false;
  std::optional<std::pair<py::array_t<double>, py::array_t<double>>> bounds;
  std::size_t starts = 1;
};

/// The memory of a batch as Python arrays.
class BatchMemory {
 public:
  /// n: the size of the solvers; m: the number of constraints. Throws py::value_error for arrays that do not fit.
  BatchMemory(BatchArguments arguments, std::size_t n, std::size_t m);

  const BatchRows& rows() const { return rows_; }
  const std::vector<BatchedInput>& inputs() const { return inputs_; }

  /// A solver at work. Throws py::value_error if the problems have bounds and it has none.
  Worker worker(const SolverUse& use, const PySolver& solver, Objective& objective) const;

  /// Everything but x.
  py::dict to_python(const BatchOutcome& outcome) const;

 private:
  using Doubles = py::array_t<double>;
  using Counts = py::array_t<std::int64_t>;

  std::size_t size() const { return static_cast<std::size_t>(count_); }
  void set_rows(std::size_t n);
  /// There may be many problems, but a solver has only a few messages, so each becomes one Python string.
  const py::str& text(const char* message) const { return texts_.try_emplace(message, message).first->second; }

  BatchArguments arguments_;
  py::ssize_t count_;
  Doubles gradient_;
  Doubles multipliers_;
  std::array<Doubles, 2> doubles_;
  std::array<Counts, 4> counts_;
  std::vector<const char*> messages_;
  std::vector<History> histories_;
  BatchRows rows_;
  std::vector<BatchedInput> inputs_;
  mutable std::unordered_map<const char*, py::str> texts_;
};

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_BATCH_MEMORY_H_
