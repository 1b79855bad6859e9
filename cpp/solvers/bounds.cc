#include "solvers/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

namespace {

/// max |value(i)| of i < n, if no value is NaN. Each of four lanes waits for its own comparison only.
template <typename Value>
double largest_magnitude(std::size_t n, const Value& value) {
  constexpr std::size_t kLanes = 4;
  double largest[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) largest[k] = std::max(largest[k], std::abs(value(i + k)));
  }
  for (; i < n; ++i) largest[0] = std::max(largest[0], std::abs(value(i)));
  return std::max(std::max(largest[0], largest[1]), std::max(largest[2], largest[3]));
}

}  // namespace

double projected_gradient_norm(Span<const double> x, Span<const double> g, Span<const double> lower,
                               Span<const double> upper) {
  bool has_nan = false;
  for (const double value : g) has_nan |= value != value;
  if (has_nan) return std::numeric_limits<double>::quiet_NaN();
  if (lower.empty()) return largest_magnitude(g.size(), [&](std::size_t i) { return g[i]; });
  return largest_magnitude(g.size(), [&](std::size_t i) {
    return g[i] < 0 ? std::max(x[i] - upper[i], g[i]) : std::min(x[i] - lower[i], g[i]);
  });
}

bool is_within(Span<const double> x, Span<const double> lower, Span<const double> upper) {
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (x[i] < lower[i] || x[i] > upper[i]) return false;
  }
  return true;
}

}  // namespace tfminimize::solvers
