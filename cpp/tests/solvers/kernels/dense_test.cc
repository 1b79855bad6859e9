#include "solvers/kernels/dense.h"

#include <gtest/gtest.h>

#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers {
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

Matrix upper_triangle(std::size_t n, Random& random) {
  Matrix a(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      if (i == j) a(i, j) = random.uniform(1, 2);
      if (i < j) a(i, j) = random.uniform(-1, 1);
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

/// A with NaN below the diagonal, where a triangular solve must not look.
SquareMatrix spoilt(const Matrix& a) {
  SquareMatrix result = to_square(a, a.rows() + 2);
  for (std::size_t i = 0; i < a.rows(); ++i) {
    for (std::size_t j = 0; j < i; ++j) result[i][j] = kNaN;
  }
  return result;
}

TEST(DenseTest, CholeskyFactorReproducesTheMatrix) {
  Random random(1);
  for (std::size_t n = 1; n <= 12; ++n) {
    const Matrix a = Matrix::positive_definite(n, 0.1, random);
    SquareMatrix u = to_square(a, n + 3);
    Vector reciprocals(n);
    ASSERT_TRUE(cholesky(u, n, reciprocals.data()));
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(reciprocals[i], 1 / u[i][i]);
      for (std::size_t j = 0; j <= i; ++j) {
        double product = 0;
        for (std::size_t k = 0; k <= j; ++k) product += u[k][i] * u[k][j];
        EXPECT_NEAR(product, a(i, j), 1e-14) << n << ' ' << i << ' ' << j;
      }
    }
  }
}

TEST(DenseTest, CholeskyReadsTheUpperTriangleOnly) {
  Random random(2);
  const Matrix a = Matrix::positive_definite(5, 0.1, random);
  SquareMatrix u = spoilt(a);
  Vector reciprocals(5);
  EXPECT_TRUE(cholesky(u, 5, reciprocals.data()));
}

TEST(DenseTest, CholeskyRefusesAnIndefiniteMatrix) {
  SquareMatrix a = to_square(Matrix::identity(3), 3);
  a[0][2] = 2;
  Vector reciprocals(3);
  EXPECT_FALSE(cholesky(a, 3, reciprocals.data()));
}

TEST(DenseTest, CholeskyRefusesASingularMatrix) {
  SquareMatrix a(2);
  a[0][0] = a[1][0] = a[0][1] = a[1][1] = 1;
  Vector reciprocals(2);
  EXPECT_FALSE(cholesky(a, 2, reciprocals.data()));
}

TEST(DenseTest, CholeskyRefusesNaN) {
  SquareMatrix a = to_square(Matrix::identity(2), 2);
  a[0][1] = kNaN;
  Vector reciprocals(2);
  EXPECT_FALSE(cholesky(a, 2, reciprocals.data()));
}

TEST(DenseTest, CholeskyOfNothingSucceeds) {
  SquareMatrix a(0);
  EXPECT_TRUE(cholesky(a, 0, nullptr));
}

class TriangularSolveTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  std::size_t n_ = GetParam();
  Random random_{n_};
  Matrix upper_ = upper_triangle(n_, random_);
  Vector solution_ = random_.vector(n_);
  SquareMatrix u_ = spoilt(upper_);
  Vector reciprocals_ = Vector(n_);

  void SetUp() override { invert_diagonal(u_, n_, reciprocals_.data()); }
};

TEST_P(TriangularSolveTest, Upper) {
  Vector x = upper_ * solution_;
  solve_upper(u_, reciprocals_.data(), n_, x.data());
  EXPECT_LT(relative_difference(x, solution_), 1e-12);
}

TEST_P(TriangularSolveTest, UpperTransposed) {
  Vector x = transposed(upper_) * solution_;
  solve_upper_transposed(u_, reciprocals_.data(), n_, x.data());
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
}  // namespace tfminimize::solvers
