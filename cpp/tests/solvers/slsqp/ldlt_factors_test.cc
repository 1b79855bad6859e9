#include "solvers/slsqp/ldlt_factors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers {
namespace {

using testing::bfgs_matrix;
using testing::dot;
using testing::kNaN;
using testing::Matrix;
using testing::Pair;
using testing::Random;
using testing::relative_difference;
using testing::Vector;

/// A vector in the form that the factors take.
AlignedArray<double> room(const Vector& v, const LdltFactors& b, std::size_t count = 1) {
  AlignedArray<double> array = zeros(count * b.stride());
  std::copy(v.begin(), v.end(), array.data());
  return array;
}

/// The elements that belong to variables; the others must be zero.
Vector elements(const AlignedArray<double>& array, const LdltFactors& b) {
  for (std::size_t i = b.order(); i < array.size(); ++i) EXPECT_EQ(array[i], 0) << i;
  return {array.data(), array.data() + b.order()};
}

Vector product(const LdltFactors& b, const Vector& x) {
  const AlignedArray<double> in = room(x, b);
  const AlignedArray<double> out = zeros(b.stride());
  b.multiply(in.data(), out.data());
  return elements(out, b);
}

Vector to_factor_space(const LdltFactors& b, const Vector& x, std::size_t first = 0) {
  const AlignedArray<double> array = room(x, b);
  b.to_factor_space(array.data(), 1, first);
  return elements(array, b);
}

Vector from_factor_space(const LdltFactors& b, const Vector& x) {
  const AlignedArray<double> array = room(x, b);
  b.from_factor_space(array.data());
  return elements(array, b);
}

Vector flat(const Matrix& a) {
  Vector all;
  for (std::size_t i = 0; i < a.rows(); ++i) {
    for (std::size_t j = 0; j < a.columns(); ++j) all.push_back(a(i, j));
  }
  return all;
}

/// The columns of the matrix that the factors represent.
Vector dense(const LdltFactors& b) {
  Vector all;
  for (std::size_t j = 0; j < b.order(); ++j) {
    Vector unit(b.order());
    unit[j] = 1;
    const Vector column = product(b, unit);
    all.insert(all.end(), column.begin(), column.end());
  }
  return all;
}

LdltFactors factors(const Matrix& a) {
  LdltFactors b(a.rows());
  EXPECT_TRUE(b.factorize(flat(a)));
  return b;
}

TEST(ZerosTest, LengthIsThatOfWholeCacheLines) {
  for (const std::size_t size : {0, 1, 7, 8, 9, 64}) {
    const AlignedArray<double> array = zeros(size);
    EXPECT_EQ(array.size(), std::max<std::size_t>(8, (size + 7) / 8 * 8));
    EXPECT_TRUE(std::all_of(array.data(), array.data() + array.size(), [](double value) { return value == 0; }));
  }
}

class LdltFactorsTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  const std::size_t n_ = GetParam();
  Random random_{n_};
  Matrix a_ = Matrix::positive_definite(n_, 0.1, random_);
};

TEST_P(LdltFactorsTest, NewOnesAreTheIdentity) {
  const LdltFactors b(n_);
  EXPECT_EQ(b.order(), n_);
  EXPECT_EQ(dense(b), flat(Matrix::identity(n_)));
}

TEST_P(LdltFactorsTest, FactorizedMatrixIsThere) {
  const LdltFactors b = factors(a_);
  EXPECT_LT(relative_difference(dense(b), flat(a_)), 1e-14);
  const Vector x = random_.vector(n_);
  EXPECT_LT(relative_difference(product(b, x), a_ * x), 1e-13);
}

TEST_P(LdltFactorsTest, WayThroughTheFactorSpaceSolves) {
  const LdltFactors b = factors(a_);
  const Vector x = random_.vector(n_);
  EXPECT_LT(relative_difference(from_factor_space(b, to_factor_space(b, x)), a_.solve(x)), 1e-11);
}

TEST_P(LdltFactorsTest, SolveUndoesMultiply) {
  const LdltFactors b = factors(a_);
  const Vector x = random_.vector(n_);
  const AlignedArray<double> array = room(a_ * x, b);
  b.solve(array.data());
  EXPECT_LT(relative_difference(elements(array, b), x), 1e-11);
}

TEST_P(LdltFactorsTest, LengthInFactorSpaceIsThatOfTheInverse) {
  const LdltFactors b = factors(a_);
  const Vector x = random_.vector(n_);
  const Vector y = to_factor_space(b, x);
  EXPECT_NEAR(dot(y, y) / dot(x, a_.solve(x)), 1, 1e-12);
}

TEST_P(LdltFactorsTest, ManyVectorsGoTogetherAsEachByItself) {
  const LdltFactors b = factors(a_);
  for (std::size_t count = 1; count <= 6; ++count) {
    const AlignedArray<double> together = zeros(count * b.stride());
    std::vector<Vector> vectors;
    for (std::size_t k = 0; k < count; ++k) {
      vectors.push_back(random_.vector(n_));
      std::copy(vectors[k].begin(), vectors[k].end(), together.data() + k * b.stride());
    }
    b.to_factor_space(together.data(), count);
    for (std::size_t k = 0; k < count; ++k) {
      const double* actual = together.data() + k * b.stride();
      EXPECT_LT(relative_difference(Vector(actual, actual + n_), to_factor_space(b, vectors[k])), 1e-14);
    }
  }
}

