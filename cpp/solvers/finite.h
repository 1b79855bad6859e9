#ifndef TFMINIMIZE_SOLVERS_FINITE_H_
#define TFMINIMIZE_SOLVERS_FINITE_H_

#include "solvers/span.h"

namespace tfminimize::solvers {

/// Whether no value is NaN or infinite.
inline bool all_finite(Span<const double> values) {
  // x - x is zero, unless x is not finite. A sum has no branch that would keep the loop from being vectorized.
  double sum = 0;
  for (const double value : values) sum += value - value;
  return sum == 0;
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_FINITE_H_
