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

/// An Objective as Python holds it, tied to the array whose memory it reads: one user at a time, see ObjectiveUse.
class PyObjective {
 public:
  PyObjective() = default;
  virtual ~PyObjective() = default;
  PyObjective(const PyObjective&) = delete;
  PyObjective& operator=(const PyObjective&) = delete;

  /// Whether cancel() can end an evaluation early.
  virtual bool can_be_cancelled() const { return false; }

  /// Throws std::invalid_argument unless it writes those of m constraints that the solver does not compute itself: all
  /// whose offset is NaN, or simply all if there are no offsets.
  virtual void check_rows(std::size_t m, Span<const double> offsets) const = 0;

  /// Seconds of an evaluation as far as known, else infinity.
  double expected_seconds = std::numeric_limits<double>::infinity();

 protected:
  /// Throws std::runtime_error while somebody uses it.
  void check_idle() const;

  /// Returns what evaluates at the memory of `x` until end(). Both are called with the GIL held, by the only user.
  virtual Objective& begin(const py::array& x) = 0;
  virtual void end() {}

 private:
  friend class ObjectiveUse;

  bool busy_ = false;
};

/// The use of an objective for evaluations at the memory of `x`, while it lives. Made and destroyed with the GIL held.
class ObjectiveUse {
 public:
  /// Throws std::runtime_error while another one lives.
  ObjectiveUse(PyObjective& objective, const py::array& x)
      : busy_(objective), objective_(objective), core_(objective.begin(x)) {}
  ~ObjectiveUse() { objective_.end(); }
  ObjectiveUse(const ObjectiveUse&) = delete;
  ObjectiveUse& operator=(const ObjectiveUse&) = delete;

  Objective& core() const { return core_; }

 private:
  /// Keeps others out.
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
