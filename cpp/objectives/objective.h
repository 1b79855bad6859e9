#ifndef TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_

#include "objectives/evaluator.h"
#include "solvers/span.h"

namespace tfminimize {

/// A function to minimise, with its gradient.
class Objective : public Evaluator {
 public:
  /// Returns f(x) and writes the gradient at x. x, g: [n], 64-byte aligned, apart from each other. What the function
  /// throws comes through; g is then of no use.
  virtual double evaluate(Span<const double> x, Span<double> g) = 0;
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_OBJECTIVE_H_
