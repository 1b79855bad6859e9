#include "solvers/slsqp/ldlt_factors.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "solvers/finite.h"

namespace tfminimize::solvers {

LdltFactors::LdltFactors(std::size_t n)
    : n_(n),
      order_(n),
      stride_(padded(n + 1)),
      kernels_(dense_kernels()),
      l_(zeros(stride_ * stride_)),
      d_(zeros(stride_)),
      scale_(zeros(stride_)),
      work_(zeros(stride_)) {
  set_identity();
}

void LdltFactors::set_identity() {
  std::fill_n(l_.data(), l_.size(), 0.0);
  std::fill_n(d_.data(), d_.size(), 1.0);
  scale();
}

void LdltFactors::scale() {
  for (std::size_t i = 0; i < stride_; ++i) scale_[i] = i < order_ ? 1 / std::sqrt(d_[i]) : 0;
}

bool LdltFactors::factorize(Span<const double> b) {
  set_identity();
  for (std::size_t j = 0; j < n_; ++j) {
    double* column = l_.data() + j * stride_;
    double pivot = b[j * n_ + j];
    for (std::size_t i = j + 1; i < n_; ++i) column[i] = b[i * n_ + j];
    for (std::size_t k = 0; k < j; ++k) {
      const double* earlier = l_.data() + k * stride_;
      const double factor = earlier[j] * d_[k];
      pivot -= factor * earlier[j];
      for (std::size_t i = j + 1; i < n_; ++i) column[i] -= factor * earlier[i];
    }
    if (!(pivot > 0)) return false;
    d_[j] = pivot;
    for (std::size_t i = j + 1; i < n_; ++i) column[i] /= pivot;
  }
  scale();
  return true;
}

bool LdltFactors::take(const LdltFactors& other) {
  const auto is_pivot = [](double d) { return d > 0 && std::isfinite(d); };
  if (!std::all_of(other.d_.data(), other.d_.data() + n_, is_pivot) || !all_finite(other.l_.span())) return false;
  std::copy_n(other.l_.data(), l_.size(), l_.data());
  std::copy_n(other.d_.data(), n_, d_.data());
  scale();
  return true;
}

void LdltFactors::update(double sigma, double* z) {
  double t = 1 / sigma;
  if (sigma > 0) {
    kernels_.update(n_, l_.data(), stride_, d_.data(), t, nullptr, z);
  } else {
    // Computing the t_j backwards from the last one keeps D positive in spite of rounding (the composite t-method,
    // section 3 of the paper that DenseKernels cites).
    double* next = work_.data();
    std::copy_n(z, stride_, next);
    kernels_.solve(n_, l_.data(), stride_, 0, 1, next, stride_);
    double last = t;
    for (std::size_t j = 0; j < n_; ++j) last += next[j] * next[j] / d_[j];
    if (last >= 0) last = std::numeric_limits<double>::epsilon() / sigma;
    for (std::size_t j = n_; j-- > 0;) {
      const double w = next[j];
      next[j] = last;
      last -= w * w / d_[j];
    }
    kernels_.update(n_, l_.data(), stride_, d_.data(), t, next, z);
  }
  scale();
}

void LdltFactors::extend(double d) {
  order_ = n_ + 1;
  d_[n_] = d;
  scale();
}

void LdltFactors::to_factor_space(double* x, std::size_t count, std::size_t first) const {
  kernels_.solve(n_, l_.data(), stride_, first, count, x, stride_);
  for (std::size_t k = 0; k < count; ++k) {
    double* vector = x + k * stride_;
    for (std::size_t i = first; i < stride_; ++i) vector[i] *= scale_[i];
  }
}

void LdltFactors::from_factor_space(double* x) const {
  for (std::size_t i = 0; i < stride_; ++i) x[i] *= scale_[i];
  kernels_.solve_transposed(n_, l_.data(), stride_, x);
}

void LdltFactors::solve(double* x) const {
  to_factor_space(x);
  from_factor_space(x);
}

void LdltFactors::multiply(const double* x, double* y) const {
  double* t = work_.data();  // D·Lᵀ·x
  kernels_.multiply(n_, stride_, l_.data(), stride_, x, t);
  std::fill(t + n_, t + stride_, 0.0);
  for (std::size_t i = 0; i < order_; ++i) t[i] = d_[i] * (t[i] + x[i]);
  std::copy_n(t, stride_, y);
  kernels_.multiply_transposed(n_, stride_, l_.data(), stride_, t, y);
}

}  // namespace tfminimize::solvers
