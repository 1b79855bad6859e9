#ifndef TFMINIMIZE_SOLVERS_KERNELS_BLOCKS_H_
#define TFMINIMIZE_SOLVERS_KERNELS_BLOCKS_H_

// Passes over tiles in blocks and chunks, and sums over n. Internal to the file that includes it, as lanes.h is.

#include <cstddef>

#include "solvers/kernels/kernels.h"
#include "solvers/kernels/lanes.h"
#include "solvers/threads.h"

namespace tfminimize::solvers {
namespace {  // NOLINT(google-build-namespaces): see lanes.h

constexpr double kInfinity = __builtin_inf();

// A pass works on this many tiles together: their part of W (2m + 1 lines each) stays in the first cache meanwhile.
constexpr std::size_t kBlock = 16;
// The same for a W that comes from memory. There it counts that lines are read nearly in their order.
constexpr std::size_t kStreamBlock = 4;
// How far ahead of its use, in tiles, a line of such a W is prefetched by ColumnSums.
constexpr std::size_t kStreamAhead = 8;
// This many columns keep their sums in registers together.
constexpr std::size_t kColumnGroup = kParts == 1 ? 4 : kParts == 2 ? 2 : 1;
// The work on a tile begins by prefetching the one this far ahead.
constexpr std::size_t kAhead = 4;

TFMINIMIZE_INLINE std::size_t least(std::size_t a, std::size_t b) { return b < a ? b : a; }
TFMINIMIZE_INLINE void copy(const double* from, std::size_t size, double* to) {
  for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
}

/// The elements of a tile matrix.
template <typename Element>
struct TilesOf {
  explicit TilesOf(const Tiles& tiles) : data(static_cast<Element*>(tiles.data)), columns(tiles.columns) {}

  TFMINIMIZE_INLINE Element* at(std::size_t tile, std::size_t column) const {
    return data + (tile * columns + column) * kTile;
  }
  TFMINIMIZE_INLINE void prefetch(std::size_t tile) const {
    constexpr std::size_t kLine = 64 / sizeof(Element);
    const Element* begin = at(tile, 0);
    for (std::size_t i = 0; i < columns * kTile; i += kLine) __builtin_prefetch(begin + i, 0, 2);
  }

  Element* data;
  std::size_t columns;
};

/// One block of a vector.
struct alignas(64) BlockVector {
  double values[kBlock * kTile];

  TFMINIMIZE_INLINE double* at(std::size_t tile) { return values + tile * kTile; }
  TFMINIMIZE_INLINE const double* at(std::size_t tile) const { return values + tile * kTile; }
};

/// The vectors of the caller at one tile. If the last tile is not full, they are padded copies.
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

/// Some consecutive tiles.
struct TileRange {
  std::size_t begin;
  std::size_t end;
};

/// Whether W is taken to come from memory, not from a cache.
TFMINIMIZE_INLINE bool streams(const Vectors& v) { return num_chunks(v.n) > 1; }

/// Calls block(begin, end) for each block of tiles.
template <typename Block>
TFMINIMIZE_INLINE void for_blocks(const Vectors& v, const TileRange& tiles, const Block& block) {
  const std::size_t size = streams(v) ? kStreamBlock : kBlock;
  for (std::size_t begin = tiles.begin; begin < tiles.end; begin += size) {
    block(begin, least(begin + size, tiles.end));
  }
}

/// The scratch memory of a pass over chunks: for each chunk a line for its result, then `lines` lines.
struct Scratch {
  double* data;
  std::size_t lines;

