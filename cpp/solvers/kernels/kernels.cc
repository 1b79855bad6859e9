// Compiled once for each level of the processor (see cmake/Targets.cmake), with TFMINIMIZE_LEVEL as the level's name.
// Every level computes in eight lanes, without fused multiply-add, so the bits are the same. Do not call a function of
// another header that the compiler may leave out of line: the linker would keep one of them for all levels.

#include "solvers/kernels/kernels.h"

#include "solvers/kernels/blocks.h"
#include "solvers/kernels/lanes.h"

#define TFMINIMIZE_STRING_(x) #x
#define TFMINIMIZE_STRING(x) TFMINIMIZE_STRING_(x)

namespace tfminimize::solvers {
namespace {

template <typename Element>
DirectionSums direction(const Vectors& vectors, const Combination& step, std::size_t d_column) {
  return over_chunks<DirectionSums>(
      vectors, 0, [&](const Vectors& v, const TileRange& tiles, double* /*lines*/) __attribute__((always_inline)) {
        const TilesOf<Element> w(v.w);
        V8 slope = zero();
        V8 squared_norm = zero();
        for_tiles<false>(
            v, tiles.begin, tiles.end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              if (step.columns.count > 0) w.prefetch(t + kAhead);
              const V8 x = load(tile.x);
              const V8 g = load(tile.g);
              const V8 z = x + combine(w, t, g, step);
              const V8 d = rounded<Element>(z - x);
              store(v.start + t * kTile, x);
              store(v.start_gradient + t * kTile, g);
              store(w.at(t, d_column), d);
              store(tile.x, z);
              slope = slope + g * d;
              squared_norm = squared_norm + d * d;
            });
        DirectionSums sums;
        sums.slope = sum(slope);
        sums.squared_norm = sum(squared_norm);
        return sums;
      });
}

template <typename Element>
DirectionSums bounded_direction(const Vectors& vectors, const double* from, const std::uint8_t* positions,
                                double cauchy_step, const Combination& step, std::size_t d_column,
                                const Columns& dot_columns, double* free_dots, double* active_dots) {
  const bool x_has_moved = from != vectors.x;
  const std::size_t lines = 2 * dot_columns.count;
  const auto chunk = [&](const Vectors& v, const TileRange& tiles, double* lanes) __attribute__((always_inline)) {
    const TilesOf<Element> w(v.w);
    const bool prefetches = streams(v) && dot_columns.count > 1;
    V8 slope = zero();
    V8 squared_norm = zero();
    V8 max_step = broadcast(kInfinity);
    M8 clipped = {};
    ColumnSums<Element, 1> free_sums(v, dot_columns, lanes);
    ColumnSums<Element, 1> active_sums(v, dot_columns, lanes + dot_columns.count * kTile);
    BlockVector free_d;
    BlockVector active_d;
    for_blocks(
        v, tiles, [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
          bool any_free = false;
          M8 others_move = {};
          for_tiles<true>(
              v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
                if (prefetches) w.prefetch(t + kAhead);
                const V8 x = x_has_moved ? load(from + t * kTile) : load(tile.x);
                const V8 g = load(tile.g);
                const V8 lower = load(tile.lower);
                const V8 upper = load(tile.upper);
                // The Cauchy point and the step from it are added one after the other, because the projection needs
                // both.
                const V8 target = (x - broadcast(cauchy_step) * g) + combine(w, t, g, step);
                V8 z = clip(target, lower, upper);
                M8 meets = (z <= lower) | (upper <= z);
                std::uint64_t word;
                __builtin_memcpy(&word, positions + t * kTile, sizeof word);
                const bool all_free = word == 0;
                V8 d = rounded<Element>(z - x);
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
                  d = rounded<Element>(z - x);
                  store(free_d.at(t - begin), select(free, d, zero()));
                  const V8 other = select(free, zero(), d);
                  store(active_d.at(t - begin), other);
                  others_move = others_move | (other != zero());
                }
                clipped = clipped | meets;
                store(v.start + t * kTile, x);
                store(v.start_gradient + t * kTile, g);
                store(w.at(t, d_column), d);
                store(tile.x, z);
                slope = slope + g * d;
                squared_norm = squared_norm + d * d;
                const V8 room = select(d < zero(), lower - x, upper - x);
                max_step = smaller(max_step, select(d != zero(), room / d, broadcast(kInfinity)));
              });
          if (any_free) free_sums.add(begin, end, {&free_d});
          if (any(others_move)) active_sums.add(begin, end, {&active_d});
        });
    return DirectionSums{sum(slope), sum(squared_norm), minimum(max_step), any(clipped)};
  };
  auto sums = over_chunks<DirectionSums>(vectors, lines, chunk);
  if (!(sums.max_step > 0)) sums.max_step = 0;
  sum_lines(vectors, lines, 0, dot_columns.count, free_dots);
  sum_lines(vectors, lines, dot_columns.count, dot_columns.count, active_dots);
  return sums;
}

