// Compiled once for each level of x86-64 (see CMakeLists.txt), with TFMINIMIZE_LEVEL as the name of the level.
// Every level computes in eight lanes, without fused multiply-add, so the bits are the same. Do not call a function of
// another header that the compiler may leave out of line: the linker would keep one of them for all levels.

#include "solvers/kernels/kernels.h"

#include "solvers/kernels/blocks.h"
#include "solvers/kernels/lanes.h"

#define TFMINIMIZE_STRING_(x) #x
#define TFMINIMIZE_STRING(x) TFMINIMIZE_STRING_(x)

namespace tfminimize::solvers {
namespace {

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
  sums.max_step = kInfinity;
  return sums;
}

DirectionSums bounded_direction(const Vectors& v, const double* from, const std::uint8_t* positions, double cauchy_step,
                                const Combination& step, std::size_t d_column, const Columns& dot_columns,
                                double* free_dots, double* active_dots, double* scratch) {
  Sum slope;
  Sum squared_norm;
  V8 max_step = broadcast(kInfinity);
  M8 clipped = {};
  clear(free_dots, dot_columns.count);
  clear(active_dots, dot_columns.count);
  ColumnSums<1> free_sums(v.w, dot_columns, scratch);
  ColumnSums<1> active_sums(v.w, dot_columns, scratch + dot_columns.count * kTile);
  const bool x_has_moved = from != v.x;
  BlockVector free_d;
  BlockVector active_d;
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
              // The Cauchy point and the step from it are added one after the other, because the projection needs both.
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
                store(active_d.at(t - begin), zero());
              } else {
                const std::uint8_t* at = positions + t * kTile;
                const M8 free = lanes_at(at, kFree);
                any_free = any_free || any(free);
                meets = meets & free;
                z = select(free, z, select(lanes_at(at, kAtLower), lower, select(lanes_at(at, kAtUpper), upper, x)));
                d = z - x;
                store(free_d.at(t - begin), select(free, d, zero()));
                const V8 other = select(free, zero(), d);
                store(active_d.at(t - begin), other);
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
              max_step = smaller(max_step, select(d != zero(), room / d, broadcast(kInfinity)));
            });
        if (any_free) free_sums.add(begin, end, {&free_d});
        if (any(others_move)) active_sums.add(begin, end, {&active_d});
      },
      [&] {
        slope.flush();
        squared_norm.flush();
        free_sums.flush({free_dots});
        active_sums.flush({active_dots});
      });
  DirectionSums sums;
  sums.slope = slope.total;
  sums.squared_norm = squared_norm.total;
  const double largest = minimum(max_step);
  sums.max_step = largest > 0 ? largest : 0;
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
  Sum gradient_sum;  // Shows a gradient that is not finite where d is zero.
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

/// Writes y = g - start_gradient to its column, and scales s. Returns y.
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

              // t = (x - l)/g for g > 0, (x - u)/g for g < 0; infinite without a bound.
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
