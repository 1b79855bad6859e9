#ifndef TFMINIMIZE_TESTS_SOLVERS_LBFGSB_MODEL_REFERENCE_H_
#define TFMINIMIZE_TESTS_SOLVERS_LBFGSB_MODEL_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers::testing {

/// An iterate with its gradient and the bounds.
struct Iterate {
  Vector x;
  Vector gradient;
  Vector lower;
  Vector upper;

  std::size_t size() const { return x.size(); }
  double clip(std::size_t i, double value) const { return std::min(std::max(value, lower[i]), upper[i]); }
};

struct CauchyPoint {
  double t = 0;
  Vector x;
  std::vector<bool> free;  ///< The variables that met no bound.
};

/// The first local minimizer of the model gᵀp + ½pᵀBp along P(x - t·g), piece by piece, with new products with B for
/// each piece.
inline CauchyPoint cauchy_point(const Matrix& b, const Iterate& at) {
  const std::size_t n = at.size();
  Vector breakpoints(n, kInf);
  CauchyPoint point{0, at.x, std::vector<bool>(n, true)};
  for (std::size_t i = 0; i < n; ++i) {
    const double g = at.gradient[i];
    if (g > 0) breakpoints[i] = (at.x[i] - at.lower[i]) / g;
    if (g < 0) breakpoints[i] = (at.x[i] - at.upper[i]) / g;
    if (g == 0 && (at.x[i] == at.lower[i] || at.x[i] == at.upper[i])) breakpoints[i] = 0;
    if (at.lower[i] == at.upper[i]) breakpoints[i] = 0;
    point.free[i] = breakpoints[i] > 0;
  }
  while (true) {
    Vector d(n);
    Vector moved(n);
    double end = kInf;
    for (std::size_t i = 0; i < n; ++i) {
      moved[i] = point.x[i] - at.x[i];
      if (point.free[i]) d[i] = -at.gradient[i];
      if (point.free[i]) end = std::min(end, breakpoints[i]);
    }
    const double slope = dot(at.gradient, d) + dot(b * moved, d);
    if (!(slope < 0)) return point;
    const double to_minimum = -slope / dot(b * d, d);
    const bool ends_here = point.t + to_minimum < end;
    const double t = ends_here ? point.t + to_minimum : end;
    for (std::size_t i = 0; i < n; ++i) {
      if (!point.free[i]) continue;
      point.x[i] = at.clip(i, at.x[i] - t * at.gradient[i]);
      if (!ends_here && breakpoints[i] == end) {
        point.free[i] = false;
        point.x[i] = at.gradient[i] > 0 ? at.lower[i] : at.upper[i];
      }
    }
    point.t = t;
    if (ends_here) return point;
  }
}

/// The end of the full step from an iterate, and how it was found.
struct FullStep {
  Vector x;
  bool clipped = false;    ///< The minimizer of the model over the free variables was outside.
  bool shortened = false;  ///< Its projection does not descend, and so it was truncated.
};

/// From the Cauchy point to the minimizer of the model over the free variables, projected into the bounds; or, if
/// that does not descend, up to the first bound on the way (Morales & Nocedal 2011, section 3).
inline FullStep full_step(const Matrix& b, const Iterate& at) {
  const std::size_t n = at.size();
  const CauchyPoint cauchy = cauchy_point(b, at);
  FullStep step{cauchy.x};
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < n; ++i) {
    if (cauchy.free[i]) free.push_back(i);
  }
  if (free.empty()) return step;

  Vector moved(n);
  for (std::size_t i = 0; i < n; ++i) moved[i] = cauchy.x[i] - at.x[i];
  const Vector b_moved = b * moved;
  Vector r(free.size());
  for (std::size_t k = 0; k < free.size(); ++k) r[k] = -(at.gradient[free[k]] + b_moved[free[k]]);
  const Vector p = b.principal(free).solve(r);

  double slope = 0;
  double shortest = 1;
  for (std::size_t k = 0; k < free.size(); ++k) {
    const std::size_t i = free[k];
    const double target = cauchy.x[i] + p[k];
    step.x[i] = at.clip(i, target);
    step.clipped = step.clipped || step.x[i] != target;
    const double room = (p[k] < 0 ? at.lower[i] : at.upper[i]) - cauchy.x[i];
    if (p[k] != 0) shortest = std::min(shortest, room / p[k]);
  }
  for (std::size_t i = 0; i < n; ++i) slope += at.gradient[i] * (step.x[i] - at.x[i]);
  if (!step.clipped || !(slope > 0)) return step;

  step.shortened = true;
  for (std::size_t k = 0; k < free.size(); ++k) {
    step.x[free[k]] = at.clip(free[k], cauchy.x[free[k]] + shortest * p[k]);
  }
  return step;
}

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_LBFGSB_MODEL_REFERENCE_H_
