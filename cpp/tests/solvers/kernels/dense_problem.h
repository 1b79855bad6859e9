#ifndef TFMINIMIZE_TESTS_SOLVERS_KERNELS_DENSE_PROBLEM_H_
#define TFMINIMIZE_TESTS_SOLVERS_KERNELS_DENSE_PROBLEM_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "solvers/kernels/dense_kernels.h"
#include "tests/solvers/kernels/kernel_problem.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers::testing {

/// Random arguments for the dense kernels: vectors of n elements.
struct DenseProblem {
  static constexpr std::size_t kRows = 9;

  /// `extra`: the number of cache lines between the end of a row and the next row.
  explicit DenseProblem(std::size_t size, std::size_t extra = 0, std::uint64_t seed = 1)
      : n(size),
        stride(padded(n) + 8 * extra),
        x(padded(n)),
        y(padded(n)),
        a(kRows * stride),
        l(padded(n) * stride),
        d(padded(n)),
        next(padded(n)),
        products(kRows) {
    Random random(seed * 1000003 + n);
    for (std::size_t i = 0; i < n; ++i) {
      x[i] = random.uniform(-2, 2);
      y[i] = random.uniform(-2, 2);
      d[i] = random.uniform(0.5, 2);
      for (std::size_t row = 0; row < kRows; ++row) a[row * stride + i] = random.uniform(-1, 1);
      // So small that the inverse does not grow with n.
      const double size_of_l = 1 / std::sqrt(static_cast<double>(n));
      for (std::size_t j = 0; j < i; ++j) l[j * stride + i] = random.uniform(-size_of_l, size_of_l);
    }
    for (std::size_t i = n; i < d.size(); ++i) d[i] = 1;
    coefficients = random.vector(kRows);
  }

  double row(std::size_t k, std::size_t i) const { return a[k * stride + i]; }
  /// L(i, j), with its unit diagonal.
  double lower(std::size_t i, std::size_t j) const { return i == j ? 1 : i > j ? l[j * stride + i] : 0; }
  /// L·D·Lᵀ
  Matrix product() const {
    Matrix b(n, n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        for (std::size_t k = 0; k <= std::min(i, j); ++k) b(i, j) += lower(i, k) * d[k] * lower(j, k);
      }
    }
    return b;
  }
  /// Computes `next` as update() defines it, for z = x.
  void fill_next(double t) {
    Vector v(x.data(), x.data() + n);
    for (std::size_t j = 0; j < n; ++j) {
      t += v[j] * v[j] / d[j];
      next[j] = t;
      for (std::size_t i = j + 1; i < n; ++i) v[i] -= v[j] * lower(i, j);
    }
  }

  bool guards_are_intact() const {
    return x.intact() && y.intact() && a.intact() && l.intact() && d.intact() && next.intact() && products.intact();
  }
  /// Whether the padding of each vector, and L above its diagonal, are unchanged.
  bool padding_is_intact() const {
    bool intact = true;
    for (std::size_t i = n; i < padded(n); ++i) intact = intact && x[i] == 0 && y[i] == 0 && d[i] == 1 && next[i] == 0;
    for (std::size_t k = 0; k < kRows; ++k) {
      for (std::size_t i = n; i < stride; ++i) intact = intact && row(k, i) == 0;
    }
    for (std::size_t j = 0; j < padded(n); ++j) {
      for (std::size_t i = 0; i < stride; ++i) intact = intact && ((j < i && i < n) || l[j * stride + i] == 0);
    }
    return intact;
  }
  /// Everything that a kernel may write, as bits.
  std::vector<std::uint64_t> bits() const {
    std::vector<std::uint64_t> all;
    for (const Guarded<double>* array : {&x, &y, &a, &l, &d, &products}) {
      const std::size_t first = all.size();
      all.resize(first + array->size());
      if (array->size() > 0) std::memcpy(all.data() + first, array->data(), array->size() * sizeof(double));
    }
    return all;
  }

  std::size_t n;
  std::size_t stride;
  Guarded<double> x, y;  ///< [padded(n)]
  Guarded<double> a;     ///< [kRows * stride], row by row
  Guarded<double> l;     ///< [padded(n) * stride], column by column
  Guarded<double> d, next;
  Guarded<double> products;  ///< [kRows]
  Vector coefficients;       ///< [kRows]
};

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_KERNELS_DENSE_PROBLEM_H_
