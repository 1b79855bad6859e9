#include "solvers/bounds.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
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

/// The bits of |value|. They are in the order of the numbers, and those of NaN are greater than all others.
std::uint64_t magnitude_bits(double value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & ~(std::uint64_t{1} << 63);
}

/// max |value(i)| of i < n, or NaN if a value is. Each of four lanes waits for its own comparison only.
template <typename Value>
double largest_magnitude(std::size_t n, const Value& value) {
  constexpr std::size_t kLanes = 4;
  std::uint64_t largest[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) largest[k] = std::max(largest[k], magnitude_bits(value(i + k)));
  }
  for (; i < n; ++i) largest[0] = std::max(largest[0], magnitude_bits(value(i)));
  const std::uint64_t bits = std::max({largest[0], largest[1], largest[2], largest[3]});
  double result = 0;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

}  // namespace

double projected_gradient_norm(Span<const double> x, Span<const double> g, Span<const double> lower,
                               Span<const double> upper) {
  if (lower.empty()) return largest_magnitude(g.size(), [&](std::size_t i) { return g[i]; });
  return largest_magnitude(g.size(), [&](std::size_t i) {
    // The first argument stays if it is NaN.
    return g[i] < 0 ? std::max(g[i], x[i] - upper[i]) : std::min(g[i], x[i] - lower[i]);
  });
}

bool is_within(Span<const double> x, Span<const double> lower, Span<const double> upper) {
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (x[i] < lower[i] || x[i] > upper[i]) return false;
  }
  return true;
}

}  // namespace tfminimize::solvers
