#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_LAPACK_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_LAPACK_H_

namespace tfminimize::xla {

/// Functions of LAPACK and BLAS for one type. Matrices are stored column by column, and nothing is written through the
/// other pointers but `info`.
template <typename T>
struct LapackFunctions {
  using Triangular = void(char* side, char* triangle, char* transposed, char* diagonal, int* rows, int* columns,
                          T* alpha, T* a, int* stride, T* b, int* stride_b);

  /// Cholesky factor of a symmetric matrix, in its place. `info` is positive if the matrix is not positive definite.
  void (*potrf)(char* triangle, int* n, T* a, int* stride, int* info) = nullptr;
  /// Solves op(A) X = alpha B or X op(A) = alpha B for a triangular A; X takes the place of B.
  Triangular* trsm = nullptr;
  /// Puts alpha op(A) B or alpha B op(A) in the place of B, for a triangular A.
  Triangular* trmm = nullptr;
};

/// From any library with Fortran's interface and 32-bit integers.
struct Lapack {
  LapackFunctions<double> doubles;
  LapackFunctions<float> floats;
};

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_LAPACK_H_
