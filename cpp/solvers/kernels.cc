// Compiled once for each level of x86-64 (see CMakeLists.txt), with TFMINIMIZE_LEVEL as the name of the level.
// The arithmetic is that of eight lanes at every level, without fused multiply-add, so the bits are the same.

#include "solvers/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#define TFMINIMIZE_STRING_(x) #x
#define TFMINIMIZE_STRING(x) TFMINIMIZE_STRING_(x)

namespace tfminimize::TFMINIMIZE_LEVEL {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Tiles summed up in one accumulator before the partial sum is added to the total: the error of a sum grows with
// the length of a chunk and the number of chunks, not with n.
constexpr std::size_t kChunk = 2048;

using V8 = double __attribute__((vector_size(64)));
using L8 = std::int64_t __attribute__((vector_size(64)));
using B8 = std::int8_t __attribute__((vector_size(8)));

#define TFMINIMIZE_INLINE inline __attribute__((always_inline))

TFMINIMIZE_INLINE V8 load(const double* p) {
  V8 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
TFMINIMIZE_INLINE void store(double* p, V8 v) { std::memcpy(p, &v, sizeof v); }
TFMINIMIZE_INLINE V8 broadcast(double a) { return V8{a, a, a, a, a, a, a, a}; }
TFMINIMIZE_INLINE V8 smaller(V8 a, V8 b) { return b < a ? b : a; }
TFMINIMIZE_INLINE V8 larger(V8 a, V8 b) { return a < b ? b : a; }
TFMINIMIZE_INLINE V8 clip(V8 x, V8 lower, V8 upper) { return smaller(larger(x, lower), upper); }
TFMINIMIZE_INLINE V8 magnitude(V8 a) { return a < 0 ? -a : a; }

TFMINIMIZE_INLINE double sum(V8 v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
TFMINIMIZE_INLINE double minimum(V8 v) {
  return std::min(std::min(std::min(v[0], v[4]), std::min(v[2], v[6])),
                  std::min(std::min(v[1], v[5]), std::min(v[3], v[7])));
}
TFMINIMIZE_INLINE double maximum(V8 v) { return -minimum(-v); }
TFMINIMIZE_INLINE bool any(L8 mask) {
  return (mask[0] | mask[1] | mask[2] | mask[3] | mask[4] | mask[5] | mask[6] | mask[7]) != 0;
}
TFMINIMIZE_INLINE std::int64_t count(L8 mask) {
  return -((mask[0] + mask[1] + mask[2] + mask[3]) + (mask[4] + mask[5] + mask[6] + mask[7]));
}

TFMINIMIZE_INLINE L8 lanes_of(Position p) {
  const std::int64_t a = p;
  return L8{a, a, a, a, a, a, a, a};
}

/// The positions of one tile: as one word (0: all free) and as masks of lanes.
struct TilePositions {
  explicit TFMINIMIZE_INLINE TilePositions(const std::uint8_t* p) { std::memcpy(&bytes, p, sizeof bytes); }
  TFMINIMIZE_INLINE std::uint64_t word() const {
    std::uint64_t w;
    std::memcpy(&w, &bytes, sizeof w);
    return w;
  }
  TFMINIMIZE_INLINE L8 is(Position position) const {
    return __builtin_convertvector(bytes == static_cast<std::int8_t>(position), L8);
  }
  B8 bytes;
};

/// The vectors of the caller at one tile; for a last tile that is not full, padded copies of them.
struct TileVectors {
  double* x;
  const double* g;
  const double* lower;
  const double* upper;
};

/// Calls body(tile, vectors) for the tiles [begin, end).
template <bool kBounded, typename Body>
TFMINIMIZE_INLINE void for_tiles(const Vectors& v, std::size_t begin, std::size_t end, const Body& body) {
  const std::size_t full = std::min(end, v.n / kTile);
  for (std::size_t t = begin; t < full; ++t) {
    const std::size_t i = t * kTile;
    body(t, TileVectors{v.x + i, v.gradient + i, kBounded ? v.lower + i : nullptr, kBounded ? v.upper + i : nullptr});
  }
  if (full == end) return;
  alignas(64) double x[kTile] = {};
  alignas(64) double g[kTile] = {};
  alignas(64) double lower[kTile];
  alignas(64) double upper[kTile];
  const std::size_t i = full * kTile;
  const std::size_t rest = v.n - i;
  std::copy_n(v.x + i, rest, x);
  std::copy_n(v.gradient + i, rest, g);
  if constexpr (kBounded) {
    std::fill_n(lower, kTile, -kInfinity);
    std::fill_n(upper, kTile, kInfinity);
    std::copy_n(v.lower + i, rest, lower);
    std::copy_n(v.upper + i, rest, upper);
  }
  body(full, TileVectors{x, g, lower, upper});
  std::copy_n(x, rest, v.x + i);
}

/// Calls body(tile, vectors) for all tiles, and flush() after every chunk of them.
template <bool kBounded, typename Body, typename Flush>
TFMINIMIZE_INLINE void for_chunks(const Vectors& v, const Body& body, const Flush& flush) {
  const std::size_t tiles = num_tiles(v.n);
  for (std::size_t begin = 0; begin < tiles; begin += kChunk) {
    for_tiles<kBounded>(v, begin, std::min(begin + kChunk, tiles), body);
    flush();
  }
}

/// A sum over n: lanes within a chunk, chunks one after the other.
struct Sum {
  V8 lanes = V8{};
  double total = 0;

  TFMINIMIZE_INLINE void flush() {
    total += sum(lanes);
    lanes = V8{};
  }
};

/// One sum a column.
class ColumnSums {
 public:
  TFMINIMIZE_INLINE ColumnSums(double* scratch, std::size_t count, double* totals)
      : lanes_(scratch), count_(count), totals_(totals) {
    std::fill_n(lanes_, count_ * kTile, 0.0);
    std::fill_n(totals_, count_, 0.0);
  }
  /// lanes[k] += w·value
  TFMINIMIZE_INLINE void add(std::size_t k, V8 w, V8 value) {
    double* lane = lanes_ + k * kTile;
    store(lane, load(lane) + w * value);
  }
  TFMINIMIZE_INLINE void flush() {
    for (std::size_t k = 0; k < count_; ++k) {
      totals_[k] += sum(load(lanes_ + k * kTile));
      store(lanes_ + k * kTile, V8{});
    }
  }

 private:
  double* lanes_;
  std::size_t count_;
  double* totals_;
};

TFMINIMIZE_INLINE V8 combine(const Vectors& v, std::size_t tile, V8 g, const Combination& step) {
  // Two chains, so that one multiplication need not wait for the other's addition.
  V8 even = broadcast(step.g_coefficient) * g;
  V8 odd = V8{};
  const double* w = v.w.at(tile, 0);
  std::size_t k = 0;
  for (; k + 1 < step.columns.count; k += 2) {
    even += broadcast(step.coefficients[k]) * load(w + static_cast<std::size_t>(step.columns.ids[k]) * kTile);
    odd += broadcast(step.coefficients[k + 1]) * load(w + static_cast<std::size_t>(step.columns.ids[k + 1]) * kTile);
  }
  if (k < step.columns.count) {
    even += broadcast(step.coefficients[k]) * load(w + static_cast<std::size_t>(step.columns.ids[k]) * kTile);
  }
  return even + odd;
}

DirectionSums direction(const Vectors& v, const Combination& step, std::size_t d_column) {
  Sum slope;
  Sum squared_norm;
  for_chunks<false>(
      v,
      [&](std::size_t t, const TileVectors& tile) {
        const V8 x = load(tile.x);
        const V8 g = load(tile.g);
        const V8 z = x + combine(v, t, g, step);
        const V8 d = z - x;
        store(v.start + t * kTile, x);
        store(v.start_gradient + t * kTile, g);
        store(v.w.at(t, d_column), d);
        store(tile.x, z);
        slope.lanes += g * d;
        squared_norm.lanes += d * d;
      },
      [&] {
        slope.flush();
        squared_norm.flush();
      });
  DirectionSums sums;
  sums.slope = slope.total;
  sums.squared_norm = squared_norm.total;
  sums.largest_step = kInfinity;
  return sums;
}

DirectionSums bounded_direction(const Vectors& v, const double* from, const std::uint8_t* positions, double cauchy_step,
                                const Combination& step, std::size_t d_column, const Columns& dot_columns,
                                double* free_dots, double* other_dots, double* scratch) {
  Sum slope;
  Sum squared_norm;
  V8 largest_step = broadcast(kInfinity);
  L8 clipped = L8{};
  ColumnSums free_sums(scratch, dot_columns.count, free_dots);
  ColumnSums other_sums(scratch + dot_columns.count * kTile, dot_columns.count, other_dots);
  const bool x_has_moved = from != v.x;
  for_chunks<true>(
      v,
      [&](std::size_t t, const TileVectors& tile) {
        const TilePositions position(positions + t * kTile);
        const bool all_free = position.word() == 0;
        const L8 free = position.is(kFree);
        const bool any_free = all_free || any(free);
        const V8 x = x_has_moved ? load(from + t * kTile) : load(tile.x);
        const V8 g = load(tile.g);
        const V8 lower = load(tile.lower);
        const V8 upper = load(tile.upper);
        V8 z = x;
        if (any_free) {
          // The Cauchy point and the step from it are added one after the other, as the projection needs both.
          const V8 target = (x - broadcast(cauchy_step) * g) + combine(v, t, g, step);
          z = clip(target, lower, upper);
          clipped |= free & ((z <= lower) | (z >= upper));
        }
        if (!all_free) {
          z = free ? z : position.is(kAtLower) ? lower : position.is(kAtUpper) ? upper : x;
        }
        const V8 d = z - x;
        store(v.start + t * kTile, x);
        store(v.start_gradient + t * kTile, g);
        store(v.w.at(t, d_column), d);
        store(tile.x, z);
        slope.lanes += g * d;
        squared_norm.lanes += d * d;
        const V8 room = d < 0 ? lower - x : upper - x;
        const V8 ratio = d != 0 ? room / d : broadcast(kInfinity);
        largest_step = smaller(largest_step, ratio);

        const double* w = v.w.at(t, 0);
        const auto column = [&](std::size_t k) {
          return load(w + static_cast<std::size_t>(dot_columns.ids[k]) * kTile);
        };
        const V8 free_d = all_free ? d : free ? d : V8{};
        const V8 other_d = all_free ? V8{} : free ? V8{} : d;
        if (any_free) {
          for (std::size_t k = 0; k < dot_columns.count; ++k) free_sums.add(k, column(k), free_d);
        }
        if (!all_free && any(other_d != 0)) {
          for (std::size_t k = 0; k < dot_columns.count; ++k) other_sums.add(k, column(k), other_d);
        }
      },
      [&] {
        slope.flush();
        squared_norm.flush();
        free_sums.flush();
        other_sums.flush();
      });
  DirectionSums sums;
  sums.slope = slope.total;
  sums.squared_norm = squared_norm.total;
  sums.largest_step = std::max(minimum(largest_step), 0.0);
  sums.clipped = any(clipped);
  return sums;
}

template <bool kBounded>
TFMINIMIZE_INLINE bool move_to(const Vectors& v, std::size_t d_column, double t) {
  const V8 step = broadcast(t);
  L8 moved = L8{};
  for_tiles<kBounded>(v, 0, num_tiles(v.n), [&](std::size_t k, const TileVectors& tile) {
    V8 x = load(v.start + k * kTile) + step * load(v.w.at(k, d_column));
    if constexpr (kBounded) x = clip(x, load(tile.lower), load(tile.upper));
    moved |= x != load(tile.x);
    store(tile.x, x);
  });
  return any(moved);
}

bool move(const Vectors& v, std::size_t d_column, double t) {
  return v.lower == nullptr ? move_to<false>(v, d_column, t) : move_to<true>(v, d_column, t);
}

template <bool kBounded>
TFMINIMIZE_INLINE TrialSums trial_sums(const Vectors& v, std::size_t d_column) {
  Sum slope;
  Sum gradient_sum;  // Only to see a gradient that is not finite where d is zero.
  V8 largest = V8{};
  for_chunks<kBounded>(
      v,
      [&](std::size_t t, const TileVectors& tile) {
        const V8 g = load(tile.g);
        slope.lanes += g * load(v.w.at(t, d_column));
        gradient_sum.lanes += g - g;
        V8 projected = g;
        if constexpr (kBounded) {
          const V8 x = load(tile.x);
          projected = g < 0 ? larger(x - load(tile.upper), g) : smaller(x - load(tile.lower), g);
        }
        largest = larger(largest, magnitude(projected));
      },
      [&] {
        slope.flush();
        gradient_sum.flush();
      });
  return {slope.total + gradient_sum.total, maximum(largest)};
}

TrialSums trial(const Vectors& v, std::size_t d_column) {
  return v.lower == nullptr ? trial_sums<false>(v, d_column) : trial_sums<true>(v, d_column);
}

void update(const Vectors& v, std::size_t s_column, double scale, std::size_t y_column, const Columns& columns,
            double* y_dots, double* g_dots, double* scratch) {
  ColumnSums y_sums(scratch, columns.count, y_dots);
  ColumnSums g_sums(scratch + columns.count * kTile, columns.count, g_dots);
  for_chunks<false>(
      v,
      [&](std::size_t t, const TileVectors& tile) {
        const V8 g = load(tile.g);
        const V8 y = g - load(v.start_gradient + t * kTile);
        store(v.w.at(t, y_column), y);
        if (scale != 1) store(v.w.at(t, s_column), broadcast(scale) * load(v.w.at(t, s_column)));
        const double* w = v.w.at(t, 0);
        for (std::size_t k = 0; k < columns.count; ++k) {
          const V8 column = load(w + static_cast<std::size_t>(columns.ids[k]) * kTile);
          y_sums.add(k, column, y);
          g_sums.add(k, column, g);
        }
      },
      [&] {
        y_sums.flush();
        g_sums.flush();
      });
}

CauchySums bounded_update(const Vectors& v, std::size_t s_column, double scale, std::size_t y_column,
                          const std::uint8_t* positions, std::uint8_t* new_positions, const Columns& columns,
                          double* y_dots, double* d_dots, double* scratch) {
  Sum squared_norm;
  Sum y_squared_norm;
  V8 first_breakpoint = broadcast(kInfinity);
  CauchySums sums;
  const bool stores_pair = y_column != kNoColumn;
  ColumnSums y_sums(scratch, stores_pair ? columns.count : 0, y_dots);
  ColumnSums d_sums(scratch + columns.count * kTile, columns.count, d_dots);
  for_chunks<true>(
      v,
      [&](std::size_t t, const TileVectors& tile) {
        const V8 x = load(tile.x);
        const V8 g = load(tile.g);
        const V8 lower = load(tile.lower);
        const V8 upper = load(tile.upper);
        const L8 fixed = lower == upper;
        const L8 at_lower = ~fixed & (x <= lower) & (g >= 0);
        const L8 at_upper = ~fixed & ~at_lower & (x >= upper) & (g <= 0);
        const L8 stays = fixed | at_lower | at_upper;
        const V8 d = stays ? V8{} : -g;
        const L8 new_position =
            (at_lower & lanes_of(kAtLower)) | (at_upper & lanes_of(kAtUpper)) | (fixed & lanes_of(kFixed));
        const B8 bytes = __builtin_convertvector(new_position, B8);
        std::memcpy(new_positions + t * kTile, &bytes, sizeof bytes);

        // t = (x - l)/g for g > 0, (x - u)/g for g < 0; infinite where there is no bound.
        const V8 room = d < 0 ? lower - x : upper - x;
        const L8 moves = d != 0;
        const V8 breakpoint = moves ? room / d : broadcast(kInfinity);
        first_breakpoint = smaller(first_breakpoint, breakpoint);
        sums.num_breakpoints += static_cast<std::size_t>(count(breakpoint < kInfinity));
        sums.num_moving += static_cast<std::size_t>(count(moves));
        squared_norm.lanes += d * d;

        const double* w = v.w.at(t, 0);
        const auto column = [&](std::size_t k) { return load(w + static_cast<std::size_t>(columns.ids[k]) * kTile); };
        const bool any_moves = any(moves);
        if (stores_pair) {
          const TilePositions position(positions + t * kTile);
          const V8 y = g - load(v.start_gradient + t * kTile);
          store(v.w.at(t, y_column), y);
          if (scale != 1) store(v.w.at(t, s_column), broadcast(scale) * load(v.w.at(t, s_column)));
          y_squared_norm.lanes += y * y;
          const V8 free_y = position.word() == 0 ? y : position.is(kFree) ? y : V8{};
          if (any(free_y != 0)) {
            if (any_moves) {
              for (std::size_t k = 0; k < columns.count; ++k) {
                const V8 c = column(k);
                y_sums.add(k, c, free_y);
                d_sums.add(k, c, d);
              }
              return;
            }
            for (std::size_t k = 0; k < columns.count; ++k) y_sums.add(k, column(k), free_y);
          }
        }
        if (any_moves) {
          for (std::size_t k = 0; k < columns.count; ++k) d_sums.add(k, column(k), d);
        }
      },
      [&] {
        squared_norm.flush();
        y_squared_norm.flush();
        y_sums.flush();
        d_sums.flush();
      });
  sums.squared_norm = squared_norm.total;
  sums.y_squared_norm = y_squared_norm.total;
  sums.first_breakpoint = minimum(first_breakpoint);
  return sums;
}

void gradient_dots(const Vectors& v, const Columns& columns, double* g_dots, double* scratch) {
  ColumnSums g_sums(scratch, columns.count, g_dots);
  for_chunks<false>(
      v,
      [&](std::size_t t, const TileVectors& tile) {
        const V8 g = load(tile.g);
        const double* w = v.w.at(t, 0);
        for (std::size_t k = 0; k < columns.count; ++k) {
          g_sums.add(k, load(w + static_cast<std::size_t>(columns.ids[k]) * kTile), g);
        }
      },
      [&] { g_sums.flush(); });
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {TFMINIMIZE_STRING(TFMINIMIZE_LEVEL),
                          direction,
                          bounded_direction,
                          move,
                          trial,
                          update,
                          bounded_update,
                          gradient_dots};

}  // namespace tfminimize::TFMINIMIZE_LEVEL
