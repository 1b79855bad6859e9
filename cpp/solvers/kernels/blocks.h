#ifndef TFMINIMIZE_SOLVERS_KERNELS_BLOCKS_H_
#define TFMINIMIZE_SOLVERS_KERNELS_BLOCKS_H_

// Passes over tiles in blocks, and sums over n. Internal to the file that includes it, as lanes.h is.

#include <cstddef>

#include "solvers/kernels/kernels.h"
#include "solvers/kernels/lanes.h"

namespace tfminimize::solvers {
namespace {  // NOLINT(google-build-namespaces): see lanes.h

constexpr double kInfinity = __builtin_inf();

// A pass works on this many tiles together: their part of W (2m + 1 lines each) stays in the first cache meanwhile.
constexpr std::size_t kBlock = 16;
// An accumulator sums up this many blocks, a chunk, before its sum is added to the total. So the error grows with the
// length of a chunk and the number of chunks, not with n.
constexpr std::size_t kChunk = 128;
// This many columns keep their sums in registers together.
constexpr std::size_t kColumnGroup = kParts == 1 ? 4 : kParts == 2 ? 2 : 1;
// The work on a tile begins by prefetching the one this far ahead.
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

/// Calls block(begin, end) for each block of tiles, and flush() after each chunk of blocks.
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

/// A sum over n: by lanes within a chunk, then chunk by chunk.
struct Sum {
  V8 lanes = zero();
  double total = 0;

  TFMINIMIZE_INLINE void add(const V8& value) { lanes = lanes + value; }
  TFMINIMIZE_INLINE void flush() {
    total += sum(lanes);
    lanes = zero();
  }
};

/// The sums W[:, columns]ᵀa for one or two vectors a.
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
  /// Adds the sums of the chunk to totals[vector][column] and begins a new chunk.
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

/// Prefetches a tile.
TFMINIMIZE_INLINE void prefetch(const Tiles& w, std::size_t tile) {
  const double* line = w.at(tile, 0);
  for (std::size_t c = 0; c < w.columns; ++c) __builtin_prefetch(line + c * kTile, 0, 2);
}

TFMINIMIZE_INLINE V8 combine(const Vectors& v, std::size_t tile, const V8& g, const Combination& step) {
  // Two chains: the multiplication of one does not wait for the addition of the other.
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

}  // namespace
}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_KERNELS_BLOCKS_H_
