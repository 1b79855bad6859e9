// Compiled once for each level of x86-64 (see CMakeLists.txt), with TFMINIMIZE_LEVEL as the name of the level.
// The arithmetic is that of eight lanes at every level, without fused multiply-add, so the bits are the same. No
// function of another header is called that the compiler could leave out of line: the linker would keep one for all
// levels.

#include "solvers/kernels/kernels.h"

#include "solvers/kernels/lanes.h"

#define TFMINIMIZE_STRING_(x) #x
#define TFMINIMIZE_STRING(x) TFMINIMIZE_STRING_(x)

namespace tfminimize::solvers {
namespace {

constexpr double kInfinity = __builtin_inf();

// Tiles that are worked on together: what they have of W (2m + 1 lines each) stays in the first cache meanwhile.
constexpr std::size_t kBlock = 16;
// Blocks summed up in one accumulator before the partial sum is added to the total: the error of a sum grows with the
// length of a chunk and the number of chunks, not with n.
constexpr std::size_t kChunk = 128;
// Columns whose sums are kept in registers together.
constexpr std::size_t kColumnGroup = kParts == 1 ? 4 : kParts == 2 ? 2 : 1;
// How many tiles ahead of its use a line is asked for, where the work on a tile begins.
constexpr std::size_t kAhead = 4;

TFMINIMIZE_INLINE std::size_t least(std::size_t a, std::size_t b) { return b < a ? b : a; }
TFMINIMIZE_INLINE void copy(const double* from, std::size_t size, double* to) {
  for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
}

/// One block of a vector.
struct alignas(64) BlockVector {
  double values[kBlock * kTile];

  TFMINIMIZE_INLINE double* at(std::size_t tile) { return values + tile * kTile; }
  TFMINIMIZE_INLINE const double* at(std::size_t tile) const { return values + tile * kTile; }
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
  const std::size_t full = least(end, v.n / kTile);
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
  copy(v.x + i, rest, x);
  copy(v.gradient + i, rest, g);
  if constexpr (kBounded) {
    store(lower, broadcast(-kInfinity));
    store(upper, broadcast(kInfinity));
    copy(v.lower + i, rest, lower);
    copy(v.upper + i, rest, upper);
  }
  body(full, TileVectors{x, g, lower, upper});
  copy(x, rest, v.x + i);
}

/// Calls block(begin, end) for blocks of tiles, and flush() after every chunk of them.
template <typename Block, typename Flush>
TFMINIMIZE_INLINE void for_blocks(const Vectors& v, const Block& block, const Flush& flush) {
  const std::size_t tiles = num_tiles(v.n);
  std::size_t in_chunk = 0;
  for (std::size_t begin = 0; begin < tiles; begin += kBlock) {
    block(begin, least(begin + kBlock, tiles));
    if (++in_chunk == kChunk) {
      flush();
      in_chunk = 0;
    }
  }
  if (in_chunk > 0) flush();
}

/// A sum over n: lanes within a chunk, chunks one after the other.
struct Sum {
  V8 lanes = zero();
  double total = 0;

  TFMINIMIZE_INLINE void add(const V8& value) { lanes = lanes + value; }
  TFMINIMIZE_INLINE void flush() {
    total += sum(lanes);
    lanes = zero();
  }
};

/// Sums of W[:, columns]ᵀa for one vector a or two, one after the other in memory.
template <std::size_t kVectors>
class ColumnSums {
 public:
  TFMINIMIZE_INLINE ColumnSums(const Tiles& w, const Columns& columns, double* scratch)
      : w_(w), columns_(columns), lanes_(scratch) {
    for (std::size_t k = 0; k < kVectors * columns.count; ++k) store(lanes_ + k * kTile, zero());
  }

  TFMINIMIZE_INLINE void add(std::size_t begin, std::size_t end, const BlockVector* const (&vectors)[kVectors]) {
    std::size_t k = 0;
    for (; k + kColumnGroup <= columns_.count; k += kColumnGroup) add_group<kColumnGroup>(k, begin, end, vectors);
    for (; k < columns_.count; ++k) add_group<1>(k, begin, end, vectors);
  }
  /// Adds the sums of the chunk to totals[vector][column] and begins a new one.
  TFMINIMIZE_INLINE void flush(double* const (&totals)[kVectors]) {
    for (std::size_t a = 0; a < kVectors; ++a) {
      for (std::size_t k = 0; k < columns_.count; ++k) {
        totals[a][k] += sum(load(lane(a, k)));
        store(lane(a, k), zero());
      }
    }
  }

