#ifndef TFMINIMIZE_OBJECTIVES_CONSTRAINED_OBJECTIVE_H_
#define TFMINIMIZE_OBJECTIVES_CONSTRAINED_OBJECTIVE_H_

#include <cstddef>

#include "objectives/evaluator.h"
#include "solvers/span.h"

namespace tfminimize {

/// Where the derivatives at x are written: the gradient of f, and the Jacobian of the constraints row by row,
///
///     jacobian[i * stride + j] = ∂c_i/∂x_j
struct Derivatives {
  Span<double> gradient;   ///< [n]
  Span<double> jacobian;   ///< [m * stride]
  std::size_t stride = 0;  ///< At least n.
};

/// A function to minimise and the functions that constrain it, with their derivatives.
///
/// x: [n], 64-byte aligned; c: [m], the constraints; nothing overlaps. What the functions throw comes through, and what
/// they were to write is then of no use.
class ConstrainedObjective : public Evaluator {
 public:
  /// Returns f(x) and writes c(x).
  virtual double evaluate_values(Span<const double> x, Span<double> c) = 0;

  /// Writes the derivatives at x, where the values have been evaluated already.
  virtual void evaluate_derivatives(Span<const double> x, const Derivatives& derivatives) = 0;

  /// Returns f(x), writes c(x) and the derivatives at x.
  virtual double evaluate(Span<const double> x, Span<double> c, const Derivatives& derivatives) {
    const double f = evaluate_values(x, c);
    evaluate_derivatives(x, derivatives);
    return f;
  }

  /// Whether evaluate() takes less than the two others, so that it pays where derivatives will most likely be asked
  /// for, and derivatives that nobody has asked for may be evaluated.
  virtual bool is_joint() const { return false; }
};

}  // namespace tfminimize

#endif  // TFMINIMIZE_OBJECTIVES_CONSTRAINED_OBJECTIVE_H_
