#ifndef TFMINIMIZE_SOLVERS_FINITE_H_
#define TFMINIMIZE_SOLVERS_FINITE_H_

#include "solvers/span.h"

namespace tfminimize::solvers {

/// Whether no value is NaN or infinite.
inline bool all_finite(Span<const double> values) {
  // x - x is zero, unless x is not finite. There is no branch that would keep the loop from being vectorized.
  bool all = true;
  for (const double value : values) all &= value - value == 0;
  return all;
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_FINITE_H_
