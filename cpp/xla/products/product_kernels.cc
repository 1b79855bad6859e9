// Compiled for AVX2 and FMA, so it must not define an inline function that another file also defines.

#include "xla/products/product_kernels.h"

#include "xla/avx2/vectors.h"

namespace tfminimize::xla {
namespace {

/// Products are made for so many rows at a time, whose elements stay in the caches. A sum over many rows is made piece
/// by piece, so that its error stays small.
constexpr std::size_t kPiece = 64;

/// The sizes of a product, and where A has its elements: that for row i of C and summand k is at i * a_row + k * a_k.
struct Layout {
  std::size_t summands;
  std::size_t a_row;
  std::size_t a_k;
  std::size_t b_row;
  std::size_t c_row;
};

/// Sets or adds to a tile of C, kRows by kVectors vectors. Reads and writes whole vectors, the rows from top to bottom.
template <typename T, std::size_t kVectors, std::size_t kRows, bool kAdd>
TFMINIMIZE_INLINE void tile(const Layout& layout, const T* a, const T* b, T* c) {
  Vector<T> sums[kRows][kVectors] = {};
  for (std::size_t k = 0; k < layout.summands; ++k, a += layout.a_k, b += layout.b_row) {
    Vector<T> row[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) row[v] = load(b + v * kLanes<T>);
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vector<T> factor = in_all_lanes(a[r * layout.a_row]);
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] += factor * row[v];
    }
  }
  for (std::size_t r = 0; r < kRows; ++r, c += layout.c_row) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      T* const to = c + v * kLanes<T>;
      store(to, kAdd ? load(to) + sums[r][v] : sums[r][v]);
    }
  }
}

/// The last rows, fewer than kRows.
template <typename T, std::size_t kVectors, std::size_t kRows, bool kAdd>
TFMINIMIZE_INLINE void last_tile(const Layout& layout, std::size_t rows, const T* a, const T* b, T* c) {
  if constexpr (kRows > 1) {
    if (rows == kRows - 1) {
      tile<T, kVectors, kRows - 1, kAdd>(layout, a, b, c);
    } else {
      last_tile<T, kVectors, kRows - 1, kAdd>(layout, rows, a, b, c);
    }
  }
}

template <typename T, std::size_t kVectors, bool kAdd>
void column_of_tiles(const Layout& layout, std::size_t rows, const T* a, const T* b, T* c) {
  constexpr std::size_t kRows = rows_at_once(kVectors);
  for (; rows >= kRows; rows -= kRows) {
    tile<T, kVectors, kRows, kAdd>(layout, a, b, c);
    a += kRows * layout.a_row;
    c += kRows * layout.c_row;
  }
  last_tile<T, kVectors, kRows, kAdd>(layout, rows, a, b, c);
}

/// Sets or adds to all columns of some rows of C, which has `vectors` vectors in a row. What is written after the end
/// of a row, in the last vector, is written over by the next row: the last column of tiles comes first.
template <typename T, bool kAdd>
void all_tiles(const Layout& layout, std::size_t vectors, std::size_t rows, const T* a, const T* b, T* c) {
  while (vectors > 0) {
    // Columns of three and two vectors; of one only if there is no other.
    const std::size_t now = vectors == 1 ? 1 : vectors == 2 || vectors == 4 ? 2 : 3;
    vectors -= now;
    const T* const from = b + vectors * kLanes<T>;
    T* const to = c + vectors * kLanes<T>;
    switch (now) {
      case 1:
        column_of_tiles<T, 1, kAdd>(layout, rows, a, from, to);
        break;
      case 2:
        column_of_tiles<T, 2, kAdd>(layout, rows, a, from, to);
        break;
      default:
        column_of_tiles<T, 3, kAdd>(layout, rows, a, from, to);
    }
  }
}

template <typename T>
constexpr std::size_t vectors_for(std::size_t columns) {
  return (columns + kLanes<T> - 1) / kLanes<T>;
}

/// How many of the first rows of a matrix can be read and written in whole vectors, without going beyond its end.
template <typename T>
std::size_t rows_of_vectors(std::size_t rows, std::size_t columns) {
  const std::size_t length = vectors_for<T>(columns) * kLanes<T>;
  return rows * columns < length ? 0 : (rows * columns - length) / columns + 1;
}

