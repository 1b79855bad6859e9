// Compares each dense kernel with plain loops. dense_kernel_levels_test.cc tests that every level gives the same bits.

#include "solvers/kernels/dense_kernels.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/solvers/kernels/dense_problem.h"

namespace tfminimize::solvers {
namespace {

using testing::DenseProblem;
using testing::Matrix;
using testing::relative_difference;
using testing::Vector;

constexpr double kTolerance = 1e-13;

class DenseKernelsTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  static Vector elements(const testing::Guarded<double>& vector, std::size_t n) {
    return {vector.data(), vector.data() + n};
  }
  static Vector elements(const Matrix& matrix) {
    Vector all;
    for (std::size_t i = 0; i < matrix.rows(); ++i) {
      for (std::size_t j = 0; j < matrix.columns(); ++j) all.push_back(matrix(i, j));
    }
    return all;
  }
  static void expect_close(const Vector& actual, const Vector& expected) {
    EXPECT_LE(relative_difference(actual, expected), kTolerance);
  }
  void TearDown() override {
    EXPECT_TRUE(p_.guards_are_intact());
    EXPECT_TRUE(p_.padding_is_intact());
  }
  /// L·D·Lᵀ + z·zᵀ/t with z = x, computed by the kernel and by a plain loop.
  void expect_updated(double t, bool with_next) {
    Matrix expected = p_.product();
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t j = 0; j < n_; ++j) expected(i, j) += p_.x[i] * p_.x[j] / t;
    }
    if (with_next) p_.fill_next(t);
    kernels_.update(n_, p_.l.data(), p_.stride, p_.d.data(), t, with_next ? p_.next.data() : nullptr, p_.x.data());
    expect_close(elements(p_.product()), elements(expected));
    for (std::size_t i = 0; i < n_; ++i) EXPECT_GT(p_.d[i], 0);
  }

  const std::size_t n_ = GetParam();
  DenseProblem p_{n_, n_ % 3};
  const DenseKernels& kernels_ = dense_kernels();
};

TEST_P(DenseKernelsTest, DotIsTheSumOfProducts) {
  double expected = 0;
  double size = 0;
  for (std::size_t i = 0; i < n_; ++i) expected += p_.x[i] * p_.y[i];
  for (std::size_t i = 0; i < n_; ++i) size += std::abs(p_.x[i] * p_.y[i]);
  EXPECT_NEAR(kernels_.dot(n_, p_.x.data(), p_.y.data()), expected, kTolerance * size);
}

TEST_P(DenseKernelsTest, AddIsExact) {
  Vector expected = elements(p_.y, n_);
  for (std::size_t i = 0; i < n_; ++i) expected[i] += -0.75 * p_.x[i];
  kernels_.add(n_, -0.75, p_.x.data(), p_.y.data());
  expect_close(elements(p_.y, n_), expected);
}

TEST_P(DenseKernelsTest, RotateTurnsBothVectors) {
  Vector x = elements(p_.x, n_);
  Vector y = elements(p_.y, n_);
  for (std::size_t i = 0; i < n_; ++i) {
    x[i] = 0.6 * p_.x[i] + 0.8 * p_.y[i];
    y[i] = 0.6 * p_.y[i] - 0.8 * p_.x[i];
  }
  kernels_.rotate(n_, 0.6, 0.8, p_.x.data(), p_.y.data());
  expect_close(elements(p_.x, n_), x);
  expect_close(elements(p_.y, n_), y);
}

TEST_P(DenseKernelsTest, MultiplyGivesTheProductsOfAllRows) {
  for (std::size_t rows = 0; rows <= DenseProblem::kRows; ++rows) {
    std::fill_n(p_.products.data(), p_.products.size(), 0.25);
    kernels_.multiply(rows, n_, p_.a.data(), p_.stride, p_.x.data(), p_.products.data());
    for (std::size_t k = 0; k < DenseProblem::kRows; ++k) {
      double expected = k < rows ? 0 : 0.25;
      for (std::size_t i = 0; i < n_ && k < rows; ++i) expected += p_.row(k, i) * p_.x[i];
      EXPECT_NEAR(p_.products[k], expected, kTolerance * static_cast<double>(n_ + 1)) << k << " of " << rows;
    }
  }
}

TEST_P(DenseKernelsTest, MultiplyTransposedAddsTheRows) {
  for (std::size_t rows = 0; rows <= DenseProblem::kRows; ++rows) {
    Vector expected = elements(p_.y, n_);
    for (std::size_t k = 0; k < rows; ++k) {
      for (std::size_t i = 0; i < n_; ++i) expected[i] += p_.coefficients[k] * p_.row(k, i);
    }
    kernels_.multiply_transposed(rows, n_, p_.a.data(), p_.stride, p_.coefficients.data(), p_.y.data());
    expect_close(elements(p_.y, n_), expected);
  }
}

