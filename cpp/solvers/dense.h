#ifndef TFMINIMIZE_SOLVERS_DENSE_H_
#define TFMINIMIZE_SOLVERS_DENSE_H_

#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

namespace tfminimize {

/// A small square matrix, row by row, with room for `order` rows and columns.
class SquareMatrix {
 public:
  explicit SquareMatrix(std::size_t order = 0) : order_(order), elements_(order * order) {}

  double* operator[](std::size_t row) { return elements_.data() + row * order_; }
  const double* operator[](std::size_t row) const { return elements_.data() + row * order_; }
  std::vector<double>& elements() { return elements_; }
  const std::vector<double>& elements() const { return elements_; }

  /// A[i][j] = A[i+1][j+1]: the oldest correction pair goes.
  void drop_first() {
    if (order_ < 2) return;
    std::memmove(elements_.data(), elements_.data() + order_ + 1, (order_ * order_ - order_ - 1) * sizeof(double));
  }

 private:
  std::size_t order_;
  std::vector<double> elements_;
};

/// A = L·Lᵀ in the lower triangle of the leading k rows, in place. False if A is not positive definite.
inline bool cholesky(SquareMatrix& a, std::size_t k) {
  for (std::size_t j = 0; j < k; ++j) {
    double* row_j = a[j];
    double pivot = row_j[j];
    for (std::size_t p = 0; p < j; ++p) pivot -= row_j[p] * row_j[p];
    if (!(pivot > 0)) return false;
    const double root = std::sqrt(pivot);
    row_j[j] = root;
    const double inverse = 1 / root;
    for (std::size_t i = j + 1; i < k; ++i) {
      double* row_i = a[i];
      double value = row_i[j];
      for (std::size_t p = 0; p < j; ++p) value -= row_i[p] * row_j[p];
      row_i[j] = value * inverse;
    }
  }
  return true;
}

/// x = L⁻¹x
inline void solve_lower(const SquareMatrix& l, std::size_t k, double* x) {
  for (std::size_t i = 0; i < k; ++i) {
    double value = x[i];
    for (std::size_t p = 0; p < i; ++p) value -= l[i][p] * x[p];
    x[i] = value / l[i][i];
  }
}

/// x = L⁻ᵀx
inline void solve_lower_transposed(const SquareMatrix& l, std::size_t k, double* x) {
  for (std::size_t i = k; i-- > 0;) {
    x[i] /= l[i][i];
    for (std::size_t p = 0; p < i; ++p) x[p] -= l[i][p] * x[i];
  }
}

/// x = R⁻¹x, R the upper triangle.
inline void solve_upper(const SquareMatrix& r, std::size_t k, double* x) {
  for (std::size_t i = k; i-- > 0;) {
    double value = x[i];
    for (std::size_t p = i + 1; p < k; ++p) value -= r[i][p] * x[p];
    x[i] = value / r[i][i];
  }
}

/// x = R⁻ᵀx, R the upper triangle.
inline void solve_upper_transposed(const SquareMatrix& r, std::size_t k, double* x) {
  for (std::size_t i = 0; i < k; ++i) {
    x[i] /= r[i][i];
    for (std::size_t p = i + 1; p < k; ++p) x[p] -= r[i][p] * x[i];
  }
}

}  // namespace tfminimize

#endif  // TFMINIMIZE_SOLVERS_DENSE_H_
