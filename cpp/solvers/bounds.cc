#include "solvers/bounds.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace tfminimize::solvers {

void check_bounds(std::size_t n, Span<const double> lower, Span<const double> upper) {
  if (lower.size() != upper.size() || (!lower.empty() && lower.size() != n)) {
    throw std::invalid_argument("lower and upper must both be empty or have the size of x.");
  }
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (!(lower[i] <= upper[i])) throw std::invalid_argument("each lower bound must be at most its upper bound.");
  }
}

void project(Span<double> x, Span<const double> lower, Span<const double> upper) {
  for (std::size_t i = 0; i < lower.size(); ++i) x[i] = std::min(std::max(x[i], lower[i]), upper[i]);
}

double projected_gradient_norm(Span<const double> x, Span<const double> g, Span<const double> lower,
                               Span<const double> upper) {
  double largest = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (std::isnan(g[i])) return g[i];
    double projected = g[i];
    if (!lower.empty()) projected = g[i] < 0 ? std::max(x[i] - upper[i], g[i]) : std::min(x[i] - lower[i], g[i]);
    largest = std::max(largest, std::abs(projected));
  }
  return largest;
}

bool is_within(Span<const double> x, Span<const double> lower, Span<const double> upper) {
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (x[i] < lower[i] || x[i] > upper[i]) return false;
  }
  return true;
}

}  // namespace tfminimize::solvers
