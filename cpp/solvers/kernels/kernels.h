#ifndef TFMINIMIZE_SOLVERS_KERNELS_KERNELS_H_
#define TFMINIMIZE_SOLVERS_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace tfminimize::solvers {

/// Rows of one tile: a cache line of doubles.
inline constexpr std::size_t kTile = 8;

/// The number of tiles for n rows.
constexpr std::size_t num_tiles(std::size_t n) { return (n + kTile - 1) / kTile; }

/// The tiles of one chunk, 16,384 rows. A sum over n is made chunk by chunk, each from zero, and then the sums of the
/// chunks are added in their order. So the error grows with the length of a chunk and the number of chunks, not with n;
/// and the bits are the same whichever thread works on a chunk.
inline constexpr std::size_t kChunk = 2048;

/// The number of chunks for n rows.
constexpr std::size_t num_chunks(std::size_t n) { return (num_tiles(n) + kChunk - 1) / kChunk; }

/// The doubles of Vectors::scratch, for passes over at most this many columns.
constexpr std::size_t scratch_size(std::size_t n, std::size_t columns) {
  return num_chunks(n) * (2 * columns + 1) * kTile;
}

/// What the elements of a tile matrix are kept as. Every kernel computes in float64.
enum class Storage : std::uint8_t { kFloat64 = 0, kFloat32 = 1 };

constexpr std::size_t element_size(Storage storage) {
  return storage == Storage::kFloat64 ? sizeof(double) : sizeof(float);
}

/// The position of a variable with respect to its bounds, at the generalized Cauchy point.
enum Position : std::uint8_t { kFree = 0, kAtLower = 1, kAtUpper = 2, kFixed = 3 };

/// A tall matrix in tiles of 8 rows, so that one pass over all columns is one stream through memory:
///
///     tile 0: | column 0, rows 0-7 | column 1, rows 0-7 | ... |
///     tile 1: | column 0, rows 8-15 | ...
///
/// The rows that pad the last tile are zero in every column in use.
struct Tiles {
  void* data = nullptr;
  std::size_t columns = 0;
  Storage storage = Storage::kFloat64;

  /// Eight elements.
  std::byte* at(std::size_t tile, std::size_t column) const {
    return static_cast<std::byte*>(data) + (tile * columns + column) * tile_bytes();
  }
  /// The largest number that an element can be.
  double largest() const { return storage == Storage::kFloat64 ? __DBL_MAX__ : static_cast<double>(__FLT_MAX__); }
  std::size_t tile_bytes() const { return kTile * element_size(storage); }
  double element(std::size_t row, std::size_t column) const {
    const std::byte* rows = at(row / kTile, column);
    if (storage == Storage::kFloat64) return reinterpret_cast<const double*>(rows)[row % kTile];
    return static_cast<double>(reinterpret_cast<const float*>(rows)[row % kTile]);
  }
  void set_element(std::size_t row, std::size_t column, double value) const {
    std::byte* rows = at(row / kTile, column);
    if (storage == Storage::kFloat64) {
      reinterpret_cast<double*>(rows)[row % kTile] = value;
    } else {
      reinterpret_cast<float*>(rows)[row % kTile] = static_cast<float>(value);
    }
  }
};

/// Some columns of a tile matrix, in the order of the results.
struct Columns {
  const std::int32_t* ids = nullptr;
  std::size_t count = 0;
};

/// The vectors of a problem, [n] each. lower and upper are null if no variable has a bound. start and start_gradient
/// are padded to whole tiles, the others are not.
struct Vectors {
  std::size_t n = 0;
  double* x = nullptr;
  const double* gradient = nullptr;
  const double* lower = nullptr;
  const double* upper = nullptr;
  double* start = nullptr;           ///< x at the start of the line search.
  double* start_gradient = nullptr;  ///< The gradient there.
  Tiles w;
  double* scratch = nullptr;  ///< [scratch_size(n, w.columns)], 64-byte aligned.
};

/// A step g_coefficient·g + Σ coefficients[k]·W[:, columns[k]].
struct Combination {
  double g_coefficient = 0;
  const double* coefficients = nullptr;
  Columns columns;
};

struct DirectionSums {
  double slope = 0;                   ///< gᵀd
  double squared_norm = 0;            ///< dᵀd
  double max_step = __builtin_inf();  ///< The largest t with x + t·d inside the bounds.
  bool clipped = false;               ///< A free variable met a bound.
};

struct TrialSums {
  double slope = 0;               ///< gᵀd; not finite if the gradient is not.
  double projected_gradient = 0;  ///< max |P(x - g) - x|, P the projection into the bounds
};