  TFMINIMIZE_INLINE double* result(std::size_t chunk) const { return data + chunk * (lines + 1) * kTile; }
  TFMINIMIZE_INLINE double* line(std::size_t chunk, std::size_t k) const { return result(chunk) + (k + 1) * kTile; }
};

// The results of chunks, added up.

TFMINIMIZE_INLINE void add(DirectionSums& total, const DirectionSums& chunk) {
  total.slope += chunk.slope;
  total.squared_norm += chunk.squared_norm;
  total.max_step = chunk.max_step < total.max_step ? chunk.max_step : total.max_step;
  total.clipped |= chunk.clipped;
}
TFMINIMIZE_INLINE void add(TrialSums& total, const TrialSums& chunk) {
  total.slope += chunk.slope;
  if (total.projected_gradient < chunk.projected_gradient) total.projected_gradient = chunk.projected_gradient;
}
TFMINIMIZE_INLINE void add(CauchySums& total, const CauchySums& chunk) {
  total.squared_norm += chunk.squared_norm;
  total.y_squared_norm += chunk.y_squared_norm;
  if (chunk.first_breakpoint < total.first_breakpoint) total.first_breakpoint = chunk.first_breakpoint;
  total.num_breakpoints += chunk.num_breakpoints;
  total.num_moving += chunk.num_moving;
}
TFMINIMIZE_INLINE void add(Truncation& total, const Truncation& chunk) {
  if (chunk.ratio < total.ratio) total = chunk;
}
TFMINIMIZE_INLINE void add(std::size_t& total, std::size_t chunk) { total += chunk; }
TFMINIMIZE_INLINE void add(bool& total, bool chunk) { total |= chunk; }

/// The result of a pass that writes only.
struct Nothing {};
TFMINIMIZE_INLINE void add(Nothing& /*total*/, const Nothing& /*chunk*/) {}

/// Calls body(v, tiles, lines). The copy of the vectors stays in registers, as nothing that is stored can change it.
template <typename Result, typename Body>
__attribute__((noinline)) Result on_chunk(const Body& body, const Vectors& vectors, const TileRange& tiles,
                                          double* lines) {
  const Vectors v = vectors;
  return body(v, tiles, lines);
}

/// A pass over chunks. It calls a Body for each.
template <typename Result, typename Body>
struct Pass {
  const Body& body;
  const Vectors& vectors;
  Scratch scratch;
  std::size_t num_tiles;

  static void run(const void* context, std::size_t chunk) {
    const Pass& pass = *static_cast<const Pass*>(context);
    const TileRange tiles{chunk * kChunk, least((chunk + 1) * kChunk, pass.num_tiles)};
    const auto result = on_chunk<Result>(pass.body, pass.vectors, tiles, pass.scratch.line(chunk, 0));
    static_assert(sizeof result <= kTile * sizeof(double));
    __builtin_memcpy(pass.scratch.result(chunk), &result, sizeof result);
  }
};

/// The result of one of several chunks, after a pass with so many lines.
template <typename Result>
TFMINIMIZE_INLINE Result result_of_chunk(const Vectors& v, std::size_t lines, std::size_t chunk) {
  Result result;
  __builtin_memcpy(static_cast<void*>(&result), Scratch{v.scratch, lines}.result(chunk), sizeof result);
  return result;
}

/// Calls body(v, tiles, lines) for each chunk, in several threads if there are many, and adds up the results in the
/// order of the chunks. lines: so many lines of eight doubles, of the chunk's own.
template <typename Result, typename Body>
TFMINIMIZE_INLINE Result over_chunks(const Vectors& vectors, std::size_t lines, const Body& body) {
  const Scratch scratch{vectors.scratch, lines};
  const std::size_t count = num_chunks(vectors.n);
  const std::size_t tiles = num_tiles(vectors.n);
  if (count == 1) return on_chunk<Result>(body, vectors, {0, tiles}, scratch.line(0, 0));
  const Pass<Result, Body> pass{body, vectors, scratch, tiles};
  run_in_threads(count, &Pass<Result, Body>::run, &pass);
  auto total = result_of_chunk<Result>(vectors, lines, 0);
  for (std::size_t chunk = 1; chunk < count; ++chunk) add(total, result_of_chunk<Result>(vectors, lines, chunk));
  return total;
}

/// totals = the sums of `count` lines, from `first` on, over all chunks of a pass with so many lines.
void sum_lines(const Vectors& v, std::size_t lines, std::size_t first, std::size_t count, double* totals) {
  const Scratch scratch{v.scratch, lines};
  for (std::size_t k = 0; k < count; ++k) totals[k] = sum(load(scratch.line(0, first + k)));
  for (std::size_t chunk = 1; chunk < num_chunks(v.n); ++chunk) {
    for (std::size_t k = 0; k < count; ++k) totals[k] += sum(load(scratch.line(chunk, first + k)));
  }
}

/// The sums W[:, columns]ᵀa over one chunk, by lanes, for one or two vectors a.
template <typename Element, std::size_t kVectors>
class ColumnSums {
 public:
  using Blocks = const BlockVector* const (&)[kVectors];