template <typename Element, bool kBounded>
TFMINIMIZE_INLINE bool move_to(const Vectors& vectors, std::size_t d_column, double t) {
  const V8 step = broadcast(t);
  return over_chunks<bool>(
      vectors, 0, [&](const Vectors& v, const TileRange& tiles, double* /*lines*/) __attribute__((always_inline)) {
        const TilesOf<Element> w(v.w);
        M8 moved = {};
        for_tiles<kBounded>(
            v, tiles.begin, tiles.end, [&](std::size_t k, const TileVectors& tile) __attribute__((always_inline)) {
              V8 x = load(v.start + k * kTile) + step * load(w.at(k, d_column));
              if constexpr (kBounded) x = clip(x, load(tile.lower), load(tile.upper));
              moved = moved | (x != load(tile.x));
              store(tile.x, x);
            });
        return any(moved);
      });
}

template <typename Element>
bool move(const Vectors& v, std::size_t d_column, double t) {
  return v.lower == nullptr ? move_to<Element, false>(v, d_column, t) : move_to<Element, true>(v, d_column, t);
}

template <typename Element, bool kBounded>
TFMINIMIZE_INLINE TrialSums trial_sums(const Vectors& vectors, std::size_t d_column) {
  return over_chunks<TrialSums>(
      vectors, 0, [&](const Vectors& v, const TileRange& tiles, double* /*lines*/) __attribute__((always_inline)) {
        const TilesOf<Element> w(v.w);
        V8 slope = zero();
        V8 gradient_sum = zero();  // Shows a gradient that is not finite where d is zero.
        V8 largest = zero();
        for_tiles<kBounded>(
            v, tiles.begin, tiles.end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
              const V8 g = load(tile.g);
              __builtin_prefetch(w.at(t + 8, d_column), 0, 2);
              slope = slope + g * load(w.at(t, d_column));
              gradient_sum = gradient_sum + (g - g);
              V8 projected = g;
              if constexpr (kBounded) {
                const V8 x = load(tile.x);
                projected = select(g < zero(), larger(x - load(tile.upper), g), smaller(x - load(tile.lower), g));
              }
              largest = larger(largest, magnitude(projected));
            });
        return TrialSums{sum(slope) + sum(gradient_sum), maximum(largest)};
      });
}

template <typename Element>
TrialSums trial(const Vectors& v, std::size_t d_column) {
  return v.lower == nullptr ? trial_sums<Element, false>(v, d_column) : trial_sums<Element, true>(v, d_column);
}

/// Writes y = g - start_gradient to its column, and scales s. Returns y as it is stored.
template <typename Element>
TFMINIMIZE_INLINE V8 store_pair(const Vectors& v, const TilesOf<Element>& w, std::size_t t, const V8& g,
                                std::size_t s_column, double scale, std::size_t y_column) {
  const V8 y = rounded<Element>(g - load(v.start_gradient + t * kTile));
  store(w.at(t, y_column), y);
  if (scale != 1) {
    store(w.at(t, s_column), rounded<Element>(broadcast(scale) * load(w.at(t, s_column))));
  }
  return y;
}

