#ifndef TFMINIMIZE_BINDINGS_OBJECTIVE_H_
#define TFMINIMIZE_BINDINGS_OBJECTIVE_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <functional>
#include <limits>

#include "objectives/constrained_objective.h"
#include "objectives/objective.h"

namespace tfminimize {

namespace py = pybind11;

/// What evaluates, as Python holds it: one user at a time.
class PyEvaluator {
 public:
  PyEvaluator() = default;
  virtual ~PyEvaluator() = default;
  PyEvaluator(const PyEvaluator&) = delete;
  PyEvaluator& operator=(const PyEvaluator&) = delete;

  /// Whether cancel() can end an evaluation early.
  virtual bool can_be_cancelled() const { return false; }

  /// Seconds of an evaluation as far as known, else infinity.
  double expected_seconds = std::numeric_limits<double>::infinity();

 protected:
  /// Throws std::runtime_error while somebody uses it.
  void check_idle() const;

  /// Calls use() as the only user. Throws std::runtime_error while another one runs.
  void use_alone(const std::function<void()>& use);

 private:
  bool busy_ = false;
};

/// An Objective or ConstrainedObjective as Python holds it, tied to the array whose memory it reads.
template <typename Core>
class PyObjectiveOf : public PyEvaluator {
 public:
  /// Calls use(objective), for evaluations at the memory of `x`. Called with the GIL held; `use` may release it.
  /// Throws std::runtime_error while another use() runs.
  void with(const py::array& x, const std::function<void(Core&)>& use) {
    use_alone([&] { with_exclusively(x, use); });
  }

  /// Calls evaluate(), and throws what Python sees in place of an error of the objective. Needs no GIL.
  virtual void translate(const std::function<void()>& evaluate) const { evaluate(); }

 protected:
  /// with(), once it is known that nobody else uses the objective.
  virtual void with_exclusively(const py::array& x, const std::function<void(Core&)>& use) = 0;
};

using PyObjective = PyObjectiveOf<Objective>;

class PyConstrainedObjective : public PyObjectiveOf<ConstrainedObjective> {
 public:
  /// Throws std::invalid_argument unless it writes those of m constraints that the solver does not compute itself:
  /// all whose offset is NaN, or simply all if there are no offsets.
  virtual void check_rows(std::size_t m, Span<const double> offsets) const = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_OBJECTIVE_H_
