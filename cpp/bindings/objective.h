#ifndef TFMINIMIZE_BINDINGS_OBJECTIVE_H_
#define TFMINIMIZE_BINDINGS_OBJECTIVE_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <limits>

#include "objectives/objective.h"
#include "solvers/span.h"

namespace tfminimize::bindings {

namespace py = pybind11;

/// An Objective as Python holds it. It has one user at a time, see ObjectiveUse.
class PyObjective {
 public:
  PyObjective() = default;
  virtual ~PyObjective() = default;
  PyObjective(const PyObjective&) = delete;
  PyObjective& operator=(const PyObjective&) = delete;

  /// Whether cancel() can end an evaluation early.
  virtual bool can_be_cancelled() const { return false; }

  /// Throws std::invalid_argument unless it writes exactly those of the m constraints that the solver does not compute
  /// itself: those whose offset is NaN, or all if there are no offsets.
  virtual void check_rows(std::size_t m, Span<const double> offsets) const = 0;

  /// Called between two evaluations, with the GIL held, in the thread that drives a solve: it may run Python.
  virtual void attend() {}

  /// Whether the solver's maxtime ends an evaluation, by cancel().
  bool ends_at_deadline = false;

  /// The seconds that an evaluation takes; infinity until one has been timed.
  double expected_seconds = std::numeric_limits<double>::infinity();

 protected:
  /// Throws std::runtime_error while the objective is in use.
  void check_idle() const;

  /// Returns the objective that evaluates at the memory of `x` until end(). The only user calls both, with the GIL
  /// held.
  virtual Objective& begin(const py::array& x) = 0;
  virtual void end() {}

 private:
  friend class ObjectiveUse;

  bool busy_ = false;
};

/// Uses an objective for evaluations at the memory of `x`, while it lives. Make and destroy it with the GIL held.
class ObjectiveUse {
 public:
  /// Throws std::runtime_error while another one uses the objective.
  ObjectiveUse(PyObjective& objective, const py::array& x)
      : busy_(objective), objective_(objective), core_(objective.begin(x)) {}
  ~ObjectiveUse() { objective_.end(); }
  ObjectiveUse(const ObjectiveUse&) = delete;
  ObjectiveUse& operator=(const ObjectiveUse&) = delete;

  Objective& core() const { return core_; }

 private:
  /// Keeps other users out.
  class Busy {
   public:
    explicit Busy(PyObjective& objective) : objective_(objective) {
      objective.check_idle();
      objective.busy_ = true;
    }
    ~Busy() { objective_.busy_ = false; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    PyObjective& objective_;
  };

  Busy busy_;
  PyObjective& objective_;
  Objective& core_;
};

}  // namespace tfminimize::bindings

#endif  // TFMINIMIZE_BINDINGS_OBJECTIVE_H_
