#include "solvers/slsqp/upper_triangle.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tfminimize::solvers {
namespace {

/// xᵀy of vectors that are neither aligned nor padded. One sum alone would wait for each addition.
double product(std::size_t n, const double* x, const double* y) {
  std::array<double, 4> sums{};
  std::size_t i = 0;
  for (; i + sums.size() <= n; i += sums.size()) {
    for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += x[i + k] * y[i + k];
  }
  for (; i < n; ++i) sums[0] += x[i] * y[i];
  return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

}  // namespace

UpperTriangle& UpperTriangle::operator=(const UpperTriangle& other) {
  if (this == &other) return *this;
  while (capacity_ < other.size_) grow();
  size_ = other.size_;
  for (std::size_t i = 0; i < size_; ++i) std::copy_n(other.row(i), size_, row(i));
  return *this;
}

void UpperTriangle::grow() {
  const std::size_t capacity = std::min(padded(max_columns_), std::max(kFewColumns, 2 * capacity_));
  AlignedArray<double> r = zeros(capacity * capacity);
  for (std::size_t i = 0; i < size_; ++i) std::copy_n(row(i), size_, r.data() + i * capacity);
  r_ = std::move(r);
  capacity_ = capacity;
  column_.reserve(capacity);
}

void UpperTriangle::append(const double* above, double diagonal) {
  if (size_ == capacity_) grow();
  for (std::size_t i = 0; i < size_; ++i) row(i)[size_] = above[i];
  std::fill_n(row(size_), size_, 0.0);
  row(size_)[size_] = diagonal;
  ++size_;
}

/// The last row, which holds that of K up to `end`, becomes that of R.
bool UpperTriangle::factorize_row(std::size_t end, double least) {
  double* last = row(size_);
  const double whole = last[size_];
  column_.resize(size_);
  for (std::size_t i = 0; i < size_; ++i) column_[i] = -row(i)[size_];
  const std::size_t begin = size_ / 8 * 8;
  if (size_ > 0) {
    kernels_.multiply_transposed(size_, end - begin, r_.data() + begin, capacity_, column_.data(), last + begin);
  }
  std::fill(last + begin, last + size_, 0.0);
  if (!(last[size_] > least * whole)) return false;
  const double factor = 1 / std::sqrt(last[size_]);
  for (std::size_t j = size_; j < end; ++j) last[j] *= factor;
  return true;
}

void UpperTriangle::drop_column(std::size_t column) {
  for (std::size_t i = 0; i < size_; ++i) std::copy(row(i) + column + 1, row(i) + size_, row(i) + column);
  --size_;
}

void UpperTriangle::rotate_rows(std::size_t j, double c, double s) {
  double* upper = row(j);
  double* lower = row(j + 1);
  for (std::size_t k = j; k < size_; ++k) {
    const double a = upper[k];
    const double b = lower[k];
    upper[k] = c * a + s * b;
    lower[k] = c * b - s * a;
  }
  lower[j] = 0;
}

bool UpperTriangle::update(double sigma, double* x) {
  const double sign = sigma < 0 ? -1 : 1;
  const double factor = std::sqrt(std::abs(sigma));
  for (std::size_t i = 0; i < size_; ++i) x[i] *= factor;
  for (std::size_t i = 0; i < size_; ++i) {
    double* r = row(i);
    const double square = r[i] * r[i] + sign * x[i] * x[i];
    if (!(square > 0)) return false;
    const double diagonal = std::sqrt(square);
    const double c = diagonal / r[i];
    const double s = x[i] / r[i];
    r[i] = diagonal;
    for (std::size_t j = i + 1; j < size_; ++j) {
      r[j] = (r[j] + sign * s * x[j]) / c;
      x[j] = c * x[j] - s * r[j];
    }
  }
  return true;
}

void UpperTriangle::solve(double* x) const {
  for (std::size_t i = size_; i-- > 0;) {
    const double* r = row(i);
    x[i] = (x[i] - product(size_ - i - 1, r + i + 1, x + i + 1)) / r[i];
  }
}

void UpperTriangle::solve_transposed(double* x) const {
  for (std::size_t i = 0; i < size_; ++i) {
    const double* r = row(i);
    const double value = x[i] / r[i];
    x[i] = value;
    for (std::size_t j = i + 1; j < size_; ++j) x[j] -= r[j] * value;
  }
}

}  // namespace tfminimize::solvers
