#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_TRIANGULAR_KERNELS_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_TRIANGULAR_KERNELS_H_

#include <cstddef>

namespace tfminimize::xla {

/// Larger systems are left to LAPACK, and only products with a larger factor leave out its zeros.
inline constexpr std::size_t kMaxTriangle = 256;

/// A system A x = b with a lower triangular matrix, and many right-hand sides. Element (i, j) of A is at
/// i * a_row + j * a_column, and element i of x for the right-hand side s at i * x_row + s * x_side. So a transposed
/// matrix has the two steps exchanged, and an upper triangular one is read from its end, with negative steps.
struct SmallSystem {
  std::size_t n = 0;
  std::size_t sides = 0;
  bool has_unit_diagonal = false;
  std::ptrdiff_t a_row = 0;
  std::ptrdiff_t a_column = 0;
  std::ptrdiff_t x_row = 0;
  std::ptrdiff_t x_side = 0;
};

/// Puts x in the place of b, in one thread. Does not read the other triangle of A. A solution does not depend on the
/// other right-hand sides. The processor must have AVX2 and FMA.
void solve_small(const SmallSystem& system, const float* a, float* x);
void solve_small(const SmallSystem& system, const double* a, double* x);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_TRIANGULAR_KERNELS_H_
