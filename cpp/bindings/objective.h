#ifndef TFMINIMIZE_BINDINGS_OBJECTIVE_H_
#define TFMINIMIZE_BINDINGS_OBJECTIVE_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <functional>
#include <limits>

#include "objectives/objective.h"

namespace tfminimize {

namespace py = pybind11;

/// An Objective as Python holds it: one user at a time, and tied to the array whose memory it reads.
class PyObjective {
 public:
  PyObjective() = default;
  virtual ~PyObjective() = default;
  PyObjective(const PyObjective&) = delete;
  PyObjective& operator=(const PyObjective&) = delete;

  /// Calls use(objective), for evaluations at the memory of `x`. Called with the GIL held; `use` may release it.
  /// Throws std::runtime_error while another use() runs.
  void with(const py::array& x, const std::function<void(Objective&)>& use);

  /// Whether cancel() can end an evaluation early.
  virtual bool can_be_cancelled() const { return false; }

  /// Seconds of an evaluation as far as known, else infinity.
  double expected_seconds = std::numeric_limits<double>::infinity();

 protected:
  /// with(), once it is known that nobody else uses the objective.
  virtual void with_exclusively(const py::array& x, const std::function<void(Objective&)>& use) = 0;

  /// Throws std::runtime_error while a use() runs.
  void check_idle() const;

 private:
  bool busy_ = false;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_OBJECTIVE_H_
