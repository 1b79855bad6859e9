#include "solvers/dense.h"

#include <gtest/gtest.h>

#include "tests/solvers/reference.h"

namespace tfminimize {
namespace {

using testing::kNaN;
using testing::Matrix;
using testing::Random;
using testing::relative_difference;
using testing::Vector;

SquareMatrix to_square(const Matrix& a, std::size_t order) {
  SquareMatrix result(order);
  for (std::size_t i = 0; i < a.rows(); ++i) {
    for (std::size_t j = 0; j < a.columns(); ++j) result[i][j] = a(i, j);
  }
  return result;
}

Matrix triangle(std::size_t n, bool lower, Random& random) {
  Matrix a(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      if (i == j) a(i, j) = random.uniform(1, 2);
      if (lower ? i > j : i < j) a(i, j) = random.uniform(-1, 1);
    }
  }
  return a;
}

Matrix transposed(const Matrix& a) {
  Matrix t(a.columns(), a.rows());
  for (std::size_t i = 0; i < a.rows(); ++i) {
    for (std::size_t j = 0; j < a.columns(); ++j) t(j, i) = a(i, j);
  }
  return t;
}

/// A with everything on the other side of the diagonal spoilt: a triangular solve must not look there.
SquareMatrix spoilt(const Matrix& a, bool lower) {
  SquareMatrix result = to_square(a, a.rows() + 2);
  for (std::size_t i = 0; i < a.rows(); ++i) {
    for (std::size_t j = 0; j < a.rows(); ++j) {
      if (lower ? i < j : i > j) result[i][j] = kNaN;
    }
  }
  return result;
}

TEST(DenseTest, CholeskyFactorReproducesTheMatrix) {
  Random random(1);
  for (std::size_t n = 1; n <= 12; ++n) {
    const Matrix a = Matrix::positive_definite(n, 0.1, random);
    SquareMatrix l = to_square(a, n + 3);
    ASSERT_TRUE(cholesky(l, n));
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        double product = 0;
        for (std::size_t k = 0; k <= j; ++k) product += l[i][k] * l[j][k];
        EXPECT_NEAR(product, a(i, j), 1e-14) << n << ' ' << i << ' ' << j;
      }
    }
  }
}

TEST(DenseTest, CholeskyReadsTheLowerTriangleOnly) {
  Random random(2);
  const Matrix a = Matrix::positive_definite(5, 0.1, random);
  SquareMatrix l = spoilt(a, true);
  EXPECT_TRUE(cholesky(l, 5));
}

TEST(DenseTest, CholeskyRefusesAnIndefiniteMatrix) {
  SquareMatrix a = to_square(Matrix::identity(3), 3);
  a[2][0] = 2;
  EXPECT_FALSE(cholesky(a, 3));
}

TEST(DenseTest, CholeskyRefusesASingularMatrix) {
  SquareMatrix a(2);
  a[0][0] = a[1][0] = a[0][1] = a[1][1] = 1;
  EXPECT_FALSE(cholesky(a, 2));
}

TEST(DenseTest, CholeskyRefusesNaN) {
  SquareMatrix a = to_square(Matrix::identity(2), 2);
  a[1][0] = kNaN;
  EXPECT_FALSE(cholesky(a, 2));
}

TEST(DenseTest, CholeskyOfNothingSucceeds) {
  SquareMatrix a(0);
  EXPECT_TRUE(cholesky(a, 0));
}

class TriangularSolveTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  std::size_t n_ = GetParam();
  Random random_{n_};
  Matrix lower_ = triangle(n_, true, random_);
  Matrix upper_ = triangle(n_, false, random_);
  Vector solution_ = random_.vector(n_);
};

TEST_P(TriangularSolveTest, Lower) {
  Vector x = lower_ * solution_;
  solve_lower(spoilt(lower_, true), n_, x.data());
  EXPECT_LT(relative_difference(x, solution_), 1e-12);
}

TEST_P(TriangularSolveTest, LowerTransposed) {
  Vector x = transposed(lower_) * solution_;
  solve_lower_transposed(spoilt(lower_, true), n_, x.data());
  EXPECT_LT(relative_difference(x, solution_), 1e-12);
}

TEST_P(TriangularSolveTest, Upper) {
  Vector x = upper_ * solution_;
  solve_upper(spoilt(upper_, false), n_, x.data());
  EXPECT_LT(relative_difference(x, solution_), 1e-12);
}

TEST_P(TriangularSolveTest, UpperTransposed) {
  Vector x = transposed(upper_) * solution_;
  solve_upper_transposed(spoilt(upper_, false), n_, x.data());
  EXPECT_LT(relative_difference(x, solution_), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Orders, TriangularSolveTest, ::testing::Values(1, 2, 3, 7, 10));

TEST(DenseTest, DropFirstMovesEachElementUpAndLeft) {
  for (std::size_t n = 2; n <= 6; ++n) {
    SquareMatrix a(n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) a[i][j] = static_cast<double>(10 * i + j);
    }
    a.drop_first();
    for (std::size_t i = 0; i + 1 < n; ++i) {
      for (std::size_t j = 0; j + 1 < n; ++j) EXPECT_EQ(a[i][j], static_cast<double>(10 * (i + 1) + j + 1));
    }
  }
}

TEST(DenseTest, DropFirstOfASingleElementIsHarmless) {
  SquareMatrix a(1);
  a[0][0] = 3;
  a.drop_first();
  EXPECT_EQ(a[0][0], 3);
}

}  // namespace
}  // namespace tfminimize