 private:
  TFMINIMIZE_INLINE double* lane(std::size_t vector, std::size_t column) {
    return lanes_ + (vector * columns_.count + column) * kTile;
  }
  template <std::size_t kGroup>
  TFMINIMIZE_INLINE void add_group(std::size_t k, std::size_t begin, std::size_t end,
                                   const BlockVector* const (&vectors)[kVectors]) {
    V8 sums[kVectors][kGroup];
    const double* w[kGroup];
    for (std::size_t j = 0; j < kGroup; ++j) {
      w[j] = w_.at(begin, static_cast<std::size_t>(columns_.ids[k + j]));
      for (std::size_t a = 0; a < kVectors; ++a) sums[a][j] = load(lane(a, k + j));
    }
    const std::size_t stride = w_.columns * kTile;
    for (std::size_t t = 0; t < end - begin; ++t) {
      for (std::size_t j = 0; j < kGroup; ++j) {
        const V8 column = load(w[j] + t * stride);
        __builtin_prefetch(w[j] + (t + kBlock) * stride, 0, 2);
        for (std::size_t a = 0; a < kVectors; ++a) sums[a][j] = sums[a][j] + column * load(vectors[a]->at(t));
      }
    }
    for (std::size_t j = 0; j < kGroup; ++j) {
      for (std::size_t a = 0; a < kVectors; ++a) store(lane(a, k + j), sums[a][j]);
    }
  }

