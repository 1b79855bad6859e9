#include "solvers/slsqp/active_set_factors.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tfminimize::solvers {

ActiveSetFactors::ActiveSetFactors(std::size_t stride, std::size_t max_columns)
    : stride_(stride), max_columns_(max_columns), kernels_(dense_kernels()), r_(max_columns), correction_(max_columns) {
  grow(0);
}

/// Keeps so many rows.
void ActiveSetFactors::grow(std::size_t kept) {
  const std::size_t capacity = std::min(max_columns_, std::max(kFewColumns, 2 * capacity_));
  AlignedArray<double> q = zeros(capacity * stride_);
  if (kept > 0) std::copy_n(q_.data(), kept * stride_, q.data());
  q_ = std::move(q);
  capacity_ = capacity;
}

double* ActiveSetFactors::room_for(std::size_t columns, std::size_t kept) {
  clear();
  while (capacity_ < columns) grow(kept);
  return q_.data();
}

double ActiveSetFactors::project(const double* v, double* d, double* z) const {
  std::copy_n(v, stride_, z);
  std::fill_n(d, size(), 0.0);
  double before = std::sqrt(kernels_.dot(stride_, v, v));
  // Two passes are enough; one is, if it takes little away.
  for (int pass = 0; pass < 2; ++pass) {
    if (size() > 0) kernels_.multiply(size(), stride_, q_.data(), stride_, z, correction_.data());
    for (std::size_t i = 0; i < size(); ++i) {
      d[i] += correction_[i];
      correction_[i] = -correction_[i];
    }
    add_combination(correction_.data(), z);
    const double norm = std::sqrt(kernels_.dot(stride_, z, z));
    if (pass == 1 || norm > 0.7 * before) return norm;
    before = norm;
  }
  return before;
}

void ActiveSetFactors::append(const double* d, const double* z, double norm) {
  if (size() == capacity_) grow(size());
  double* row = q_.data() + size() * stride_;
  for (std::size_t i = 0; i < stride_; ++i) row[i] = z[i] / norm;
  r_.append(d, norm);
}

void ActiveSetFactors::remove(std::size_t column, double* alpha) {
  r_.remove(column, [&](std::size_t j, double c, double s) {
    kernels_.rotate(stride_, c, s, q_.data() + j * stride_, q_.data() + (j + 1) * stride_);
    const double a = alpha[j];
    alpha[j] = c * a + s * alpha[j + 1];
    alpha[j + 1] = c * alpha[j + 1] - s * a;
  });
}

void ActiveSetFactors::add_combination(const double* x, double* y) const {
  if (size() > 0) kernels_.multiply_transposed(size(), stride_, q_.data(), stride_, x, y);
}

}  // namespace tfminimize::solvers
