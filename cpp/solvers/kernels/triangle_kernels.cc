// Compiled once for each level of the processor, under the same rules as kernels.cc.

#include "solvers/kernels/triangle_kernels.h"

#include <type_traits>

#include "solvers/kernels/lanes.h"

namespace tfminimize::solvers {
namespace {

constexpr std::size_t kTileSize = kEdge * kEdge;
// So many rows of a tile keep their sums in registers together.
constexpr std::size_t kRows = kParts == 1 ? 8 : kParts == 2 ? 4 : 2;
// The rows of a stripe go over so many tiles before the next rows do: the tiles stay in the first cache meanwhile.
constexpr std::size_t kBlock = 16;

/// One stripe in a pass: what belongs to its rows.
struct Rows {
  double u[kEdge];  ///< uu·u + us·s, the factor of uᵀ.
  double s[kEdge];  ///< us·u + ss·s, the factor of sᵀ.
  double x[kEdge];
  V8 sums[kEdge];  ///< The products of the rows with x, by lanes.
};

/// A pass over const elements makes no update.
template <typename Element>
constexpr bool kUpdates = !std::is_const_v<Element>;

/// The tiles [begin, end) of a stripe, for the rows from `first` on. They are not on the diagonal.
template <typename Element>
TFMINIMIZE_INLINE void pass(Element* tiles, std::size_t begin, std::size_t end, std::size_t first, Rows& rows,
                            const RankTwoUpdate& update, const double* x, double* y) {
  V8 sums[kRows];
  for (std::size_t r = 0; r < kRows; ++r) sums[r] = rows.sums[first + r];
  const V8 factor = broadcast(update.h);
  for (std::size_t j = begin; j < end; ++j) {
    Element* tile = tiles + j * kTileSize + first * kEdge;
    const std::size_t column = j * kEdge;
    const V8 x_column = load(x + column);
    V8 y_column = load(y + column);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      V8 h = load(tile + r * kEdge);
      if constexpr (kUpdates<Element>) {
        h = factor * h + broadcast(rows.u[first + r]) * load(update.u + column);
        h = h + broadcast(rows.s[first + r]) * load(update.s + column);
        store(tile + r * kEdge, h);
      }
      sums[r] = sums[r] + h * x_column;
      y_column = y_column + broadcast(rows.x[first + r]) * h;
    }
    store(y + column, y_column);
  }
  for (std::size_t r = 0; r < kRows; ++r) rows.sums[first + r] = sums[r];
}

/// The tile on the diagonal: what is below it counts.
template <typename Element>
TFMINIMIZE_INLINE void pass_diagonal(Element* tile, std::size_t row, Rows& rows, const RankTwoUpdate& update,
                                     const double* x) {
  if constexpr (kUpdates<Element>) {
    for (std::size_t r = 0; r < kEdge; ++r) {
      for (std::size_t c = 0; c <= r; ++c) {
        double& h = tile[r * kEdge + c];
        h = update.h * h + rows.u[r] * update.u[row + c] + rows.s[r] * update.s[row + c];
        tile[c * kEdge + r] = h;
      }
    }
  }
  const V8 x_column = load(x + row);
  for (std::size_t r = 0; r < kEdge; ++r) rows.sums[r] = rows.sums[r] + load(tile + r * kEdge) * x_column;
}

template <typename Element>
TFMINIMIZE_INLINE void pass_stripes(Element* tiles, const Stripes& stripes, const RankTwoUpdate& update,
                                    const double* x, double* y) {
  for (std::size_t stripe = stripes.begin; stripe < stripes.end; ++stripe) {
    Element* const begin = tiles + tiles_before(stripe) * kTileSize;
    const std::size_t row = stripe * kEdge;
    Rows rows;
    for (std::size_t r = 0; r < kEdge; ++r) {
      if constexpr (kUpdates<Element>) {
        rows.u[r] = update.uu * update.u[row + r] + update.us * update.s[row + r];
        rows.s[r] = update.us * update.u[row + r] + update.ss * update.s[row + r];
      }
      rows.x[r] = x[row + r];
      rows.sums[r] = zero();
    }
    for (std::size_t block = 0; block < stripe; block += kBlock) {
      const std::size_t end = block + kBlock < stripe ? block + kBlock : stripe;
      for (std::size_t first = 0; first < kEdge; first += kRows) {
        pass(begin, block, end, first, rows, update, x, y);
      }
    }
    pass_diagonal(begin + stripe * kTileSize, row, rows, update, x);
    for (std::size_t r = 0; r < kEdge; ++r) y[row + r] += sum(rows.sums[r]);
  }
}

void multiply(const double* tiles, const Stripes& stripes, const double* x, double* y) {
  pass_stripes(tiles, stripes, {}, x, y);
}

void update_and_multiply(double* tiles, const Stripes& stripes, const RankTwoUpdate& update, const double* x,
                         double* y) {
  const RankTwoUpdate local = update;  // Nothing that is stored can change it, so it stays in registers.
  pass_stripes(tiles, stripes, local, x, y);
}

}  // namespace

namespace TFMINIMIZE_LEVEL {
extern const TriangleKernels kTriangleKernels;
const TriangleKernels kTriangleKernels = {multiply, update_and_multiply};
}  // namespace TFMINIMIZE_LEVEL

}  // namespace tfminimize::solvers
