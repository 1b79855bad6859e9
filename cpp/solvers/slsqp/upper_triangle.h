#ifndef TFMINIMIZE_SOLVERS_SLSQP_UPPER_TRIANGLE_H_
#define TFMINIMIZE_SOLVERS_SLSQP_UPPER_TRIANGLE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// Room for this many columns from the start: a small problem never needs more, a large one grows.
inline constexpr std::size_t kFewColumns = 104;

/// An upper triangular matrix R with columns that come and go, stored row by row in memory that grows.
class UpperTriangle {
 public:
  explicit UpperTriangle(std::size_t max_columns) : max_columns_(max_columns), kernels_(dense_kernels()) { grow(); }

  UpperTriangle& operator=(const UpperTriangle& other);

  void clear() { size_ = 0; }

  /// Makes RᵀR the matrix K of this size. fill(i, row) writes K_ij for i <= j < size to row[j]. False if R would have
  /// an r_ii² of not more than `least`·K_ii; R is then invalid.
  template <typename Fill>
  bool factorize(std::size_t size, double least, const Fill& fill) {
    clear();
    while (capacity_ < size) grow();
    for (; size_ < size; ++size_) {
      std::fill_n(row(size_), padded(size), 0.0);
      fill(size_, row(size_));
      if (!factorize_row(padded(size), least)) return false;
    }
    return true;
  }

  std::size_t size() const { return size_; }
  double operator()(std::size_t row, std::size_t column) const { return r_[row * capacity_ + column]; }

  /// Appends a column: above[0 .. size), then the diagonal element.
  void append(const double* above, double diagonal);

  /// Removes a column and makes R triangular again by Givens rotations. Calls rotate(j, c, s) for each pair of rows
  /// (j, j + 1) that became (c·r_j + s·r_{j+1}, c·r_{j+1} - s·r_j).
  template <typename Rotate>
  void remove(std::size_t column, const Rotate& rotate) {
    drop_column(column);
    for (std::size_t j = column; j < size_; ++j) {
      const double length = norm(row(j)[j], row(j + 1)[j]);
      const double c = row(j)[j] / length;
      const double s = row(j + 1)[j] / length;
      rotate_rows(j, c, s);
      rotate(j, c, s);
    }
  }

  /// RᵀR += sigma·x·xᵀ. Overwrites x. False if the result is not positive definite; R is then invalid.
  bool update(double sigma, double* x);

  /// x = R⁻¹x
  void solve(double* x) const;
  /// x = R⁻ᵀx
  void solve_transposed(double* x) const;

  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit_state(Visit&& visit) {
    std::size_t size = size_;
    visit_value(visit, size);
    check_saved(size <= max_columns_, "its number of columns");
    while (capacity_ < size) grow();
    size_ = size;
    for (std::size_t i = 0; i < size_; ++i) visit(row(i), size_ * sizeof(double));
  }

 private:
  /// std::hypot() of these, but with the same bits on every processor.
  static double norm(double a, double b) {
    const double largest = std::max(std::abs(a), std::abs(b));
    if (largest == 0) return 0;
    const double ratio = std::min(std::abs(a), std::abs(b)) / largest;
    return largest * std::sqrt(1 + ratio * ratio);
  }

  double* row(std::size_t i) const { return r_.data() + i * capacity_; }
  void grow();
  bool factorize_row(std::size_t end, double least);
  void drop_column(std::size_t column);
  void rotate_rows(std::size_t j, double c, double s);

  std::size_t max_columns_;
  std::size_t capacity_ = 0;  ///< Columns that fit, and the distance between two rows.
  std::size_t size_ = 0;
  const DenseKernels& kernels_;
  AlignedArray<double> r_;
  std::vector<double> column_;  ///< What is above a diagonal element.
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_UPPER_TRIANGLE_H_
