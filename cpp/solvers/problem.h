#ifndef TFMINIMIZE_SOLVERS_PROBLEM_H_
#define TFMINIMIZE_SOLVERS_PROBLEM_H_

#include <cstddef>

#include "solvers/padding.h"
#include "solvers/span.h"

namespace tfminimize::solvers {

/// The memory of a problem of n variables and m constraints. The caller owns it and keeps it in place while the solver
/// lives.
///
/// The constraints are c_i(x) = 0 for i < num_equalities and c_i(x) >= 0 for the others. The Jacobian is stored row by
/// row, stride(n) doubles each, with zeros in the padding:
///
///     jacobian[i * stride + j] = ∂c_i/∂x_j
struct Problem {
  Span<double> x;            ///< [n], 64-byte aligned; the start, which the solver projects into the bounds.
  Span<double> gradient;     ///< [n], 64-byte aligned
  Span<double> constraints;  ///< [m], c(x)
  Span<double> jacobian;     ///< [m * stride(n)], 64-byte aligned
  std::size_t num_equalities = 0;
  Span<const double> lower;  ///< [n] or empty; -infinity for a variable without a bound. Read during the whole solve.
  Span<const double> upper;  ///< [n] or empty.
  /// [m] or empty. If offsets[i] is not NaN, constraint i is linear: c_i = jacobian_i·x + offsets_i. The caller fills
  /// in its row before the solve, and the solver computes c_i itself; nobody else writes to either.
  Span<const double> offsets;
  std::size_t num_variables = 0;  ///< How many of the n are not padding; 0 for all.

  /// How much constraint i is violated.
  double violation(std::size_t i) const {
    const double c = constraints[i];
    if (c >= 0) return i < num_equalities ? c : 0;
    return -c;  // NaN stays NaN.
  }
  double total_violation() const {
    double total = 0;
    for (std::size_t i = 0; i < constraints.size(); ++i) total += violation(i);
    return total;
  }
  /// The distance between two rows of the Jacobian, in doubles.
  static constexpr std::size_t stride(std::size_t n) { return padded(n); }
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_PROBLEM_H_
