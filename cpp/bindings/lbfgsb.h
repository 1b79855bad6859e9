#ifndef TFMINIMIZE_BINDINGS_LBFGSB_H_
#define TFMINIMIZE_BINDINGS_LBFGSB_H_

#include "bindings/solver.h"
#include "solvers/lbfgsb/lbfgsb.h"

namespace tfminimize {

/// L-BFGS-B as Python holds it.
class PyLbfgsb : public PySolver<solvers::Lbfgsb> {
 public:
  /// Throws py::type_error or py::value_error for arrays that cannot be used in place.
  PyLbfgsb(const SolverArrays& arrays, const solvers::LbfgsbOptions& options);

  Span<double> x_span() const { return x_span_; }
  Span<double> gradient_span() const { return gradient_span_; }

 private:
  Span<double> x_span_;
  Span<double> gradient_span_;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_BINDINGS_LBFGSB_H_
