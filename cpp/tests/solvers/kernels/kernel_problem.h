#ifndef TFMINIMIZE_TESTS_SOLVERS_KERNELS_KERNEL_PROBLEM_H_
#define TFMINIMIZE_TESTS_SOLVERS_KERNELS_KERNEL_PROBLEM_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "solvers/kernels/kernels.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers::testing {

/// A vector followed by values that no one may change.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::size_t size = 0) : size_(size), elements_(size) { elements_.resize(size + kGuards, kGuard); }

  T* data() { return elements_.data(); }
  const T* data() const { return elements_.data(); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return elements_[i]; }
  const T& operator[](std::size_t i) const { return elements_[i]; }
  bool intact() const {
    return std::all_of(elements_.begin() + static_cast<std::ptrdiff_t>(size_), elements_.end(),
                       [](T value) { return value == kGuard; });
  }

 private:
  static constexpr std::size_t kGuards = 16;
  static constexpr T kGuard = 77;

  std::size_t size_;
  AlignedVector<T> elements_;
};

/// Random arguments for the kernels: all kinds of bounds, variables at them and between, gradients of zero, positions
/// with whole tiles free and mixed ones.
struct KernelProblem {
  static constexpr std::size_t kColumns = 9;
  static constexpr std::size_t kDirectionColumn = 4;
  static constexpr std::size_t kYColumn = 7;

  KernelProblem(std::size_t size, bool has_bounds, Storage stored_as = Storage::kFloat64)
      : n(size),
        rows(num_tiles(size) * kTile),
        bounded(has_bounds),
        storage(stored_as),
        x(n),
        gradient(n),
        lower(bounded ? n : 0),
        upper(bounded ? n : 0),
        start(rows),
        start_gradient(rows),
        float64_w(storage == Storage::kFloat64 ? rows * kColumns : 0),
        float32_w(storage == Storage::kFloat32 ? rows * kColumns : 0),
        positions(rows),
        new_positions(rows),
        scratch(scratch_size(n, kColumns)) {
    Random random(1000003 + n);
    for (std::size_t i = 0; i < n; ++i) {
      x[i] = random.uniform(-2, 2);
      gradient[i] = random.chance(0.1) ? (random.chance(0.5) ? 0.0 : -0.0) : random.uniform(-1, 1);
      start[i] = random.uniform(-2, 2);
      start_gradient[i] = random.uniform(-1, 1);
      if (bounded) choose_bounds(i, random);
    }
    for (std::size_t t = 0; t < num_tiles(n) && bounded; ++t) {
      if (random.chance(0.5)) choose_positions(t * kTile, random);
    }
    for (std::size_t c = 0; c < kColumns; ++c) {
      for (std::size_t i = 0; i < n; ++i) tiles().set_element(i, c, random.uniform(-1, 1));
    }
    coefficients = random.vector(kColumns);
  }

  Tiles tiles() {
    void* data = float64_w.data();
    if (storage == Storage::kFloat32) data = float32_w.data();
    return {data, kColumns, storage};
  }
  /// A number as W keeps it.
  double stored(double value) const {
    return storage == Storage::kFloat64 ? value : static_cast<double>(static_cast<float>(value));
  }
  double element(std::size_t row, std::size_t column) { return tiles().element(row, column); }
  Vectors view() {
    Vectors v;
    v.n = n;
    v.x = x.data();
    v.gradient = gradient.data();
    v.lower = bounded ? lower.data() : nullptr;
    v.upper = bounded ? upper.data() : nullptr;
    v.start = start.data();
    v.start_gradient = start_gradient.data();
    v.w = tiles();
    v.scratch = scratch.data();
    return v;
  }
  /// The first `count` of a list of columns, which is not sorted and has the direction in third place.
  static Columns columns(std::size_t count) {
    static constexpr std::int32_t kIds[kColumns] = {6, 0, 4, 8, 2, 7, 1, 5, 3};
    return {kIds, count};
  }
  /// A step of this many columns.
  Combination combination(std::size_t count) const { return {-0.75, coefficients.data(), columns(count)}; }

  bool guards_are_intact() const {
    return x.intact() && gradient.intact() && lower.intact() && upper.intact() && start.intact() &&
           start_gradient.intact() && float64_w.intact() && float32_w.intact() && positions.intact() &&
           new_positions.intact() && scratch.intact();
  }
  /// Everything that a kernel may write, as bits.
  std::vector<std::uint64_t> bits() const {
    std::vector<std::uint64_t> all;
    for (const Guarded<double>* array : {&x, &gradient, &start, &start_gradient, &float64_w}) {
      const std::size_t first = all.size();
      all.resize(first + array->size());
      std::memcpy(all.data() + first, array->data(), array->size() * sizeof(double));
    }
    for (std::size_t i = 0; i < float32_w.size(); ++i) {
      std::uint32_t word;
      std::memcpy(&word, float32_w.data() + i, sizeof word);
      all.push_back(word);
    }
    for (std::size_t i = 0; i < rows; ++i) all.push_back(new_positions[i]);
    return all;
  }

  std::size_t n;
  std::size_t rows;  ///< n, rounded up to whole tiles.
  bool bounded;
  Storage storage;
  Guarded<double> x, gradient, lower, upper, start, start_gradient, float64_w;
  Guarded<float> float32_w;
  Guarded<std::uint8_t> positions, new_positions;
  Guarded<double> scratch;
  Vector coefficients;  ///< [kColumns]

 private:
  void choose_bounds(std::size_t i, Random& random) {
    lower[i] = random.chance(0.3) ? -kInf : random.uniform(-2, 0);
    upper[i] = random.chance(0.3) ? kInf : random.uniform(0, 2);
    if (random.chance(0.1)) lower[i] = upper[i] = random.uniform(-1, 1);
    if (random.chance(0.2)) x[i] = lower[i];
    if (random.chance(0.2)) x[i] = upper[i];
    for (double* value : {&x[i], &start[i]}) {
      *value = std::min(std::max(*value, lower[i]), upper[i]);
      if (std::isinf(*value)) *value = 0;
    }
  }
  void choose_positions(std::size_t begin, Random& random) {
    for (std::size_t i = begin; i < std::min(begin + kTile, n); ++i) {
      const std::size_t choice = random.below(4);
      if (choice == kAtLower && std::isfinite(lower[i])) positions[i] = kAtLower;
      if (choice == kAtUpper && std::isfinite(upper[i])) positions[i] = kAtUpper;
      if (choice == kFixed) positions[i] = kFixed;
    }
  }
};

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_KERNELS_KERNEL_PROBLEM_H_
