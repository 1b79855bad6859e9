#include "solvers/slsqp/quadratic_program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "solvers/slsqp/ldlt_factors.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers {
namespace {

using testing::dot;
using testing::kEps;
using testing::kInf;
using testing::Random;
using testing::Vector;

/// The rows of a random program, and the same rows written out.
class ConstraintRowsTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  using Row = ConstraintRows::Row;

  ConstraintRowsTest() {
    program_.constraints = constraints_;
    program_.jacobian = {jacobian_.data(), jacobian_.size()};
    program_.num_equalities = 2;
    program_.lower = lower_;
    program_.upper = upper_;
    for (std::size_t i = 0; i < kConstraints; ++i) {
      for (std::size_t k = 0; k < n_; ++k) jacobian_[i * padded(n_) + k] = random_.uniform(-1, 1);
    }
    rows_.set_program(program_);
  }
  /// A dense vector in the form that the rows take.
  AlignedArray<double> room(const Vector& x) const {
    AlignedArray<double> array = zeros(padded(n_ + 1));
    std::copy(x.begin(), x.end(), array.data());
    return array;
  }
  void relax() {
    program_.relaxation = relaxation_;
    rows_.set_program(program_);
  }
  /// n_i, with the element of the additional variable.
  Vector normal(Row row) const {
    Vector v(n_ + 1);
    if (row < kConstraints) {
      for (std::size_t k = 0; k < n_; ++k) v[k] = jacobian_[row * padded(n_) + k];
      if (!program_.relaxation.empty()) v[n_] = relaxation_[row];
    }
    for (std::size_t k = 0; k <= n_; ++k) {
      if (row == rows_.lower(k)) v[k] = 1;
      if (row == rows_.upper(k)) v[k] = -1;
    }
    return v;
  }
  void check(Row row, const Vector& s) {
    const Vector expected = normal(row);
    const AlignedArray<double> v = zeros(padded(n_ + 1));
    rows_.write_normal(row, v.data());
    EXPECT_EQ(Vector(v.data(), v.data() + n_ + 1), expected);
    for (std::size_t k = 0; k < rows_.first_nonzero(row); ++k) EXPECT_EQ(expected[k], 0);
    rows_.add_normal(row, -1, v.data());
    for (std::size_t k = 0; k < v.size(); ++k) EXPECT_EQ(v[k], 0);
    EXPECT_NEAR(rows_.length(row), std::sqrt(dot(expected, expected)), 1e-14);
    const AlignedArray<double> x = room(s);
    EXPECT_NEAR(rows_.product(row, x.data()), dot(expected, s), 1e-14);
    rows_.evaluate(x.data());
    EXPECT_NEAR(rows_.s_length(), std::sqrt(dot(s, s)), 1e-14);
    EXPECT_NEAR(rows_.slack(row), dot(expected, s) - rows_.bound(row), 1e-13);
    EXPECT_GE(rows_.scale(row), std::abs(rows_.slack(row)) * (1 - 1e-14));
    EXPECT_EQ(rows_.is_violated(row), rows_.slack(row) < -100 * kEps * rows_.scale(row));
  }

  static constexpr std::size_t kConstraints = 5;
  const std::size_t n_ = GetParam();
  Random random_{n_};
  Vector constraints_ = random_.vector(kConstraints);
  testing::AlignedVector<double> jacobian_ = testing::AlignedVector<double>(kConstraints * padded(n_));
  Vector lower_ = random_.vector(n_, -2, 0);
  Vector upper_ = random_.vector(n_, 0, 2);
  Vector relaxation_ = random_.vector(kConstraints);
  QuadraticProgram program_;
  ConstraintRows rows_{n_, kConstraints};
};

TEST_P(ConstraintRowsTest, RowsAreThoseOfTheProgram) {
  const Vector s = random_.vector(n_ + 1, -3, 3);
  Vector without = s;
  without[n_] = 0;
  for (Row row = 0; row < rows_.end(); ++row) check(row, without);
  relax();
  for (Row row = 0; row < rows_.end(); ++row) check(row, s);
}

TEST_P(ConstraintRowsTest, BoundsHaveTheirSigns) {
  for (Row row = 0; row < kConstraints; ++row) EXPECT_EQ(rows_.bound(row), -constraints_[row]);
  for (std::size_t k = 0; k < n_; ++k) {
    EXPECT_EQ(rows_.bound(rows_.lower(k)), lower_[k]);
    EXPECT_EQ(rows_.bound(rows_.upper(k)), -upper_[k]);
  }
  EXPECT_EQ(rows_.bound(rows_.lower(n_)), 0);  // The additional variable is in [0, 1].
  EXPECT_EQ(rows_.bound(rows_.upper(n_)), -1);
}

TEST_P(ConstraintRowsTest, InequalitiesAreListedInOrder) {
  lower_[0] = -kInf;
  upper_[n_ - 1] = kInf;
  std::vector<Row> expected = {2, 3, 4};
  for (std::size_t k = 1; k < n_; ++k) expected.push_back(rows_.lower(k));
  for (std::size_t k = 0; k + 1 < n_; ++k) expected.push_back(rows_.upper(k));
  std::vector<Row> listed = {77};
  rows_.list_inequalities(listed);
  EXPECT_EQ(listed, expected);
  for (const Row row : listed) EXPECT_FALSE(rows_.is_equality(row));
  EXPECT_TRUE(rows_.is_equality(0));
  EXPECT_TRUE(rows_.is_equality(1));
  relax();
  rows_.list_inequalities(listed);
  EXPECT_EQ(listed.size(), expected.size() + 2);
  EXPECT_EQ(listed.back(), rows_.upper(n_));
}

TEST_P(ConstraintRowsTest, RoundingIsNoViolation) {
  const AlignedArray<double> x = zeros(padded(n_ + 1));
  x[0] = lower_[0] * (1 + 4 * kEps);
  rows_.evaluate(x.data());
  EXPECT_FALSE(rows_.is_violated(rows_.lower(0)));
  x[0] = lower_[0] * (1 + 1e-9);
  rows_.evaluate(x.data());
  EXPECT_TRUE(rows_.is_violated(rows_.lower(0)));
}

INSTANTIATE_TEST_SUITE_P(Sizes, ConstraintRowsTest, ::testing::Values(1, 2, 7, 8, 9, 16, 17));

}  // namespace
}  // namespace tfminimize::solvers