template <typename Element>
void update(const Vectors& vectors, std::size_t s_column, double scale, std::size_t y_column, const Columns& columns,
            double* y_dots, double* g_dots) {
  const std::size_t lines = 2 * columns.count;
  over_chunks<Nothing>(
      vectors, lines, [&](const Vectors& v, const TileRange& tiles, double* lanes) __attribute__((always_inline)) {
        const TilesOf<Element> w(v.w);
        ColumnSums<Element, 2> sums(v, columns, lanes);
        BlockVector block_y;
        BlockVector block_g;
        for_blocks(
            v, tiles, [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
              for_tiles<false>(
                  v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
                    const V8 g = load(tile.g);
                    store(block_g.at(t - begin), g);
                    store(block_y.at(t - begin), store_pair(v, w, t, g, s_column, scale, y_column));
                  });
              sums.add(begin, end, {&block_y, &block_g});
            });
        return Nothing();
      });
  sum_lines(vectors, lines, 0, columns.count, y_dots);
  sum_lines(vectors, lines, columns.count, columns.count, g_dots);
}

template <typename Element>
CauchySums bounded_update(const Vectors& vectors, std::size_t s_column, double scale, std::size_t y_column,
                          const std::uint8_t* positions, std::uint8_t* new_positions, const Columns& columns,
                          double* y_dots, double* d_dots) {
  const bool stores_pair = y_column != kNoColumn;
  const std::size_t lines = 2 * columns.count;
  const auto chunk = [&](const Vectors& v, const TileRange& tiles, double* lanes) __attribute__((always_inline)) {
    const TilesOf<Element> w(v.w);
    V8 squared_norm = zero();
    V8 y_squared_norm = zero();
    V8 first_breakpoint = broadcast(kInfinity);
    M8 num_breakpoints = {};
    M8 num_moving = {};
    ColumnSums<Element, 2> sums(v, columns, lanes);
    BlockVector free_y;
    BlockVector block_d;
    for_blocks(
        v, tiles, [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
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
                squared_norm = squared_norm + d * d;

                // t = (x - l)/g for g > 0, (x - u)/g for g < 0; infinite without a bound.
                const M8 moves = d != zero();
                const V8 room = select(d < zero(), lower - x, upper - x);
                const V8 breakpoint = select(moves, room / d, broadcast(kInfinity));
                first_breakpoint = smaller(first_breakpoint, breakpoint);
                num_breakpoints = plus_count(num_breakpoints, breakpoint < broadcast(kInfinity));
                num_moving = plus_count(num_moving, moves);

                V8 y = zero();
                if (stores_pair) {
                  y = store_pair(v, w, t, g, s_column, scale, y_column);
                  y_squared_norm = y_squared_norm + y * y;
                  std::uint64_t word;
                  __builtin_memcpy(&word, positions + t * kTile, sizeof word);
                  if (word != 0) y = select(lanes_at(positions + t * kTile, kFree), y, zero());
                }
                store(free_y.at(t - begin), y);
                used = used | moves | (y != zero());
              });
          if (any(used)) sums.add(begin, end, {&free_y, &block_d});
        });
    return CauchySums{sum(squared_norm), sum(y_squared_norm), minimum(first_breakpoint), total_count(num_breakpoints),
                      total_count(num_moving)};
  };
  const auto result = over_chunks<CauchySums>(vectors, lines, chunk);
  sum_lines(vectors, lines, 0, columns.count, y_dots);
  sum_lines(vectors, lines, columns.count, columns.count, d_dots);
  return result;
}

std::size_t breakpoints(const Vectors& vectors, const std::uint8_t* positions, double after, double limit,
                        Breakpoint* found) {
  constexpr std::size_t kRows = kChunk * kTile;
  // Each chunk has the part of `found` that its own variables could fill.
  const auto chunk = [&](const Vectors& v, const TileRange& tiles, double* /*lines*/) __attribute__((always_inline)) {
    Breakpoint* const begin = found + tiles.begin * kTile;
    Breakpoint* end = begin;
    for_tiles<true>(
        v, tiles.begin, tiles.end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
          const V8 x = load(tile.x);
          const V8 d = negative(load(tile.g));
          const V8 at = select(d < zero(), load(tile.lower) - x, load(tile.upper) - x) / d;
          M8 meets = (d != zero()) & (broadcast(after) < at) & (at <= broadcast(limit));
          if (!any(meets)) return;
          meets = meets & lanes_at(positions + t * kTile, kFree);
          double lanes[kTile];
          double is_met[kTile];
          store(lanes, at);
          store(is_met, select(meets, broadcast(1), zero()));
          for (std::size_t k = 0; k < kTile; ++k) {
            if (is_met[k] != 0) *end++ = {lanes[k], t * kTile + k};
          }
        });
    return static_cast<std::size_t>(end - begin);
  };
  const auto total = over_chunks<std::size_t>(vectors, 0, chunk);
  std::size_t count = 0;
  for (std::size_t i = 0; count < total; ++i) {
    const std::size_t size = num_chunks(vectors.n) == 1 ? total : result_of_chunk<std::size_t>(vectors, 0, i);
    for (std::size_t k = 0; k < size; ++k) found[count++] = found[i * kRows + k];
  }
  return total;
}

