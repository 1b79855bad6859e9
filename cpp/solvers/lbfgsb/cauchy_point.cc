#include "solvers/lbfgsb/cauchy_point.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tfminimize::solvers {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

/// A min-heap of the breakpoints of the path, filled in batches of growing t.
class BreakpointQueue {
 public:
  BreakpointQueue(const Vectors& v, const std::uint8_t* positions, Span<Breakpoint> storage)
      : v_(v), positions_(positions), storage_(storage) {}

  bool empty() const { return size_ == 0; }
  double limit() const { return limit_; }

  /// Adds the breakpoints up to `limit` that it has not had yet. The queue must be empty.
  void extend(double limit) {
    size_ = kernels().breakpoints(v_, positions_, limit_, limit, storage_.data());
    std::make_heap(storage_.begin(), storage_.begin() + size_, later);
    limit_ = limit;
  }
  const Breakpoint& first() const { return storage_[0]; }
  void pop() { std::pop_heap(storage_.begin(), storage_.begin() + size_--, later); }

 private:
  static bool later(const Breakpoint& a, const Breakpoint& b) {
    return a.t > b.t || (a.t == b.t && a.variable > b.variable);
  }

  const Vectors& v_;
  const std::uint8_t* positions_;
  Span<Breakpoint> storage_;
  std::size_t size_ = 0;
  double limit_ = -1;
};

double dot(const std::vector<double>& a, const std::vector<double>& b, std::size_t size) {
  return std::inner_product(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(size), b.begin(), 0.0);
}

}  // namespace

void GeneralizedCauchyPoint::find(const Vectors& v, const CompactBfgsMatrix& b, const CauchySums& sums,
                                  const double* d_dots, std::uint8_t* positions, Span<Breakpoint> storage) {
  const std::size_t k = b.size();
  const double theta = b.theta();
  for (std::size_t j = 0; j < k; ++j) {
    p_[j] = theta * d_dots[j];
    p_[k + j] = d_dots[k + j];
  }
  std::fill_n(c_.begin(), 2 * k, 0.0);

  // f1 = f' and f2 = f'' of the model along a piece of the path.
  double f1 = -sums.squared_norm;
  double f2 = -theta * f1;
  const double smallest_f2 = kEpsilon * f2;
  if (k > 0) {
    middle_row_ = p_;
    b.multiply_middle(middle_row_.data());
    f2 -= dot(p_, middle_row_, 2 * k);
  }
  double to_minimum = f1 == 0 ? 0 : -f1 / f2;  // From the start of the piece.
  double t = 0;                                // There.
  std::size_t breakpoints_left = sums.num_breakpoints;

  BreakpointQueue queue(v, positions, storage);
  while (breakpoints_left > 0 && to_minimum >= sums.first_breakpoint - t) {
    if (queue.empty()) {
      if (t + to_minimum < queue.limit()) break;
      const double farther = 2 * std::max(t + to_minimum, sums.first_breakpoint);
      queue.extend(farther > queue.limit() ? farther : std::numeric_limits<double>::max());
      continue;
    }
    const Breakpoint next = queue.first();
    const double piece = next.t - t;
    if (to_minimum < piece) break;
    queue.pop();
    --breakpoints_left;
    t = next.t;

    // The variable stays at the bound from here on.
    const std::size_t i = next.variable;
    const double d = -v.gradient[i];
    positions[i] = d > 0 ? kAtUpper : kAtLower;
    const double moved = (d > 0 ? v.upper[i] : v.lower[i]) - v.x[i];
    const double d2 = d * d;
    f1 += piece * f2 + d2 - theta * d * moved;
    f2 -= theta * d2;
    if (k > 0) {
      for (std::size_t j = 0; j < 2 * k; ++j) c_[j] += piece * p_[j];
      b.row(i, row_.data());
      middle_row_ = row_;
      b.multiply_middle(middle_row_.data());
      f1 += d * dot(c_, middle_row_, 2 * k);
      f2 += 2 * d * dot(p_, middle_row_, 2 * k) - d2 * dot(row_, middle_row_, 2 * k);
      for (std::size_t j = 0; j < 2 * k; ++j) p_[j] -= d * row_[j];
    }
    f2 = std::max(smallest_f2, f2);
    const bool all_at_bounds = breakpoints_left == 0 && sums.num_breakpoints == sums.num_moving;
    to_minimum = all_at_bounds ? 0 : -f1 / f2;
  }

  to_minimum = std::max(to_minimum, 0.0);
  step_ = t + to_minimum;
  for (std::size_t j = 0; j < 2 * k; ++j) c_[j] += to_minimum * p_[j];
}

}  // namespace tfminimize::solvers
