#ifndef TFMINIMIZE_SOLVERS_KERNELS_DENSE_H_
#define TFMINIMIZE_SOLVERS_KERNELS_DENSE_H_

#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

namespace tfminimize::solvers {

/// A small square matrix, stored row by row, of at most `order` rows and columns.
class SquareMatrix {
 public:
  explicit SquareMatrix(std::size_t order = 0) : order_(order), elements_(order * order) {}

  double* operator[](std::size_t row) { return elements_.data() + row * order_; }
  const double* operator[](std::size_t row) const { return elements_.data() + row * order_; }
  std::vector<double>& elements() { return elements_; }
  const std::vector<double>& elements() const { return elements_; }

  /// A[i][j] = A[i+1][j+1]: drops the oldest correction pair.
  void drop_first() {
    if (order_ < 2) return;
    std::memmove(elements_.data(), elements_.data() + order_ + 1, (order_ * order_ - order_ - 1) * sizeof(double));
  }

 private:
  std::size_t order_;
  std::vector<double> elements_;
};

// All triangles are upper ones, because the inner loops then run along rows. Divisions are slow: cholesky() computes
// the reciprocals once.

/// Factorizes A = UᵀU in place, in the upper triangle of the leading k rows, and computes the reciprocals of the
/// diagonal of U, [k]. False if A is not positive definite.
inline bool cholesky(SquareMatrix& a, std::size_t k, double* reciprocals) {
  for (std::size_t p = 0; p < k; ++p) {
    double* row_p = a[p];
    if (!(row_p[p] > 0)) return false;
    row_p[p] = std::sqrt(row_p[p]);
    reciprocals[p] = 1 / row_p[p];
    for (std::size_t i = p + 1; i < k; ++i) row_p[i] *= reciprocals[p];
    for (std::size_t j = p + 1; j < k; ++j) {
      double* row_j = a[j];
      const double factor = row_p[j];
      for (std::size_t i = j; i < k; ++i) row_j[i] -= factor * row_p[i];
    }
  }
  return true;
}

/// The reciprocals of the diagonal of U, [k].
inline void invert_diagonal(const SquareMatrix& u, std::size_t k, double* reciprocals) {
  for (std::size_t i = 0; i < k; ++i) reciprocals[i] = 1 / u[i][i];
}

/// x = U⁻¹x
inline void solve_upper(const SquareMatrix& u, const double* reciprocals, std::size_t k, double* x) {
  for (std::size_t i = k; i-- > 0;) {
    double value = x[i];
    for (std::size_t p = k; p-- > i + 1;) value -= u[i][p] * x[p];  // The x that is known last comes last.
    x[i] = value * reciprocals[i];
  }
}

/// x = U⁻ᵀx
inline void solve_upper_transposed(const SquareMatrix& u, const double* reciprocals, std::size_t k, double* x) {
  for (std::size_t i = 0; i < k; ++i) {
    const double value = x[i] * reciprocals[i];
    x[i] = value;
    const double* row = u[i];
    for (std::size_t p = i + 1; p < k; ++p) x[p] -= row[p] * value;
  }
}

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_KERNELS_DENSE_H_
