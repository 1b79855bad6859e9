#ifndef TFMINIMIZE_SOLVERS_KERNELS_TRIANGLE_KERNELS_H_
#define TFMINIMIZE_SOLVERS_KERNELS_TRIANGLE_KERNELS_H_

#include <cstddef>

namespace tfminimize::solvers {

// A symmetric matrix H as the tiles of its lower triangle: 8 × 8 doubles each, stored row by row, stripe after stripe.
// Stripe I holds the rows 8·I to 8·I + 7 in the tiles (I, 0) to (I, I). A tile on the diagonal holds all its elements.

/// The length of a tile's edge.
inline constexpr std::size_t kEdge = 8;

/// The number of tiles before this stripe.
constexpr std::size_t tiles_before(std::size_t stripe) { return stripe * (stripe + 1) / 2; }

/// Some consecutive stripes.
struct Stripes {
  std::size_t begin;
  std::size_t end;
};

/// H ← h·H + uu·uuᵀ + us·(usᵀ + suᵀ) + ss·ssᵀ
struct RankTwoUpdate {
  double h;
  double uu;
  double us;
  double ss;
  const double* u;
  const double* s;
};

/// Passes over the tiles, compiled for one level of x86-64. All levels give the same bits, as DenseKernels do. Vectors
/// are 64-byte aligned and padded to whole tiles.
struct TriangleKernels {
  /// y += Hx, with what these stripes hold of H. They change y from its start to their last row.
  void (*multiply)(const double* tiles, const Stripes& stripes, const double* x, double* y);
  /// The same, and the update before it, in one pass.
  void (*update_and_multiply)(double* tiles, const Stripes& stripes, const RankTwoUpdate& update, const double* x,
                              double* y);
};

/// The kernels for the best level of this machine.
const TriangleKernels& triangle_kernels();

/// The kernels for one level, "v1", "v3" or "v4"; null if this machine cannot run them.
const TriangleKernels* triangle_kernels_for(const char* level);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_KERNELS_TRIANGLE_KERNELS_H_