TEST_P(LdltFactorsTest, LeadingZerosNeedNotBeLookedAt) {
  const LdltFactors b = factors(a_);
  for (std::size_t first = 0; first < n_; first += 8) {
    Vector x = random_.vector(n_);
    std::fill_n(x.begin(), first, 0.0);
    EXPECT_EQ(to_factor_space(b, x, first), to_factor_space(b, x));
  }
}

TEST_P(LdltFactorsTest, UpdatesAddAndTakeAway) {
  LdltFactors b = factors(a_);
  for (const double sigma : {0.5, 30.0, 1e-3}) {
    const Vector z = random_.vector(n_);
    Matrix sum = a_;
    for (std::size_t i = 0; i < n_; ++i) {
      for (std::size_t j = 0; j < n_; ++j) sum(i, j) += sigma * z[i] * z[j];
    }
    b.update(sigma, room(z, b).data());
    EXPECT_LT(relative_difference(dense(b), flat(sum)), 1e-12) << sigma;
    b.update(-sigma, room(z, b).data());
    EXPECT_LT(relative_difference(dense(b), flat(a_)), 1e-11) << sigma;
  }
}

TEST_P(LdltFactorsTest, ManyUpdatesOfBfgsStayAccurate) {
  LdltFactors b(n_);
  std::vector<Pair> pairs;
  for (int k = 0; k < 60; ++k) {
    const Vector s = random_.vector(n_);
    pairs.push_back({s, a_ * s});
    const Vector bs = product(b, s);
    const double curvature = dot(s, bs);
    b.update(1 / dot(s, pairs.back().y), room(pairs.back().y, b).data());
    b.update(-1 / curvature, room(bs, b).data());
  }
  EXPECT_LT(relative_difference(dense(b), flat(bfgs_matrix(n_, 1, pairs))), 1e-10);
  EXPECT_LT(relative_difference(product(b, pairs.back().s), pairs.back().y), 1e-11);
}

TEST_P(LdltFactorsTest, UpdateThatRoundingMakesSingularStaysPositive) {
  // a_ - zzᵀ/(zᵀa_⁻¹z) is singular; a little more would be indefinite.
  for (const double excess : {1.0, 1 + 1e-15, 1 + 1e-12}) {
    LdltFactors b = factors(a_);
    const Vector z = random_.vector(n_);
    b.update(-excess / dot(z, a_.solve(z)), room(z, b).data());
    for (std::size_t i = 0; i < n_; ++i) {
      EXPECT_GT(b.d()[i], 0) << excess;
      EXPECT_TRUE(std::isfinite(b.d()[i]));
    }
    for (const double value : to_factor_space(b, random_.vector(n_))) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_P(LdltFactorsTest, AdditionalVariableIsCoupledToNoOther) {
  LdltFactors b = factors(a_);
  const Vector before = dense(b);
  b.extend(400);
  ASSERT_EQ(b.order(), n_ + 1);
  Vector x = random_.vector(n_ + 1);
  Vector expected = a_ * Vector(x.begin(), x.end() - 1);
  expected.push_back(400 * x[n_]);
  EXPECT_LT(relative_difference(product(b, x), expected), 1e-13);
  EXPECT_LT(relative_difference(from_factor_space(b, to_factor_space(b, expected)), x), 1e-11);
  b.shrink();
  EXPECT_EQ(b.order(), n_);
  EXPECT_EQ(dense(b), before);
  x.pop_back();
  EXPECT_LT(relative_difference(from_factor_space(b, to_factor_space(b, x)), a_.solve(x)), 1e-11);
}

TEST_P(LdltFactorsTest, UpdateAfterAnExtensionForgetsTheAdditionalVariable) {
  LdltFactors b = factors(a_);
  LdltFactors never_extended = factors(a_);
  b.extend(400);
  b.shrink();
  const Vector z = random_.vector(n_);
  b.update(0.5, room(z, b).data());
  never_extended.update(0.5, room(z, never_extended).data());
  EXPECT_EQ(dense(b), dense(never_extended));
  EXPECT_EQ(to_factor_space(b, z), to_factor_space(never_extended, z));
}

TEST_P(LdltFactorsTest, IdentityForgetsEverything) {
  LdltFactors b = factors(a_);
  b.set_identity();
  EXPECT_EQ(dense(b), flat(Matrix::identity(n_)));
  const Vector x = random_.vector(n_);
  EXPECT_EQ(to_factor_space(b, x), x);
}

TEST_P(LdltFactorsTest, PiecesThatAreVisitedAreAllThereIs) {
  LdltFactors original = factors(a_);
  std::vector<double> pieces;
  original.visit_state([&](const double* piece, std::size_t bytes) {
    pieces.insert(pieces.end(), piece, piece + bytes / sizeof(double));
  });
  LdltFactors copy(n_);
  const double* next = pieces.data();
  copy.visit_state([&](double* piece, std::size_t bytes) {
    std::copy_n(next, bytes / sizeof(double), piece);
    next += bytes / sizeof(double);
  });
  const Vector x = random_.vector(n_);
  EXPECT_EQ(product(copy, x), product(original, x));
  EXPECT_EQ(to_factor_space(copy, x), to_factor_space(original, x));
  EXPECT_EQ(from_factor_space(copy, x), from_factor_space(original, x));
}

TEST_P(LdltFactorsTest, MatrixThatIsNotPositiveDefiniteIsRefused) {
  for (const double pivot : {0.0, -1.0, kNaN}) {
    for (std::size_t i = 0; i < n_; ++i) {
      Matrix a = Matrix::identity(n_);
      a(i, i) = pivot;
      EXPECT_FALSE(LdltFactors(n_).factorize(flat(a)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, LdltFactorsTest, ::testing::Values(1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33));

}  // namespace
}  // namespace tfminimize::solvers
