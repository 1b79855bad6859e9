#ifndef TFMINIMIZE_SOLVERS_FINITE_H_
#define TFMINIMIZE_SOLVERS_FINITE_H_

#include <cstddef>

#include "solvers/span.h"

namespace tfminimize::solvers {

/// Whether no value is NaN or infinite.
inline bool all_finite(Span<const double> values) {
  // x - x is zero, unless x is not finite; then the sum stays NaN. Several sums do not wait for each other.
  constexpr std::size_t kSums = 8;
  double sums[kSums] = {};
  std::size_t i = 0;
  for (; i + kSums <= values.size(); i += kSums) {
    for (std::size_t k = 0; k < kSums; ++k) sums[k] += values[i + k] - values[i + k];
  }
  for (; i < values.size(); ++i) sums[0] += values[i] - values[i];
  double total = 0;
  for (const double sum : sums) total += sum;
  return total == 0;
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_FINITE_H_
