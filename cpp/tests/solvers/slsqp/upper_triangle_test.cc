#include "solvers/slsqp/upper_triangle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers {
namespace {

using testing::Matrix;
using testing::Random;
using testing::relative_difference;
using testing::Vector;

/// Makes it a well-conditioned triangle of n columns.
void fill(UpperTriangle& r, std::size_t n, Random& random) {
  for (std::size_t j = 0; j < n; ++j) {
    const double size = 1 / std::sqrt(static_cast<double>(n));
    r.append(random.vector(j, -size, size).data(), random.uniform(0.5, 2));
  }
}

/// RᵀR, element by element.
Vector gram(const UpperTriangle& r) {
  Vector all;
  for (std::size_t i = 0; i < r.size(); ++i) {
    for (std::size_t j = 0; j < r.size(); ++j) {
      double sum = 0;
      for (std::size_t k = 0; k <= std::min(i, j); ++k) sum += r(k, i) * r(k, j);
      all.push_back(sum);
    }
  }
  return all;
}

class UpperTriangleTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  UpperTriangleTest() { fill(r_, n_, random_); }

  const std::size_t n_ = GetParam();
  Random random_{n_};
  UpperTriangle r_{n_};
};

TEST_P(UpperTriangleTest, SolveUndoesR) {
  const Vector x = random_.vector(n_);
  Vector product(n_);
  for (std::size_t i = 0; i < n_; ++i) {
    for (std::size_t j = i; j < n_; ++j) product[i] += r_(i, j) * x[j];
  }
  r_.solve(product.data());
  EXPECT_LT(relative_difference(product, x), 1e-12);
}

TEST_P(UpperTriangleTest, SolveTransposedUndoesTheTranspose) {
  const Vector x = random_.vector(n_);
  Vector product(n_);
  for (std::size_t i = 0; i < n_; ++i) {
    for (std::size_t j = 0; j <= i; ++j) product[i] += r_(j, i) * x[j];
  }
  r_.solve_transposed(product.data());
  EXPECT_LT(relative_difference(product, x), 1e-12);
}

TEST_P(UpperTriangleTest, FactorizesAMatrix) {
  const Vector k = gram(r_);
  UpperTriangle factor(n_ + 1);
  fill(factor, n_ / 2, random_);  // It forgets what it was.
  ASSERT_TRUE(factor.factorize(n_, 1e-8, [&](std::size_t i, double* row) {
    for (std::size_t j = i; j < n_; ++j) row[j] = k[i * n_ + j];
  }));
  EXPECT_LT(relative_difference(gram(factor), k), 1e-13);
  for (std::size_t i = 0; i < n_; ++i) EXPECT_NEAR(factor(i, i), r_(i, i), 1e-9);
  factor.append(random_.vector(n_).data(), 1);
  factor.remove(n_, [](std::size_t, double, double) {});
  EXPECT_LT(relative_difference(gram(factor), k), 1e-13);
}

TEST_P(UpperTriangleTest, FactorizesOnlyWhatIsClearlyPositiveDefinite) {
  for (const double last : {1.0, 1 + 1e-9, 0.5, std::nan("")}) {
    UpperTriangle factor(n_ + 1);
    const bool found = factor.factorize(n_ + 1, 1e-8, [&](std::size_t i, double* row) {
      row[i] = 1;
      if (i + 1 == n_) row[n_] = 1;
      if (i == n_) row[n_] = last;
    });
    EXPECT_FALSE(found) << last;
  }
}

TEST_P(UpperTriangleTest, RemovedColumnLeavesATriangleOfTheOthers) {
  for (std::size_t removed = 0; removed < n_; ++removed) {
    UpperTriangle r(n_);
    r = r_;
    Vector expected;
    const Vector before = gram(r);
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t j = 0; j < n_; ++j) {
        if (i != removed && j != removed) expected.push_back(before[i * n_ + j]);
      }
    }
    std::size_t next = removed;
    r.remove(removed, [&](std::size_t j, double c, double s) {
      EXPECT_EQ(j, next++);
      EXPECT_NEAR(c * c + s * s, 1, 1e-15);
    });
    EXPECT_EQ(next, n_ - 1);
    ASSERT_EQ(r.size(), n_ - 1);
    EXPECT_LT(relative_difference(gram(r), expected), 1e-13);
    for (std::size_t i = 0; i < r.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) EXPECT_EQ(r(i, j), 0);
    }
  }
}

TEST_P(UpperTriangleTest, UpdatesAddAndTakeAway) {
  const Vector before = gram(r_);
  for (const double sigma : {2.0, 1e-3, 50.0}) {
    const Vector x = random_.vector(n_);
    Vector expected = before;
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t j = 0; j < n_; ++j) expected[i * n_ + j] += sigma * x[i] * x[j];
    }
    Vector destroyed = x;
    EXPECT_TRUE(r_.update(sigma, destroyed.data()));
    EXPECT_LT(relative_difference(gram(r_), expected), 1e-13);
    destroyed = x;
    EXPECT_TRUE(r_.update(-sigma, destroyed.data()));
    EXPECT_LT(relative_difference(gram(r_), before), 1e-11);
  }
}

TEST_P(UpperTriangleTest, UpdateToAnIndefiniteMatrixIsRefused) {
  Vector x(n_);
  x[n_ / 2] = 100;
  EXPECT_FALSE(r_.update(-1, x.data()));
}

TEST_P(UpperTriangleTest, CopyIsOfItsOwn) {
  UpperTriangle copy(n_);
  copy = r_;
  const Vector before = gram(r_);
  EXPECT_EQ(gram(copy), before);
  const UpperTriangle& itself = copy;
  copy = itself;
  EXPECT_EQ(gram(copy), before);
  copy.clear();
  copy.append(nullptr, 7);
  EXPECT_EQ(gram(copy), Vector{49});
  EXPECT_EQ(gram(r_), before);
  copy = r_;
  EXPECT_EQ(gram(copy), before);
}

TEST_P(UpperTriangleTest, PiecesThatAreVisitedAreAllThereIs) {
  std::vector<unsigned char> pieces;
  r_.visit_state([&](const void* piece, std::size_t bytes) {
    const auto* begin = static_cast<const unsigned char*>(piece);
    pieces.insert(pieces.end(), begin, begin + bytes);
  });
  // Into one that is empty, one that is smaller and one that is larger.
  for (const std::size_t size : {std::size_t{0}, n_ / 2, n_ + 9}) {
    UpperTriangle copy(n_ + 9);
    fill(copy, size, random_);
    const unsigned char* next = pieces.data();
    copy.visit_state([&](void* piece, std::size_t bytes) {
      std::copy_n(next, bytes, static_cast<unsigned char*>(piece));
      next += bytes;
    });
    EXPECT_EQ(next, pieces.data() + pieces.size());
    EXPECT_EQ(gram(copy), gram(r_));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, UpperTriangleTest, ::testing::Values(1, 2, 3, 7, 8, 9, 16, 17, 40, 120));

}  // namespace
}  // namespace tfminimize::solvers
