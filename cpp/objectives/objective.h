#ifndef TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_

#include "solvers/span.h"

namespace tfminimize {

/// A function to minimise, with its gradient.
class Objective {
 public:
  Objective() = default;
  virtual ~Objective() = default;
  Objective(const Objective&) = delete;
  Objective& operator=(const Objective&) = delete;

  /// Returns f(x) and writes the gradient at x. x, g: [n], 64-byte aligned, apart from each other. What the function
  /// throws comes through; g is then of no use.
  virtual double evaluate(Span<const double> x, Span<double> g) = 0;

  /// Asks the evaluation that another thread is in to end early with an exception, where that is possible. Without
  /// effect on later evaluations. May be called at any time, from any thread.
  virtual void cancel() {}
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
