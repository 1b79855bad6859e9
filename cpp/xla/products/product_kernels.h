#ifndef TFMINIMIZE_XLA_PRODUCTS_PRODUCT_KERNELS_H_
#define TFMINIMIZE_XLA_PRODUCTS_PRODUCT_KERNELS_H_

#include <cstddef>

namespace tfminimize::xla {

/// A product of two matrices, one of them small, as a network makes them for a block of rows. All matrices are stored
/// row by row.
enum class ProductKind {
  kRows,            ///< C[i, j] = sum over k of A[i, k] B[k, j], where A has many rows.
  kRowsTransposed,  ///< C[i, j] = sum over k of A[i, k] B[j, k], where A has many rows.
  kSum,             ///< C[i, j] = sum over k of A[k, i] B[k, j], where both have many rows.
};

struct ProductSizes {
  std::size_t i = 0;
  std::size_t j = 0;
  std::size_t k = 0;
};

/// The largest small matrix, in elements, and the longest of its rows and columns.
inline constexpr std::size_t kMaxSmall = 4096;
inline constexpr std::size_t kMaxColumns = 128;

/// Computes C from A and B. They must not overlap, and the small one (B, or C for kSum) must be within the limits
/// above. The processor must have AVX2 and FMA.
void multiply_matrices(ProductKind kind, const ProductSizes& sizes, const float* a, const float* b, float* c);
void multiply_matrices(ProductKind kind, const ProductSizes& sizes, const double* a, const double* b, double* c);

}  // namespace tfminimize::xla

#endif  // TFMINIMIZE_XLA_PRODUCTS_PRODUCT_KERNELS_H_