  /// lanes: kVectors · columns.count lines, of vector after vector.
  TFMINIMIZE_INLINE ColumnSums(const Vectors& v, const Columns& columns, double* lanes)
      : w_(v.w), columns_(columns), lanes_(lanes), streams_(streams(v)) {
    for (std::size_t k = 0; k < kVectors * columns.count; ++k) store(lanes_ + k * kTile, zero());
  }

  TFMINIMIZE_INLINE void add(std::size_t begin, std::size_t end, Blocks vectors) {
    if (streams_ && end - begin == kStreamBlock) return add_from_memory(begin, vectors);
    std::size_t k = 0;
    for (; k + kColumnGroup <= columns_.count; k += kColumnGroup) add_group<kColumnGroup>(k, begin, end, vectors);
    for (; k < columns_.count; ++k) add_group<1>(k, begin, end, vectors);
  }

 private:
  TFMINIMIZE_INLINE double* lane(std::size_t vector, std::size_t column) {
    return lanes_ + (vector * columns_.count + column) * kTile;
  }

  template <std::size_t kGroup>
  TFMINIMIZE_INLINE void add_group(std::size_t k, std::size_t begin, std::size_t end, Blocks vectors) {
    V8 sums[kVectors][kGroup];
    const Element* w[kGroup];
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

  /// Adds kStreamBlock tiles to the sums of one column after the other. Meanwhile it prefetches as many lines, in the
  /// order that they have in memory: the columns of a tile, then those of the next.
  __attribute__((noinline)) void add_from_memory(std::size_t begin, Blocks vectors) {
    const ColumnSums here = *this;  // Stays in registers, as nothing that is stored can change it.
    V8 a[kVectors][kStreamBlock];
    for (std::size_t i = 0; i < kVectors; ++i) {
      for (std::size_t t = 0; t < kStreamBlock; ++t) a[i][t] = load(vectors[i]->at(t));
    }
    const std::size_t stride = here.w_.columns * kTile;
    const Element* first_tile = here.w_.at(begin, 0);
    const Element* tile_ahead = first_tile + kStreamAhead * stride;
    const std::int32_t* const end = here.columns_.ids + here.columns_.count;
    const std::int32_t* ahead = here.columns_.ids;
    double* lane = here.lanes_;
    const std::size_t lanes = here.columns_.count * kTile;
    for (const std::int32_t* id = here.columns_.ids; id < end; ++id, lane += kTile) {
      const Element* w = first_tile + static_cast<std::size_t>(*id) * kTile;
      V8 sums[kVectors];
      for (std::size_t i = 0; i < kVectors; ++i) sums[i] = load(lane + i * lanes);
      for (std::size_t t = 0; t < kStreamBlock; ++t) {
        const V8 column = load(w + t * stride);
        for (std::size_t i = 0; i < kVectors; ++i) sums[i] = sums[i] + column * a[i][t];
        __builtin_prefetch(tile_ahead + static_cast<std::size_t>(*ahead) * kTile, 0, 3);
        if (++ahead == end) {
          ahead = here.columns_.ids;
          tile_ahead += stride;
        }
      }
      for (std::size_t i = 0; i < kVectors; ++i) store(lane + i * lanes, sums[i]);
    }
  }

  const TilesOf<Element> w_;
  const Columns columns_;
  double* const lanes_;
  const bool streams_;
};

template <typename Element>
TFMINIMIZE_INLINE V8 combine(const TilesOf<Element>& tiles, std::size_t tile, const V8& g, const Combination& step) {
  // Two chains: the multiplication of one does not wait for the addition of the other.
  V8 even = broadcast(step.g_coefficient) * g;
  V8 odd = zero();
  const Element* w = tiles.at(tile, 0);
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

}  // namespace
}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_KERNELS_BLOCKS_H_