/// Room for a small matrix whose rows are whole vectors: they grow to less than twice their length, or to one vector.
template <typename T>
struct Small {
  static_assert(kMaxColumns * kLanes<T> <= 2 * kMaxSmall);
  alignas(kVectorBytes) T data[2 * kMaxSmall];
};

/// Calls use(first, count) for piece after piece of `rows`.
template <typename Use>
TFMINIMIZE_INLINE void for_each_piece(std::size_t rows, const Use& use) {
  for (std::size_t first = 0; first < rows; first += kPiece) {
    use(first, rows - first < kPiece ? rows - first : kPiece);
  }
}

/// C = A B.
template <typename T>
void multiply_rows(bool is_transposed, const ProductSizes& sizes, const T* a, const T* b, T* c) {
  const std::size_t vectors = vectors_for<T>(sizes.j);
  const std::size_t length = vectors * kLanes<T>;
  Small<T> whole;  // B, in whole vectors
  for (std::size_t k = 0; k < sizes.k; ++k) {
    T* const row = whole.data + k * length;
    for (std::size_t j = 0; j < length; ++j) {
      row[j] = j >= sizes.j ? 0 : is_transposed ? b[j * sizes.k + k] : b[k * sizes.j + j];
    }
  }
  const std::size_t rows = rows_of_vectors<T>(sizes.i, sizes.j);
  for_each_piece(rows, [&](std::size_t first, std::size_t count) {
    const Layout layout{sizes.k, sizes.k, 1, length, sizes.j};
    all_tiles<T, false>(layout, vectors, count, a + first * sizes.k, whole.data, c + first * sizes.j);
  });
  alignas(kVectorBytes) T row[kMaxColumns + kLanes<T>];
  for (std::size_t i = rows; i < sizes.i; ++i) {
    all_tiles<T, false>({sizes.k, sizes.k, 1, length, length}, vectors, 1, a + i * sizes.k, whole.data, row);
    for (std::size_t j = 0; j < sizes.j; ++j) c[i * sizes.j + j] = row[j];
  }
}

/// C = transpose of A, times B.
template <typename T>
void multiply_sum(const ProductSizes& sizes, const T* a, const T* b, T* c) {
  const std::size_t vectors = vectors_for<T>(sizes.j);
  const std::size_t length = vectors * kLanes<T>;
  Small<T> sums;  // C, in whole vectors; the elements after the end of a row are not used
  for (std::size_t e = 0; e < sizes.i * length; ++e) sums.data[e] = 0;
  const std::size_t rows = rows_of_vectors<T>(sizes.k, sizes.j);
  for_each_piece(rows, [&](std::size_t first, std::size_t count) {
    const Layout layout{count, 1, sizes.i, sizes.j, length};
    all_tiles<T, true>(layout, vectors, sizes.i, a + first * sizes.i, b + first * sizes.j, sums.data);
  });
  alignas(kVectorBytes) T row[kMaxColumns + kLanes<T>] = {};
  for (std::size_t k = rows; k < sizes.k; ++k) {
    for (std::size_t j = 0; j < sizes.j; ++j) row[j] = b[k * sizes.j + j];
    all_tiles<T, true>({1, 1, sizes.i, length, length}, vectors, sizes.i, a + k * sizes.i, row, sums.data);
  }
  for (std::size_t i = 0; i < sizes.i; ++i) {
    for (std::size_t j = 0; j < sizes.j; ++j) c[i * sizes.j + j] = sums.data[i * length + j];
  }
}

template <typename T>
void multiply(ProductKind kind, const ProductSizes& sizes, const T* a, const T* b, T* c) {
  if (kind == ProductKind::kSum) {
    multiply_sum(sizes, a, b, c);
  } else {
    multiply_rows(kind == ProductKind::kRowsTransposed, sizes, a, b, c);
  }
}

}  // namespace

void multiply_matrices(ProductKind kind, const ProductSizes& sizes, const float* a, const float* b, float* c) {
  multiply(kind, sizes, a, b, c);
}
void multiply_matrices(ProductKind kind, const ProductSizes& sizes, const double* a, const double* b, double* c) {
  multiply(kind, sizes, a, b, c);
}

}  // namespace tfminimize::xla
