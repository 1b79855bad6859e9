#ifndef TFMINIMIZE_XLA_FACTORIZATIONS_LAPACK_H_
#define TFMINIMIZE_XLA_FACTORIZATIONS_LAPACK_H_

#include <cstddef>
#include <functional>

namespace tfminimize::xla {

/// Functions of LAPACK and BLAS for one type. Matrices are stored column by column, and nothing is written through the
/// other pointers but `info`.
template <typename T>
struct LapackFunctions {
  using Triangular = void(char* side, char* triangle, char* transposed, char* diagonal, int* rows, int* columns,
                          T* alpha, T* a, int* stride, T* b, int* stride_b);

  /// Puts alpha op(A) op(B) + beta C in the place of C, rows x columns, with so many summands for each element.
  void (*gemm)(char* a_transposed, char* b_transposed, int* rows, int* columns, int* summands, T* alpha, T* a,
               int* a_stride, T* b, int* b_stride, T* beta, T* c, int* c_stride) = nullptr;
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
  /// How many threads it uses; null if that cannot be set.
  int (*threads)() = nullptr;
  void (*set_threads)(int) = nullptr;
};

/// The library to call from now on. It must stay loaded. Only the first call counts: programs may be using that one.
void set_lapack(const Lapack& lapack);

/// Whether there is a library, which then stays.
bool has_lapack();

/// Calls use(0), ..., use(count - 1), which call the library, in the threads that the program may use. Each call of the
/// library runs in one thread: its own threads wait for one another in loops, and where other programs use the cores, a
/// product was seen to take ten times as long, a small one a hundred times. A library whose threads cannot be set does
/// one call after the other.
void for_each_call(std::size_t count, const std::function<void(std::size_t)>& use);

/// Its functions for double or float.
template <typename T>
const LapackFunctions<T>& lapack();

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_FACTORIZATIONS_LAPACK_H_
