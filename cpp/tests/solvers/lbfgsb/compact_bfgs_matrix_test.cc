#include "solvers/lbfgsb/compact_bfgs_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/solvers/lbfgsb/model_pairs.h"

namespace tfminimize::solvers {
namespace {

using testing::add_pair;
using testing::bfgs_matrix;
using testing::column_dots;
using testing::column_of;
using testing::dot;
using testing::Matrix;
using testing::ModelPairs;
using testing::Pair;
using testing::relative_difference;
using testing::set_column;
using testing::Vector;

constexpr double kTolerance = 1e-10;

struct MatrixCase {
  std::size_t n;
  std::size_t m;
  std::size_t count;  ///< Pairs that are added.
};

std::ostream& operator<<(std::ostream& out, const MatrixCase& c) {
  return out << "n" << c.n << "_m" << c.m << "_pairs" << c.count;
}

class CompactBfgsMatrixTest : public ::testing::TestWithParam<MatrixCase> {
 protected:
  ModelPairs model_{GetParam().n, GetParam().m, GetParam().count};
  const CompactBfgsMatrix& b_ = model_.matrix;
  std::size_t n_ = GetParam().n;
  std::size_t k_ = std::min(GetParam().m, GetParam().count);

  Vector w_dots(const Vector& v) const { return column_dots(b_, b_.columns(), v, std::vector<bool>(n_, true), true); }
  void free_all() {
    for (std::size_t i = 0; i < n_; ++i) model_.set_free(i, true);
  }
};

/// The part of M that multiplies the coefficients of a product with W.
Vector dense_middle_product(const ModelPairs& model, const Vector& v) {
  const std::size_t k = model.pairs.size();
  Matrix inverse(2 * k, 2 * k);  // [θSᵀS  L; Lᵀ  -D]
  for (std::size_t i = 0; i < k; ++i) {
    for (std::size_t j = 0; j < k; ++j) {
      inverse(i, j) = model.matrix.theta() * dot(model.pairs[i].s, model.pairs[j].s);
      const double sy = dot(model.pairs[i].s, model.pairs[j].y);
      if (i > j) inverse(i, k + j) = inverse(k + j, i) = sy;
      if (i == j) inverse(k + i, k + i) = -sy;
    }
  }
  return inverse.solve(v);
}

TEST_P(CompactBfgsMatrixTest, HoldsTheLatestPairsInOrderOfAge) {
  ASSERT_EQ(b_.size(), k_);
  for (std::size_t k = 0; k < k_; ++k) {
    EXPECT_EQ(column_of(b_, n_, static_cast<std::size_t>(b_.s_column(k))), model_.pairs[k].s);
    EXPECT_EQ(column_of(b_, n_, static_cast<std::size_t>(b_.y_column(k))), model_.pairs[k].y);
  }
}

TEST_P(CompactBfgsMatrixTest, ThetaIsTheCurvatureOfTheNewestPair) {
  const Pair& newest = model_.pairs.back();
  EXPECT_DOUBLE_EQ(b_.theta(), dot(newest.y, newest.y) / dot(newest.s, newest.y));
}

TEST_P(CompactBfgsMatrixTest, ColumnsAreDistinct) {
  const Columns columns = b_.columns_with_direction();
  EXPECT_EQ(columns.count, 2 * k_ + 1);
  EXPECT_EQ(std::set<std::int32_t>(columns.ids, columns.ids + columns.count).size(), columns.count);
  EXPECT_EQ(static_cast<std::size_t>(columns.ids[k_]), b_.direction_column());
}

TEST_P(CompactBfgsMatrixTest, RowIsThatOfW) {
  const Matrix w = model_.w();
  Vector row(2 * k_);
  for (std::size_t i = 0; i < n_; ++i) {
    b_.row(i, row.data());
    for (std::size_t j = 0; j < 2 * k_; ++j) EXPECT_DOUBLE_EQ(row[j], w(i, j));
  }
}

TEST_P(CompactBfgsMatrixTest, MiddleMatrixIsTheDenseInverse) {
  Vector v = model_.random().vector(2 * k_);
  const Vector expected = dense_middle_product(model_, v);
  b_.multiply_middle(v.data());
  EXPECT_LT(relative_difference(v, expected), kTolerance);
}

TEST_P(CompactBfgsMatrixTest, ProductWithAVectorIsThatOfTheBfgsRecursion) {
  // B·v = θv - W·M·Wᵀv
  const Vector v = model_.random().vector(n_);
  Vector wv = w_dots(v);
  for (std::size_t k = 0; k < k_; ++k) wv[k] *= b_.theta();
  b_.multiply_middle(wv.data());
  Vector product = model_.w() * wv;
  for (std::size_t i = 0; i < n_; ++i) product[i] = b_.theta() * v[i] - product[i];
  EXPECT_LT(relative_difference(product, model_.dense() * v), kTolerance);
}

TEST_P(CompactBfgsMatrixTest, NewtonStepSolvesWithTheBfgsMatrix) {
  free_all();
  const Vector g = model_.random().vector(n_);
  Vector coefficients(2 * k_);
  b_.newton_coefficients(w_dots(g).data(), coefficients.data());
  Vector step(n_);
  for (std::size_t i = 0; i < n_; ++i) {
    step[i] = -g[i] / b_.theta();
    for (std::size_t k = 0; k < k_; ++k) {
      step[i] += coefficients[k] * model_.pairs[k].s[i] + coefficients[k_ + k] * model_.pairs[k].y[i];
    }
  }
  Vector expected = model_.dense().solve(g);
  for (double& value : expected) value = -value;
  EXPECT_LT(relative_difference(step, expected), 1e-8);
}

TEST_P(CompactBfgsMatrixTest, FreeGramProductIsTakenOverTheFreeRows) {
  const Matrix w = model_.w();
  const Vector v = model_.random().vector(2 * k_);
  const Vector wv = w * v;
  const Vector initial = model_.random().vector(2 * k_);
  Vector expected = initial;
  for (std::size_t j = 0; j < 2 * k_; ++j) {
    for (const std::size_t i : model_.free_indices()) expected[j] += w(i, j) * wv[i];
  }
  Vector result = initial;
  b_.add_free_gram_product(v.data(), result.data());
  EXPECT_LT(relative_difference(result, expected), kTolerance);
}

/// (ZᵀBZ)⁻¹r = r/θ + W_F·K⁻¹·W_Fᵀr/θ²
Vector subspace_solution(ModelPairs& model, const std::vector<std::size_t>& free, const Vector& r) {
  const Matrix w = model.w();
  const double theta = model.matrix.theta();
  Vector v(w.columns());
  for (std::size_t j = 0; j < w.columns(); ++j) {
    for (std::size_t i = 0; i < free.size(); ++i) v[j] += w(free[i], j) * r[i];
  }
  EXPECT_TRUE(model.matrix.factorize_subspace());
  model.matrix.solve_subspace(v.data());
  Vector x(r.size());
  for (std::size_t i = 0; i < free.size(); ++i) {
    x[i] = r[i] / theta;
    for (std::size_t j = 0; j < w.columns(); ++j) x[i] += w(free[i], j) * v[j] / (theta * theta);
  }
  return x;
}

TEST_P(CompactBfgsMatrixTest, SubspaceSolveIsThatOfTheDenseReducedMatrix) {
  for (int set = 0; set < 5; ++set) {
    model_.change_free(0.4);
    const std::vector<std::size_t> free = model_.free_indices();
    if (free.empty()) continue;
    const Vector r = model_.random().vector(free.size());
    const Vector expected = model_.dense().principal(free).solve(r);
    EXPECT_LT(relative_difference(subspace_solution(model_, free, r), expected), 1e-8);
  }
}

TEST_P(CompactBfgsMatrixTest, SubspaceSolveWithAllVariablesFreeIsTheNewtonStep) {
  free_all();
  model_.matrix.clear_active();
  const std::vector<std::size_t> free = model_.free_indices();
  const Vector r = model_.random().vector(n_);
  EXPECT_LT(relative_difference(subspace_solution(model_, free, r), model_.dense().solve(r)), 1e-8);
}

TEST_P(CompactBfgsMatrixTest, EnteringAndLeavingRestoresTheProducts) {
  const std::vector<bool> at_first = model_.free;
  const std::vector<std::size_t> free = model_.free_indices();
  if (free.empty()) return;
  const Vector r = model_.random().vector(free.size());
  const Vector before = subspace_solution(model_, free, r);
  for (std::size_t i = 0; i < n_; ++i) model_.set_free(i, !at_first[i]);
  for (std::size_t i = 0; i < n_; ++i) model_.set_free(i, at_first[i]);
  EXPECT_LT(relative_difference(subspace_solution(model_, free, r), before), 1e-9);
}

TEST_P(CompactBfgsMatrixTest, ResetForgetsAllPairs) {
  const std::size_t direction = b_.direction_column();
  model_.matrix.reset();
  EXPECT_EQ(b_.size(), 0U);
  EXPECT_EQ(b_.theta(), 1);
  EXPECT_EQ(b_.columns().count, 0U);
  EXPECT_EQ(b_.direction_column(), direction);
}

TEST_P(CompactBfgsMatrixTest, PairsAfterAResetCountAlone) {
  model_.matrix.reset();
  const std::vector<Pair> pairs = model_.pairs;
  for (const Pair& pair : pairs) EXPECT_TRUE(add_pair(model_.matrix, pair, model_.free));
  const Vector v = model_.random().vector(2 * k_);
  Vector product = v;
  b_.multiply_middle(product.data());
  EXPECT_LT(relative_difference(product, dense_middle_product(model_, v)), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Cases, CompactBfgsMatrixTest,
                         ::testing::Values(MatrixCase{1, 1, 1}, MatrixCase{5, 1, 3}, MatrixCase{9, 3, 2},
                                           MatrixCase{9, 3, 3}, MatrixCase{9, 3, 4}, MatrixCase{9, 3, 11},
                                           MatrixCase{30, 10, 10}, MatrixCase{30, 10, 25}),
                         ::testing::PrintToStringParamName());

TEST(CompactBfgsMatrixUnboundedTest, NewtonStepSolvesWithTheBfgsMatrix) {
  const std::size_t n = 13;
  testing::Random random(5);
  const Matrix hessian = Matrix::positive_definite(n, 0.2, random);
  const std::vector<bool> all(n, true);
  CompactBfgsMatrix b(n, 4, false);
  std::vector<Pair> pairs;
  for (std::size_t count = 1; count <= 9; ++count) {
    const Vector s = random.vector(n);
    pairs.push_back({s, hessian * s});
    if (pairs.size() > 4) pairs.erase(pairs.begin());
    const std::size_t s_column = b.direction_column();
    const std::size_t y_column = b.begin_pair();
    set_column(b, pairs.back().s, s_column);
    set_column(b, pairs.back().y, y_column);
    const Vector& y = pairs.back().y;
    b.finish_pair(dot(s, y), dot(y, y), column_dots(b, b.columns(), y, all, true).data());

    const Vector g = random.vector(n);
    Vector coefficients(2 * b.size());
    b.newton_coefficients(column_dots(b, b.columns(), g, all, true).data(), coefficients.data());
    Vector step(n);
    for (std::size_t i = 0; i < n; ++i) {
      step[i] = g[i] / b.theta();
      for (std::size_t k = 0; k < b.size(); ++k) {
        step[i] -= coefficients[k] * pairs[k].s[i] + coefficients[b.size() + k] * pairs[k].y[i];
      }
    }
    EXPECT_LT(relative_difference(step, bfgs_matrix(n, b.theta(), pairs).solve(g)), 1e-9) << count;
  }
}

TEST(CompactBfgsMatrixUnboundedTest, NewMatrixIsTheIdentity) {
  const CompactBfgsMatrix b(3, 2, false);
  EXPECT_EQ(b.size(), 0U);
  EXPECT_EQ(b.theta(), 1);
  EXPECT_EQ(column_of(b, 3, b.direction_column()), Vector(3));
}

TEST(CompactBfgsMatrixUnboundedTest, PairOfNegativeCurvatureIsRefused) {
  CompactBfgsMatrix b(2, 2, true);
  EXPECT_FALSE(add_pair(b, {{1, 0}, {-1, 0}}, {true, true}));
}

}  // namespace
}  // namespace tfminimize::solvers
