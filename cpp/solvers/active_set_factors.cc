#include "solvers/active_set_factors.h"

#include <algorithm>
#include <cmath>

#include "solvers/ldlt_factors.h"

namespace tfminimize {

ActiveSetFactors::ActiveSetFactors(std::size_t stride, std::size_t most_columns)
    : stride_(stride), most_columns_(most_columns), kernels_(dense_kernels()), correction_(most_columns) {}

void ActiveSetFactors::grow() {
  const std::size_t capacity = std::min(padded(most_columns_), std::max<std::size_t>(8, 2 * capacity_));
  AlignedArray<double> q = zeros(capacity * stride_);
  AlignedArray<double> r = zeros(capacity * capacity);
  if (size_ > 0) {
    std::copy_n(q_.data(), size_ * stride_, q.data());
    for (std::size_t i = 0; i < size_; ++i) std::copy_n(&r_[i * capacity_], size_, &r[i * capacity]);
  }
  q_ = std::move(q);
  r_ = std::move(r);
  capacity_ = capacity;
}

double ActiveSetFactors::project(const double* v, double* d, double* z) const {
  std::copy_n(v, stride_, z);
  std::fill_n(d, size_, 0.0);
  double before = std::sqrt(kernels_.dot(stride_, v, v));
  // Twice is enough, and once is if little was taken away.
  for (int pass = 0; pass < 2; ++pass) {
    if (size_ > 0) kernels_.multiply(size_, stride_, q_.data(), stride_, z, correction_.data());
    for (std::size_t i = 0; i < size_; ++i) {
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
  if (size_ == capacity_) grow();
  double* row = q_.data() + size_ * stride_;
  for (std::size_t i = 0; i < stride_; ++i) row[i] = z[i] / norm;
  for (std::size_t i = 0; i < size_; ++i) r_[i * capacity_ + size_] = d[i];
  std::fill_n(&r_[size_ * capacity_], size_, 0.0);
  r_[size_ * capacity_ + size_] = norm;
  ++size_;
}

void ActiveSetFactors::remove(std::size_t column, double* alpha) {
  for (std::size_t i = 0; i < size_; ++i) {
    double* row = &r_[i * capacity_];
    std::copy(row + column + 1, row + size_, row + column);
  }
  --size_;
  // What is below the diagonal now, one element a column, is turned away.
  for (std::size_t j = column; j < size_; ++j) {
    double* upper = &r_[j * capacity_];
    double* lower = &r_[(j + 1) * capacity_];
    const double length = std::hypot(upper[j], lower[j]);
    const double c = upper[j] / length;
    const double s = lower[j] / length;
    for (std::size_t k = j; k < size_; ++k) {
      const double a = upper[k];
      const double b = lower[k];
      upper[k] = c * a + s * b;
      lower[k] = c * b - s * a;
    }
    lower[j] = 0;
    kernels_.rotate(stride_, c, s, q_.data() + j * stride_, q_.data() + (j + 1) * stride_);
    const double a = alpha[j];
    alpha[j] = c * a + s * alpha[j + 1];
    alpha[j + 1] = c * alpha[j + 1] - s * a;
  }
}

void ActiveSetFactors::solve(double* x) const {
  for (std::size_t i = size_; i-- > 0;) {
    const double* row = &r_[i * capacity_];
    double value = x[i];
    for (std::size_t j = i + 1; j < size_; ++j) value -= row[j] * x[j];
    x[i] = value / row[i];
  }
}

void ActiveSetFactors::solve_transposed(double* x) const {
  for (std::size_t i = 0; i < size_; ++i) {
    const double* row = &r_[i * capacity_];
    x[i] /= row[i];
    for (std::size_t j = i + 1; j < size_; ++j) x[j] -= row[j] * x[i];
  }
}

void ActiveSetFactors::add_combination(const double* x, double* y) const {
  if (size_ > 0) kernels_.multiply_transposed(size_, stride_, q_.data(), stride_, x, y);
}

}  // namespace tfminimize