  const Tiles w_;
  const Columns columns_;
  double* const lanes_;
};

void clear(double* totals, std::size_t count) {
  for (std::size_t k = 0; k < count; ++k) totals[k] = 0;
}

/// Asks for a tile that will be used soon.
TFMINIMIZE_INLINE void prefetch(const Tiles& w, std::size_t tile) {
  const double* line = w.at(tile, 0);
  for (std::size_t c = 0; c < w.columns; ++c) __builtin_prefetch(line + c * kTile, 0, 2);
}

TFMINIMIZE_INLINE V8 combine(const Vectors& v, std::size_t tile, const V8& g, const Combination& step) {
  // Two chains, so that one multiplication need not wait for the other's addition.
  V8 even = broadcast(step.g_coefficient) * g;
  V8 odd = zero();
  const double* w = v.w.at(tile, 0);
  std::size_t k = 0;
  for (; k + 1 < step.columns.count; k += 2) {
    even = even + broadcast(step.coefficients[k]) * load(w + static_cast<std::size_t>(step.columns.ids[k]) * kTile);
    odd =
        odd + broadcast(step.coefficients[k + 1]) * load(w + static_cast<std::size_t>(step.columns.ids[k + 1]) * kTile);
  }
  if (k < step.columns.count) {
    even = even + broadcast(step.coefficients[k]) * load(w + static_cast<std::size_t>(step.columns.ids[k]) * kTile);
  }
  return even + odd;
}

DirectionSums direction(const Vectors& v, const Combination& step, std::size_t d_column) {
  Sum slope;
  Sum squared_norm;
  for_blocks(
      v,
      [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
        for_tiles<false>(
            v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              if (step.columns.count > 0) prefetch(v.w, t + kAhead);
              const V8 x = load(tile.x);
              const V8 g = load(tile.g);
              const V8 z = x + combine(v, t, g, step);
              const V8 d = z - x;
              store(v.start + t * kTile, x);
              store(v.start_gradient + t * kTile, g);
              store(v.w.at(t, d_column), d);
              store(tile.x, z);
              slope.add(g * d);
              squared_norm.add(d * d);
            });
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
  M8 clipped = {};
  clear(free_dots, dot_columns.count);
  clear(other_dots, dot_columns.count);
  ColumnSums<1> free_sums(v.w, dot_columns, scratch);
  ColumnSums<1> other_sums(v.w, dot_columns, scratch + dot_columns.count * kTile);
  const bool x_has_moved = from != v.x;
  BlockVector free_d;
  BlockVector other_d;
  for_blocks(
      v,
      [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
        bool any_free = false;
        M8 others_move = {};
        for_tiles<true>(
            v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              if (dot_columns.count > 1) prefetch(v.w, t + kAhead);
              const V8 x = x_has_moved ? load(from + t * kTile) : load(tile.x);
              const V8 g = load(tile.g);
              const V8 lower = load(tile.lower);
              const V8 upper = load(tile.upper);
              // The Cauchy point and the step from it are added one after the other, as the projection needs both.
              const V8 target = (x - broadcast(cauchy_step) * g) + combine(v, t, g, step);
              V8 z = clip(target, lower, upper);
              M8 meets = (z <= lower) | (upper <= z);
              std::uint64_t word;
              __builtin_memcpy(&word, positions + t * kTile, sizeof word);
              const bool all_free = word == 0;
              V8 d = z - x;
              if (all_free) {
                any_free = true;
                store(free_d.at(t - begin), d);
                store(other_d.at(t - begin), zero());
              } else {
                const std::uint8_t* at = positions + t * kTile;
                const M8 free = lanes_at(at, kFree);
                any_free = any_free || any(free);
                meets = meets & free;
                z = select(free, z, select(lanes_at(at, kAtLower), lower, select(lanes_at(at, kAtUpper), upper, x)));
                d = z - x;
                store(free_d.at(t - begin), select(free, d, zero()));
                const V8 other = select(free, zero(), d);
                store(other_d.at(t - begin), other);
                others_move = others_move | (other != zero());
              }
              clipped = clipped | meets;
              store(v.start + t * kTile, x);
              store(v.start_gradient + t * kTile, g);
              store(v.w.at(t, d_column), d);
              store(tile.x, z);
              slope.add(g * d);
              squared_norm.add(d * d);
              const V8 room = select(d < zero(), lower - x, upper - x);
              largest_step = smaller(largest_step, select(d != zero(), room / d, broadcast(kInfinity)));
            });
        if (any_free) free_sums.add(begin, end, {&free_d});
        if (any(others_move)) other_sums.add(begin, end, {&other_d});
      },
      [&] {
        slope.flush();
        squared_norm.flush();
        free_sums.flush({free_dots});
        other_sums.flush({other_dots});
      });
  DirectionSums sums;
  sums.slope = slope.total;
  sums.squared_norm = squared_norm.total;
  const double largest = minimum(largest_step);
  sums.largest_step = largest > 0 ? largest : 0;
  sums.clipped = any(clipped);
  return sums;
}

template <bool kBounded>
TFMINIMIZE_INLINE bool move_to(const Vectors& v, std::size_t d_column, double t) {
  const V8 step = broadcast(t);
  M8 moved = {};
  for_tiles<kBounded>(
      v, 0, num_tiles(v.n), [&](std::size_t k, const TileVectors& tile) __attribute__((always_inline)) {
        V8 x = load(v.start + k * kTile) + step * load(v.w.at(k, d_column));
        if constexpr (kBounded) x = clip(x, load(tile.lower), load(tile.upper));
        moved = moved | (x != load(tile.x));
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
  V8 largest = zero();
  for_blocks(
      v,
      [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
        for_tiles<kBounded>(
            v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              const V8 g = load(tile.g);
              __builtin_prefetch(v.w.at(t + 8, d_column), 0, 2);
              slope.add(g * load(v.w.at(t, d_column)));
              gradient_sum.add(g - g);
              V8 projected = g;
              if constexpr (kBounded) {
                const V8 x = load(tile.x);
                projected = select(g < zero(), larger(x - load(tile.upper), g), smaller(x - load(tile.lower), g));
              }
              largest = larger(largest, magnitude(projected));
            });
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

/// y = g - start_gradient into its column, and s to its length; returns y.
TFMINIMIZE_INLINE V8 store_pair(const Vectors& v, std::size_t t, const V8& g, std::size_t s_column, double scale,
                                std::size_t y_column) {
  const V8 y = g - load(v.start_gradient + t * kTile);
  store(v.w.at(t, y_column), y);
  if (scale != 1) store(v.w.at(t, s_column), broadcast(scale) * load(v.w.at(t, s_column)));
  return y;
}

void update(const Vectors& v, std::size_t s_column, double scale, std::size_t y_column, const Columns& columns,
            double* y_dots, double* g_dots, double* scratch) {
  clear(y_dots, columns.count);
  clear(g_dots, columns.count);
  ColumnSums<2> sums(v.w, columns, scratch);
  BlockVector block_y;
  BlockVector block_g;
  for_blocks(
      v,
      [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
        for_tiles<false>(
            v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              const V8 g = load(tile.g);
              store(block_g.at(t - begin), g);
              store(block_y.at(t - begin), store_pair(v, t, g, s_column, scale, y_column));
            });
        sums.add(begin, end, {&block_y, &block_g});
      },
      [&] {
        sums.flush({y_dots, g_dots});
      });
}

CauchySums bounded_update(const Vectors& v, std::size_t s_column, double scale, std::size_t y_column,
                          const std::uint8_t* positions, std::uint8_t* new_positions, const Columns& columns,
                          double* y_dots, double* d_dots, double* scratch) {
  Sum squared_norm;
  Sum y_squared_norm;
  V8 first_breakpoint = broadcast(kInfinity);
  M8 num_breakpoints = {};
  M8 num_moving = {};
  const bool stores_pair = y_column != kNoColumn;
  clear(y_dots, columns.count);
  clear(d_dots, columns.count);
  ColumnSums<2> sums(v.w, columns, scratch);
  BlockVector free_y;
  BlockVector block_d;
  for_blocks(
      v,
      [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
        M8 used = {};
        for_tiles<true>(
            v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              const V8 x = load(tile.x);
              const V8 g = load(tile.g);
              const V8 lower = load(tile.lower);
              const V8 upper = load(tile.upper);
              const M8 fixed = lower == upper;
              const M8 at_lower = but_not((x <= lower) & (zero() <= g), fixed);
              const M8 at_upper = but_not((upper <= x) & (g <= zero()), fixed | at_lower);
              store_positions(new_positions + t * kTile, at_lower, at_upper, fixed);
              const V8 d = select(fixed | at_lower | at_upper, zero(), negative(g));
              store(block_d.at(t - begin), d);
              squared_norm.add(d * d);

              // t = (x - l)/g for g > 0, (x - u)/g for g < 0; infinite where there is no bound.
              const M8 moves = d != zero();
              const V8 room = select(d < zero(), lower - x, upper - x);
              const V8 breakpoint = select(moves, room / d, broadcast(kInfinity));
              first_breakpoint = smaller(first_breakpoint, breakpoint);
              num_breakpoints = plus_count(num_breakpoints, breakpoint < broadcast(kInfinity));
              num_moving = plus_count(num_moving, moves);

              V8 y = zero();
              if (stores_pair) {
                y = store_pair(v, t, g, s_column, scale, y_column);
                y_squared_norm.add(y * y);
                std::uint64_t word;
                __builtin_memcpy(&word, positions + t * kTile, sizeof word);
                if (word != 0) y = select(lanes_at(positions + t * kTile, kFree), y, zero());
              }
              store(free_y.at(t - begin), y);
              used = used | moves | (y != zero());
            });
        if (any(used)) sums.add(begin, end, {&free_y, &block_d});
      },
      [&] {
        squared_norm.flush();
        y_squared_norm.flush();
        sums.flush({y_dots, d_dots});
      });
  CauchySums result;
  result.squared_norm = squared_norm.total;
  result.y_squared_norm = y_squared_norm.total;
  result.first_breakpoint = minimum(first_breakpoint);
  result.num_breakpoints = total_count(num_breakpoints);
  result.num_moving = total_count(num_moving);
  return result;
}

void gradient_dots(const Vectors& v, const Columns& columns, double* g_dots, double* scratch) {
  clear(g_dots, columns.count);
  ColumnSums<1> sums(v.w, columns, scratch);
  BlockVector block_g;
  for_blocks(
      v,
      [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
        for_tiles<false>(
            v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              store(block_g.at(t - begin), load(tile.g));
            });
        sums.add(begin, end, {&block_g});
      },
      [&] { sums.flush({g_dots}); });
}

}  // namespace

namespace TFMINIMIZE_LEVEL {
extern const Kernels kKernels;
const Kernels kKernels = {TFMINIMIZE_STRING(TFMINIMIZE_LEVEL),
                          direction,
                          bounded_direction,
                          move,
                          trial,
                          update,
                          bounded_update,
                          gradient_dots};
}  // namespace TFMINIMIZE_LEVEL

}  // namespace tfminimize::solvers
