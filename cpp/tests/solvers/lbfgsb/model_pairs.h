#ifndef TFMINIMIZE_TESTS_SOLVERS_LBFGSB_MODEL_PAIRS_H_
#define TFMINIMIZE_TESTS_SOLVERS_LBFGSB_MODEL_PAIRS_H_

#include <algorithm>
#include <cstddef>
#include <vector>

#include "solvers/lbfgsb/compact_bfgs_matrix.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers::testing {

inline Vector column_of(const CompactBfgsMatrix& b, std::size_t n, std::size_t column) {
  Vector values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = b.tiles().element(i, column);
  return values;
}

inline void set_column(const CompactBfgsMatrix& b, const Vector& values, std::size_t column) {
  for (std::size_t t = 0; t < num_tiles(values.size()); ++t) {
    std::fill_n(b.tiles().at(t, column), b.tiles().tile_bytes(), std::byte{0});
  }
  for (std::size_t i = 0; i < values.size(); ++i) b.tiles().set_element(i, column, values[i]);
}

/// Products of columns with a vector, over the variables in a set (1) or not in it (0).
inline Vector column_dots(const CompactBfgsMatrix& b, const Columns& columns, const Vector& v,
                          const std::vector<bool>& set, bool inside) {
  Vector dots(columns.count);
  for (std::size_t k = 0; k < columns.count; ++k) {
    for (std::size_t i = 0; i < v.size(); ++i) {
      if (set[i] == inside) dots[k] += v[i] * b.tiles().element(i, static_cast<std::size_t>(columns.ids[k]));
    }
  }
  return dots;
}

/// Adds a pair as the model does: the direction s/scale, its products over the free and the active
/// variables, then y.
inline bool add_pair(CompactBfgsMatrix& b, const Pair& pair, const std::vector<bool>& free, double scale = 1) {
  Vector d = pair.s;
  for (double& value : d) value /= scale;
  set_column(b, d, b.direction_column());
  const Vector free_dots = column_dots(b, b.columns_with_direction(), d, free, true);
  const Vector active_dots = column_dots(b, b.columns_with_direction(), d, free, false);
  const std::size_t s_column = b.direction_column();
  const std::size_t old_size = b.size();
  const std::size_t y_column = b.begin_pair();
  set_column(b, pair.s, s_column);
  set_column(b, pair.y, y_column);
  b.add_s_products(scale, free_dots.data(), active_dots.data(), old_size == b.size());
  const Vector y_dots = column_dots(b, b.columns(), pair.y, free, true);
  b.finish_pair(dot(pair.s, pair.y), dot(pair.y, pair.y), y_dots.data());
  return b.factorize_middle();
}

/// A matrix and its pairs.
class ModelPairs {
 public:
  /// Pairs of a random quadratic, y = H·s: all have curvature. The set of free variables changes from pair to pair, as
  /// in a solve; `free` is the last one.
  ModelPairs(std::size_t n, std::size_t m, std::size_t count, std::uint64_t seed = 1)
      : matrix(n, m, true), free(n, true), n_(n), random_(seed) {
    const Matrix hessian = Matrix::positive_definite(n, 0.2, random_);
    for (std::size_t k = 0; k < count; ++k) {
      const Vector s = random_.vector(n);
      pairs.push_back({s, hessian * s});
      if (pairs.size() > m) pairs.erase(pairs.begin());
      add_pair(matrix, pairs.back(), free, random_.uniform(0.5, 2));
      change_free(0.3);
    }
  }

  /// Each variable enters or leaves with this probability.
  void change_free(double probability) {
    for (std::size_t i = 0; i < n_; ++i) {
      if (random_.chance(probability)) set_free(i, !free[i]);
    }
  }
  void set_free(std::size_t i, bool is_free) {
    if (free[i] == is_free) return;
    free[i] = is_free;
    matrix.update_free_set(i, is_free);
  }
  std::vector<std::size_t> free_indices() const {
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < n_; ++i) {
      if (free[i]) indices.push_back(i);
    }
    return indices;
  }

  Matrix dense() const { return bfgs_matrix(n_, matrix.theta(), pairs); }
  /// W = [θS Y] of the pairs.
  Matrix w() const {
    Matrix result(n_, 2 * pairs.size());
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t k = 0; k < pairs.size(); ++k) {
        result(i, k) = matrix.theta() * pairs[k].s[i];
        result(i, pairs.size() + k) = pairs[k].y[i];
      }
    }
    return result;
  }
  Random& random() { return random_; }

  CompactBfgsMatrix matrix;
  std::vector<Pair> pairs;
  std::vector<bool> free;

 private:
  std::size_t n_;
  Random random_;
};

}  // namespace tfminimize::solvers::testing

#endif  // TFMINIMIZE_TESTS_SOLVERS_LBFGSB_MODEL_PAIRS_H_
