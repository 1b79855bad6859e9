#ifndef TFMINIMIZE_SOLVERS_KERNELS_DENSE_KERNELS_H_
#define TFMINIMIZE_SOLVERS_KERNELS_DENSE_KERNELS_H_

#include <cstddef>

#include "solvers/padding.h"

namespace tfminimize::solvers {

/// Loops of dense linear algebra, compiled for one level of x86-64. All levels give the same bits: they add up eight
/// partial sums in a fixed tree, and use no fused multiply-add.
///
/// Every vector, row and column is 64-byte aligned and padded(n) long. The padding is zero and stays zero. stride is
/// the distance between two rows, a multiple of 8.
struct DenseKernels {
  /// xᵀy
  double (*dot)(std::size_t n, const double* x, const double* y);
  /// y += a·x
  void (*add)(std::size_t n, double a, const double* x, double* y);
  /// (x, y) = (c·x + s·y, c·y - s·x)
  void (*rotate)(std::size_t n, double c, double s, double* x, double* y);

  /// y_i = row_iᵀx for the rows of A; y need not be padded.
  void (*multiply)(std::size_t rows, std::size_t n, const double* a, std::size_t stride, const double* x, double* y);
  /// y += Σ x_i·row_i
  void (*multiply_transposed)(std::size_t rows, std::size_t n, const double* a, std::size_t stride, const double* x,
                              double* y);

  /// x = L⁻¹x for `count` vectors x, stride_x apart. L is unit lower triangular, stored column by column, with zeros on
  /// its diagonal and above it. The vectors are zero before `first`, a multiple of 8.
  void (*solve)(std::size_t n, const double* l, std::size_t stride, std::size_t first, std::size_t count, double* x,
                std::size_t stride_x);
  /// x = L⁻ᵀx
  void (*solve_transposed)(std::size_t n, const double* l, std::size_t stride, double* x);
  /// L·D·Lᵀ + z·zᵀ/t (R. Fletcher, M. J. D. Powell, "On the modification of LDLᵀ factorizations", Math. Comp. 28
  /// (1974), 1067-1087). next[j] is the t after column j, t_j + z_j²/d_j; if null, it is computed. Overwrites z.
  void (*update)(std::size_t n, double* l, std::size_t stride, double* d, double t, const double* next, double* z);
};

/// The kernels for the best level of this machine.
const DenseKernels& dense_kernels();

/// The kernels for one level, "v1", "v3" or "v4"; null if this machine cannot run them.
const DenseKernels* dense_kernels_for(const char* level);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_KERNELS_DENSE_KERNELS_H_
