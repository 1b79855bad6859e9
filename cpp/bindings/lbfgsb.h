#ifndef TFMINIMIZE_BINDINGS_LBFGSB_H_
#define TFMINIMIZE_BINDINGS_LBFGSB_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <functional>
#include <optional>

#include "solvers/lbfgsb.h"

namespace tfminimize {

namespace py = pybind11;

/// A solver as Python holds it, with the arrays that it works on.
class PyLbfgsb {
 public:
  PyLbfgsb(py::array x, py::array gradient, std::optional<py::array> lower, std::optional<py::array> upper,
           const LbfgsbOptions& options);

  const py::array& x() const { return x_; }
  const py::array& gradient() const { return gradient_; }
  Span<double> x_span() const { return x_span_; }
  Span<double> gradient_span() const { return gradient_span_; }

  /// The solver, to look at. Throws std::runtime_error while drive() runs, other than in its callback.
  const Lbfgsb& look() const;

  /// The solver, to change. Throws std::runtime_error while drive() runs.
  Lbfgsb& change();

  /// Hands the solver to use(solver) alone. Called with the GIL held; `use` may release it.
  void lend(const std::function<void(Lbfgsb&)>& use);

  /// Lets Python look while callback() runs, within lend(). Called with the GIL held.
  bool show(const std::function<bool()>& callback);

 private:
  enum class Use { kIdle, kDriven, kShown };

  py::array x_;
  py::array gradient_;
  std::optional<py::array> lower_;
  std::optional<py::array> upper_;
  Span<double> x_span_;
  Span<double> gradient_span_;
  Lbfgsb solver_;
  Use use_ = Use::kIdle;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_LBFGSB_H_
