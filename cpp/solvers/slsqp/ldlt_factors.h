#ifndef TFMINIMIZE_SOLVERS_SLSQP_LDLT_FACTORS_H_
#define TFMINIMIZE_SOLVERS_SLSQP_LDLT_FACTORS_H_

#include <cstddef>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/span.h"

namespace tfminimize::solvers {

/// `size` zeros, rounded up to whole cache lines.
AlignedArray<double> zeros(std::size_t size);

/// A symmetric positive definite matrix B = L·D·Lᵀ, L unit lower triangular, with room for one more variable that is
/// coupled to no other.
///
///     B = [ L·D·Lᵀ      ]        L is held column by column, its unit diagonal and what is above it as zeros.
///         [         d_n ]
class LdltFactors {
 public:
  /// The identity of this order.
  explicit LdltFactors(std::size_t n);

  void set_identity();

  /// Takes B, [n * n] row by row. False, and then of no use, if it is not positive definite.
  bool factorize(Span<const double> b);

  /// B += sigma·z·zᵀ, where the result must be positive definite; z is [stride()], padded, and destroyed.
  void update(double sigma, double* z);

  /// With one more variable: B[n][n] = d. Until shrink().
  void extend(double d);
  void shrink() { order_ = n_; }

  /// The number of variables, the additional one included.
  std::size_t order() const { return order_; }
  /// Room of a vector that the functions below work on.
  std::size_t stride() const { return stride_; }

  /// x = D^(-1/2)·L⁻¹·x for `count` vectors, stride() apart, that are zero before `first`, a multiple of 8.
  void to_factor_space(double* x, std::size_t count = 1, std::size_t first = 0) const;
  /// x = L⁻ᵀ·D^(-1/2)·x
  void from_factor_space(double* x) const;
  /// x = B⁻¹·x
  void solve(double* x) const;
  /// y = B·x
  void multiply(const double* x, double* y) const;

  const AlignedArray<double>& l() const { return l_; }
  const AlignedArray<double>& d() const { return d_; }

  /// Calls visit(pointer, bytes) for each piece of it.
  template <typename Visit>
  void visit(Visit&& visit) {
    visit(l_.data(), l_.size() * sizeof(double));
    visit(d_.data(), d_.size() * sizeof(double));
    scale();
  }

 private:
  void scale();

  std::size_t n_;
  std::size_t order_;
  std::size_t stride_;
  const DenseKernels& kernels_;
  AlignedArray<double> l_;      ///< [n * stride]
  AlignedArray<double> d_;      ///< [stride], 1 behind the end
  AlignedArray<double> scale_;  ///< [stride], D^(-1/2), 0 behind the end
  AlignedArray<double> work_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_LDLT_FACTORS_H_
