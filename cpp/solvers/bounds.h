#ifndef TFMINIMIZE_SOLVERS_BOUNDS_H_
#define TFMINIMIZE_SOLVERS_BOUNDS_H_

#include <cstddef>

#include "solvers/span.h"

namespace tfminimize::solvers {

// Bounds are two spans of n numbers, infinite for a variable without a bound. Both are empty if no variable has one.

/// Throws std::invalid_argument if the sizes are wrong, or if a lower bound is above its upper bound.
void check_bounds(std::size_t n, Span<const double> lower, Span<const double> upper);

/// Projects x into the bounds. NaN stays NaN.
void project(Span<double> x, Span<const double> lower, Span<const double> upper);

/// max |P(x - g) - x|, with P the projection into the bounds; NaN if an element of g is.
double projected_gradient_norm(Span<const double> x, Span<const double> g, Span<const double> lower,
                               Span<const double> upper);

/// Whether no element of x is outside its bounds.
bool is_within(Span<const double> x, Span<const double> lower, Span<const double> upper);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_BOUNDS_H_