TEST_P(DenseKernelsTest, SolveUndoesL) {
  Vector product(n_);
  for (std::size_t i = 0; i < n_; ++i) {
    for (std::size_t j = 0; j <= i; ++j) product[i] += p_.lower(i, j) * p_.x[j];
  }
  const Vector expected = elements(p_.x, n_);
  std::copy(product.begin(), product.end(), p_.x.data());
  kernels_.solve(n_, p_.l.data(), p_.stride, 0, 1, p_.x.data(), p_.stride);
  expect_close(elements(p_.x, n_), expected);
}

TEST_P(DenseKernelsTest, SolveTakesManyVectorsAndSkipsLeadingZeros) {
  for (const std::size_t first : {std::size_t{0}, std::size_t{8}, std::size_t{24}}) {
    if (first >= n_) continue;
    for (std::size_t count = 0; count <= DenseProblem::kRows; ++count) {
      DenseProblem p(n_, n_ % 3);
      for (std::size_t k = 0; k < count; ++k) std::fill_n(p.a.data() + k * p.stride, first, 0.0);
      const DenseProblem before = p;
      kernels_.solve(n_, p.l.data(), p.stride, first, count, p.a.data(), p.stride);
      for (std::size_t k = 0; k < DenseProblem::kRows; ++k) {
        // L·(L⁻¹v) = v for those that were asked for.
        Vector product(n_);
        for (std::size_t i = 0; i < n_; ++i) {
          if (k >= count) product[i] = p.row(k, i);
          for (std::size_t j = 0; j <= i && k < count; ++j) product[i] += p.lower(i, j) * p.row(k, j);
        }
        const double* row = before.a.data() + k * before.stride;
        expect_close(product, Vector(row, row + n_));
      }
      EXPECT_TRUE(p.guards_are_intact());
      EXPECT_TRUE(p.padding_is_intact());
    }
  }
}

TEST_P(DenseKernelsTest, SolveTransposedUndoesTheTransposeOfL) {
  Vector product(n_);
  for (std::size_t i = 0; i < n_; ++i) {
    for (std::size_t j = i; j < n_; ++j) product[i] += p_.lower(j, i) * p_.x[j];
  }
  const Vector expected = elements(p_.x, n_);
  std::copy(product.begin(), product.end(), p_.x.data());
  kernels_.solve_transposed(n_, p_.l.data(), p_.stride, p_.x.data());
  expect_close(elements(p_.x, n_), expected);
}

TEST_P(DenseKernelsTest, UpdateAddsAMatrixOfRankOne) { expect_updated(3, false); }

TEST_P(DenseKernelsTest, UpdateAddsALargeMatrixOfRankOne) {
  expect_updated(0.01, false);  // d grows by more than four times.
}

TEST_P(DenseKernelsTest, UpdateTakesAMatrixOfRankOneAway) {
  // B - zzᵀ/|t| is positive definite while zᵀB⁻¹z < |t|.
  p_.fill_next(0);
  expect_updated(-2 * (p_.next[n_ - 1] + 0.01), true);
}

TEST_P(DenseKernelsTest, UpdateByZeroChangesNothing) {
  const DenseProblem before = p_;
  std::fill_n(p_.x.data(), n_, 0.0);
  kernels_.update(n_, p_.l.data(), p_.stride, p_.d.data(), 2, nullptr, p_.x.data());
  EXPECT_EQ(elements(p_.l, p_.l.size()), elements(before.l, before.l.size()));
  EXPECT_EQ(elements(p_.d, p_.d.size()), elements(before.d, before.d.size()));
}

TEST(DenseKernelsUpdateTest, TinyPivotBesideALargeElementIsUpdatedAccurately) {
  // [d, d·l; d·l, d·l² + 1] + zzᵀ with d·l² = 1, one line away or in the same.
  for (const std::size_t other : {1, 7, 12}) {
    DenseProblem p(13);
    std::fill_n(p.l.data(), p.l.size(), 0.0);
    std::fill_n(p.d.data(), p.d.size(), 1.0);
    std::fill_n(p.x.data(), p.x.size(), 0.0);
    p.d[0] = 1e-16;
    p.l[other] = 1e8;
    p.x[0] = p.x[other] = 1;
    dense_kernels().update(13, p.l.data(), p.stride, p.d.data(), 1, nullptr, p.x.data());
    const Matrix b = p.product();
    EXPECT_NEAR(b(0, 0), 1, 1e-15);
    EXPECT_NEAR(b(other, 0), 1 + 1e-8, 1e-15);
    EXPECT_NEAR(b(other, other), 3, 1e-14);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, DenseKernelsTest,
                         ::testing::Values(1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 24, 31, 32, 33, 40, 63, 65, 129));

TEST(DenseKernelsPaddingTest, VectorsEndAtACacheLine) {
  EXPECT_EQ(padded(0), 0U);
  EXPECT_EQ(padded(1), 8U);
  EXPECT_EQ(padded(8), 8U);
  EXPECT_EQ(padded(9), 16U);
}

}  // namespace
}  // namespace tfminimize::solvers