struct CauchySums {
  double squared_norm = 0;                    ///< d_cᵀd_c, d_c the projected steepest descent direction
  double y_squared_norm = 0;                  ///< yᵀy, over all variables.
  double first_breakpoint = __builtin_inf();  ///< The smallest t at which x + t·d_c meets a bound.
  std::size_t num_breakpoints = 0;            ///< Variables that meet one.
  std::size_t num_moving = 0;                 ///< Variables with d_c != 0.
};

/// The point of the projected steepest descent path at which a variable meets a bound.
struct Breakpoint {
  double t;
  std::size_t variable;
};

/// How much of a step the bounds allow.
struct Truncation {
  double ratio = 1;          ///< The largest part of the step, at most 1, that no free variable leaves its bounds on.
  std::size_t variable = 0;  ///< The first one that allows no more, if ratio < 1,
  double d = 0;              ///< and its element of the step.
};

/// The loops over n, compiled for one level of x86-64. All levels give the same bits: they add up eight partial sums,
/// one for each row of a tile, in a fixed tree, and use no fused multiply-add. Over many chunks they run in threads.
///
/// What a kernel writes to W it rounds to the elements of W first, and then computes with that: the products of columns
/// are those of what is stored.
struct Kernels {
  const char* level;

  /// z = x + step; then start = x, start_gradient = g, W[:, d_column] = z - x, x = z. For a problem without bounds.
  DirectionSums (*direction)(const Vectors& v, const Combination& step, std::size_t d_column);

  /// The same with bounds. `from` is x, or start if x has moved already. Free variables go to
  /// from - cauchy_step·g + step, clipped; active ones go to the bound in `positions`. Writes W[:, dot_columns]ᵀd over
  /// the free and over the active variables to free_dots and active_dots, [dot_columns.count].
  DirectionSums (*bounded_direction)(const Vectors& v, const double* from, const std::uint8_t* positions,
                                     double cauchy_step, const Combination& step, std::size_t d_column,
                                     const Columns& dot_columns, double* free_dots, double* active_dots);

  /// x = start + t·d, clipped. False if x does not change.
  bool (*move)(const Vectors& v, std::size_t d_column, double t);

  /// The slope and the projected gradient at x, after an evaluation there.
  TrialSums (*trial)(const Vectors& v, std::size_t d_column);

  /// W[:, s_column] *= scale, y = W[:, y_column] = g - start_gradient, and the products of W[:, columns] with y and g.
  /// For a problem without bounds.
  void (*update)(const Vectors& v, std::size_t s_column, double scale, std::size_t y_column, const Columns& columns,
                 double* y_dots, double* g_dots);

  /// The same with bounds: y_dots is over the free variables of `positions`, and d_dots is the product with d_c, the
  /// projected steepest descent direction at x. Writes to new_positions which variables are at a bound and stay (d_c =
  /// 0). If y_column is kNoColumn, it stores no pair and y_dots is zero.
  CauchySums (*bounded_update)(const Vectors& v, std::size_t s_column, double scale, std::size_t y_column,
                               const std::uint8_t* positions, std::uint8_t* new_positions, const Columns& columns,
                               double* y_dots, double* d_dots);

  /// Writes the breakpoints at t in (after, limit] of the free variables to `found`, [n], in the order of the
  /// variables. Returns how many there are.
  std::size_t (*breakpoints)(const Vectors& v, const std::uint8_t* positions, double after, double limit,
                             Breakpoint* found);

  /// W[:, d_column] = step for the free variables and 0 for the others, and how far it leads within the bounds from the
  /// Cauchy point, start - cauchy_step·g.
  Truncation (*truncate)(const Vectors& v, const std::uint8_t* positions, double cauchy_step, const Combination& step,
                         std::size_t d_column);

  /// W[:, columns]ᵀg, if the solver stores no pair. For a problem without bounds.
  void (*gradient_dots)(const Vectors& v, const Columns& columns, double* g_dots);
};

inline constexpr std::size_t kNoColumn = static_cast<std::size_t>(-1);

/// The kernels of one level, one for each Storage, in its order.
struct StoredKernels {
  Kernels float64;
  Kernels float32;
};

/// The kernels for the best level of this machine, for a W that is stored so.
const Kernels& kernels(Storage storage = Storage::kFloat64);

/// The kernels for one level, "v1", "v3" or "v4"; null if they are not built or this machine cannot run them.
const Kernels* kernels_for(const char* level, Storage storage = Storage::kFloat64);

}  // namespace tfminimize::solvers

#endif  // TFMINIMIZE_SOLVERS_KERNELS_KERNELS_H_
