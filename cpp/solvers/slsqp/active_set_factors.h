#ifndef TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_FACTORS_H_
#define TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_FACTORS_H_

#include <cstddef>
#include <vector>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/slsqp/upper_triangle.h"

namespace tfminimize::solvers {

/// The factors V = Q·R of a matrix with columns that come and go: the normals of the active constraints.
///
/// Qᵀ is stored row by row and grows with the number of columns. J. W. Daniel, W. B. Gragg, L. Kaufman, G. W. Stewart,
/// "Reorthogonalization and stable algorithms for updating the Gram-Schmidt QR factorization", Math. Comp. 30 (1976),
/// 772-795.
class ActiveSetFactors {
 public:
  /// Vectors are `stride` long, a multiple of 8; there are at most `max_columns` columns.
  ActiveSetFactors(std::size_t stride, std::size_t max_columns);

  void clear() { r_.clear(); }
  std::size_t size() const { return r_.size(); }  ///< Columns.
  const double* q(std::size_t i) const { return q_.data() + i * stride_; }
  const UpperTriangle& r() const { return r_; }

  /// The memory of Qᵀ, with room for so many vectors, of which the first `kept` stay. Forgets the factors.
  double* room_for(std::size_t columns, std::size_t kept);

  /// Splits v into Q·d and a z that is orthogonal to Q. Returns ‖z‖. d: [size()], z: [stride].
  double project(const double* v, double* d, double* z) const;

  /// Appends the column Q·d + z that project() has split.
  void append(const double* d, const double* z, double norm);

  /// Removes a column. The last row of Qᵀ then no longer belongs to the factors, but stays at q(size()). The function
  /// rotates alpha, [size()] before the call, together with Qᵀ.
  void remove(std::size_t column, double* alpha);

  /// y += Q·x
  void add_combination(const double* x, double* y) const;

 private:
  void grow(std::size_t kept);

  std::size_t stride_;
  std::size_t max_columns_;
  std::size_t capacity_ = 0;
  const DenseKernels& kernels_;
  UpperTriangle r_;
  AlignedArray<double> q_;
  mutable std::vector<double> correction_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_ACTIVE_SET_FACTORS_H_