template <typename Element>
Truncation truncate(const Vectors& vectors, const std::uint8_t* positions, double cauchy_step, const Combination& step,
                    std::size_t d_column) {
  const auto chunk = [&](const Vectors& v, const TileRange& tiles, double* /*lines*/) __attribute__((always_inline)) {
    const TilesOf<Element> w(v.w);
    Truncation shortest;
    for_tiles<true>(
        v, tiles.begin, tiles.end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
          w.prefetch(t + kAhead);
          const V8 g = load(tile.g);
          V8 d = broadcast(step.g_coefficient) * g;
          for (std::size_t k = 0; k < step.columns.count; ++k) {
            d = d + broadcast(step.coefficients[k]) * load(w.at(t, static_cast<std::size_t>(step.columns.ids[k])));
          }
          d = select(lanes_at(positions + t * kTile, kFree), d, zero());
          store(w.at(t, d_column), rounded<Element>(d));
          const V8 from = load(v.start + t * kTile) - broadcast(cauchy_step) * g;
          const M8 falls = d < zero();
          const V8 room = select(falls, load(tile.lower), load(tile.upper)) - from;
          // Rounding may put the Cauchy point outside of the bounds.
          const M8 is_outside = (falls & (zero() <= room)) | but_not(room <= zero(), falls);
          const V8 ratio = select(is_outside, zero(), room / d);
          if (!any((d != zero()) & (ratio < broadcast(shortest.ratio)))) return;
          double ratios[kTile];
          double ds[kTile];
          store(ratios, ratio);
          store(ds, d);
          for (std::size_t k = 0; k < kTile; ++k) {
            if (ds[k] != 0 && ratios[k] < shortest.ratio) shortest = {ratios[k], t * kTile + k, ds[k]};
          }
        });
    return shortest;
  };
  return over_chunks<Truncation>(vectors, 0, chunk);
}

template <typename Element>
void gradient_dots(const Vectors& vectors, const Columns& columns, double* g_dots) {
  over_chunks<Nothing>(
      vectors,
      columns.count, [&](const Vectors& v, const TileRange& tiles, double* lanes) __attribute__((always_inline)) {
        const TilesOf<Element> w(v.w);
        ColumnSums<Element, 1> sums(v, columns, lanes);
        BlockVector block_g;
        for_blocks(
            v, tiles, [&](std::size_t begin, std::size_t end) __attribute__((always_inline)) {
              for_tiles<false>(
                  v, begin, end, [&](std::size_t t, const TileVectors& tile) __attribute__((always_inline)) {
                    store(block_g.at(t - begin), load(tile.g));
                  });
              sums.add(begin, end, {&block_g});
            });
        return Nothing();
      });
  sum_lines(vectors, columns.count, 0, columns.count, g_dots);
}

template <typename Element>
constexpr Kernels kernels_of() {
  return {TFMINIMIZE_STRING(TFMINIMIZE_LEVEL),
          direction<Element>,
          bounded_direction<Element>,
          move<Element>,
          trial<Element>,
          update<Element>,
          bounded_update<Element>,
          breakpoints,
          truncate<Element>,
          gradient_dots<Element>};
}

}  // namespace

namespace TFMINIMIZE_LEVEL {
extern const StoredKernels kKernels;
const StoredKernels kKernels = {kernels_of<double>(), kernels_of<float>()};
}  // namespace TFMINIMIZE_LEVEL

}  // namespace tfminimize::solvers
