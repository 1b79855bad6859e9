// Compiled for AVX2 and FMA, so it must not define an inline function that another file also defines.

#include "xla/factorizations/triangular_kernels.h"

#include "xla/avx2/vectors.h"

namespace tfminimize::xla {
namespace {

/// As many right-hand sides as are solved together, row by row in whole vectors: they stay in a core's first cache.
constexpr std::size_t kMaxVectors = 3;

/// Solves for the next kRows rows of x, after `row` rows that are known.
template <typename T, std::size_t kVectors, std::size_t kRows>
TFMINIMIZE_INLINE void solve_rows(const SmallSystem& system, std::size_t row, const T* a, const T* inverses, T* x) {
  constexpr std::size_t kLength = kVectors * kLanes<T>;
  const T* const begin = a + static_cast<std::ptrdiff_t>(row) * system.a_row;
  T* const now = x + row * kLength;
  const auto factor = [&](std::size_t r, std::size_t column) {
    const auto i = static_cast<std::ptrdiff_t>(r);
    const auto j = static_cast<std::ptrdiff_t>(column);
    return in_all_lanes(begin[i * system.a_row + j * system.a_column]);
  };
  Vector<T> values[kRows][kVectors];
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) values[r][v] = load(now + r * kLength + v * kLanes<T>);
  }
  for (std::size_t k = 0; k < row; ++k) {
    Vector<T> known[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) known[v] = load(x + k * kLength + v * kLanes<T>);
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vector<T> element = factor(r, k);
      for (std::size_t v = 0; v < kVectors; ++v) values[r][v] -= element * known[v];
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      values[r][v] *= in_all_lanes(inverses[row + r]);
      store(now + r * kLength + v * kLanes<T>, values[r][v]);
    }
    for (std::size_t later = r + 1; later < kRows; ++later) {
      const Vector<T> element = factor(later, row + r);
      for (std::size_t v = 0; v < kVectors; ++v) values[later][v] -= element * values[r][v];
    }
  }
}

/// The last rows, fewer than kRows.
template <typename T, std::size_t kVectors, std::size_t kRows>
TFMINIMIZE_INLINE void solve_last_rows(const SmallSystem& system, std::size_t row, const T* a, const T* inverses,
                                       T* x) {
  if constexpr (kRows > 1) {
    if (system.n - row == kRows - 1) {
      solve_rows<T, kVectors, kRows - 1>(system, row, a, inverses, x);
    } else {
      solve_last_rows<T, kVectors, kRows - 1>(system, row, a, inverses, x);
    }
  }
}

template <typename T, std::size_t kVectors>
void solve_together(const SmallSystem& system, const T* a, const T* inverses, T* x) {
  constexpr std::size_t kRows = rows_at_once(kVectors);
  std::size_t row = 0;
  for (; row + kRows <= system.n; row += kRows) solve_rows<T, kVectors, kRows>(system, row, a, inverses, x);
  solve_last_rows<T, kVectors, kRows>(system, row, a, inverses, x);
}

/// Solves for `sides` right-hand sides, no more than fit into kVectors vectors. The first one is at `x`.
template <typename T, std::size_t kVectors>
void solve_some(const SmallSystem& system, std::size_t sides, const T* a, const T* inverses, T* x) {
  constexpr std::size_t kLength = kVectors * kLanes<T>;
  alignas(kVectorBytes) T together[kMaxTriangle * kLength];
  const auto at = [&](std::size_t i, std::size_t side) -> T& {
    return x[static_cast<std::ptrdiff_t>(i) * system.x_row + static_cast<std::ptrdiff_t>(side) * system.x_side];
  };
  const bool is_whole = sides == kLength && system.x_side == 1;
  for (std::size_t i = 0; i < system.n; ++i) {
    T* const row = together + i * kLength;
    if (is_whole) {
      for (std::size_t v = 0; v < kLength; v += kLanes<T>) store(row + v, load(&at(i, v)));
    } else {
      for (std::size_t side = 0; side < kLength; ++side) row[side] = side < sides ? at(i, side) : 0;
    }
  }
  solve_together<T, kVectors>(system, a, inverses, together);
  for (std::size_t i = 0; i < system.n; ++i) {
    const T* const row = together + i * kLength;
    if (is_whole) {
      for (std::size_t v = 0; v < kLength; v += kLanes<T>) store(&at(i, v), load(row + v));
    } else {
      for (std::size_t side = 0; side < sides; ++side) at(i, side) = row[side];
    }
  }
}

template <typename T>
void solve(const SmallSystem& system, const T* a, T* x) {
  T inverses[kMaxTriangle];
  for (std::size_t i = 0; i < system.n; ++i) {
    const T diagonal = a[static_cast<std::ptrdiff_t>(i) * (system.a_row + system.a_column)];
    inverses[i] = system.has_unit_diagonal ? 1 : 1 / diagonal;
  }
  for (std::size_t first = 0; first < system.sides;) {
    const std::size_t left = system.sides - first;
    T* const from = x + static_cast<std::ptrdiff_t>(first) * system.x_side;
    if (left > 2 * kLanes<T>) {
      const std::size_t some = left < kMaxVectors * kLanes<T> ? left : kMaxVectors * kLanes<T>;
      solve_some<T, kMaxVectors>(system, some, a, inverses, from);
      first += some;
    } else if (left > kLanes<T>) {
      solve_some<T, 2>(system, left, a, inverses, from);
      first += left;
    } else {
      solve_some<T, 1>(system, left, a, inverses, from);
      first += left;
    }
  }
}

}  // namespace

void solve_small(const SmallSystem& system, const float* a, float* x) { solve(system, a, x); }
void solve_small(const SmallSystem& system, const double* a, double* x) { solve(system, a, x); }

}  // namespace tfminimize::xla
