#ifndef TFMINIMIZE_SOLVERS_SLSQP_UPPER_TRIANGLE_H_
#define TFMINIMIZE_SOLVERS_SLSQP_UPPER_TRIANGLE_H_

#include <cmath>
#include <cstddef>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/snapshot.h"

namespace tfminimize::solvers {

/// The columns that there is room for from the start: a small problem never needs more, a large one grows as needed.
inline constexpr std::size_t kFewColumns = 104;

/// An upper triangular matrix R whose columns come and go, held row by row, in memory that grows with it.
class UpperTriangle {
 public:
  explicit UpperTriangle(std::size_t most_columns) : most_columns_(most_columns), kernels_(dense_kernels()) { grow(); }

  UpperTriangle& operator=(const UpperTriangle& other);

  void clear() { size_ = 0; }
  std::size_t size() const { return size_; }
  double operator()(std::size_t row, std::size_t column) const { return r_[row * capacity_ + column]; }

  /// Appends a column: above[0 .. size), and the diagonal.
  void append(const double* above, double diagonal);

  /// Removes a column, and turns the rows back to a triangle: turn(j, c, s) is called for each pair of rows (j, j + 1)
  /// that became (c·r_j + s·r_{j+1}, c·r_{j+1} - s·r_j).
  template <typename Turn>
  void remove(std::size_t column, const Turn& turn) {
    drop_column(column);
    for (std::size_t j = column; j < size_; ++j) {
      const double length = std::hypot(row(j)[j], row(j + 1)[j]);
      const double c = row(j)[j] / length;
      const double s = row(j + 1)[j] / length;
      turn_rows(j, c, s);
      turn(j, c, s);
    }
  }

  /// R'ᵀR' = RᵀR + sigma·x·xᵀ; x is destroyed. False, and then of no use, if that is not positive definite.
  bool update(double sigma, double* x);

  /// x = R⁻¹x
  void solve(double* x) const;
  /// x = R⁻ᵀx
  void solve_transposed(double* x) const;

  /// Calls visit(pointer, bytes) for each piece of it.
  template <typename Visit>
  void visit(Visit&& visit) {
    std::size_t size = size_;
    visit(&size, sizeof size);
    check_saved(size <= most_columns_, "its number of columns");
    while (capacity_ < size) grow();
    size_ = size;
    for (std::size_t i = 0; i < size_; ++i) visit(row(i), size_ * sizeof(double));
  }

 private:
  double* row(std::size_t i) const { return r_.data() + i * capacity_; }
  void grow();
  void drop_column(std::size_t column);
  void turn_rows(std::size_t j, double c, double s);

  std::size_t most_columns_;
  std::size_t capacity_ = 0;  ///< Columns that there is room for, and the distance of two rows.
  std::size_t size_ = 0;
  const DenseKernels& kernels_;
  AlignedArray<double> r_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_UPPER_TRIANGLE_H_
