#ifndef TFMINIMIZE_SOLVERS_SLSQP_LDLT_FACTORS_H_
#define TFMINIMIZE_SOLVERS_SLSQP_LDLT_FACTORS_H_

#include <cstddef>

#include "solvers/aligned_array.h"
#include "solvers/kernels/dense_kernels.h"
#include "solvers/snapshot.h"
#include "solvers/span.h"

namespace tfminimize::solvers {

/// A symmetric positive definite matrix B = L·D·Lᵀ with L unit lower triangular, and room for one more variable that is
/// not coupled to the others.
///
///     B = [ L·D·Lᵀ      ]        L is stored column by column, with zeros on its diagonal and above it.
///         [         d_n ]
class LdltFactors {
 public:
  /// The identity of this order.
  explicit LdltFactors(std::size_t n);

  void set_identity();

  /// Factorizes B, [n * n] row by row. False if B is not positive definite; the factors are then invalid.
  bool factorize(Span<const double> b);

  /// Takes another B of this order. False, and nothing changes, if it is not finite or not positive definite.
  bool take(const LdltFactors& other);

  /// B += sigma·z·zᵀ. The result must be positive definite. z: [stride()], padded; it is overwritten.
  void update(double sigma, double* z);

  /// Adds one more variable with B[n][n] = d, until shrink().
  void extend(double d);
  void shrink() { order_ = n_; }

  /// The number of variables, with the additional one.
  std::size_t order() const { return order_; }
  /// The padded length of the vectors of the functions below.
  std::size_t stride() const { return stride_; }

  /// x = D^(-1/2)·L⁻¹·x for `count` vectors, stride() apart. They are zero before `first`, a multiple of 8.
  void to_factor_space(double* x, std::size_t count = 1, std::size_t first = 0) const;
  /// x = L⁻ᵀ·D^(-1/2)·x
  void from_factor_space(double* x) const;
  /// x = B⁻¹·x
  void solve(double* x) const;
  /// y = B·x
  void multiply(const double* x, double* y) const;

  const AlignedArray<double>& l() const { return l_; }
  const AlignedArray<double>& d() const { return d_; }

  /// Calls visit(pointer, bytes) for each piece of the state.
  template <typename Visit>
  void visit_state(Visit&& visit) {
    visit_elements(visit, l_);
    visit_elements(visit, d_);
    scale();
  }

 private:
  void scale();

  std::size_t n_;
  std::size_t order_;
  std::size_t stride_;
  const DenseKernels& kernels_;
  AlignedArray<double> l_;      ///< [n * stride]
  AlignedArray<double> d_;      ///< [stride], 1 in the padding
  AlignedArray<double> scale_;  ///< [stride], D^(-1/2), 0 in the padding
  AlignedArray<double> work_;
};

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_SLSQP_LDLT_FACTORS_H_
