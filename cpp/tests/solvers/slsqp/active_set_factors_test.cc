#include "solvers/slsqp/active_set_factors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "solvers/slsqp/ldlt_factors.h"
#include "tests/solvers/kernels/reference.h"

namespace tfminimize::solvers {
namespace {

using testing::dot;
using testing::Random;
using testing::relative_difference;
using testing::Vector;

/// Columns and their factors.
class Columns {
 public:
  explicit Columns(std::size_t n) : n_(n), factors(padded(n), n) {}

  /// Appends a column unless it depends on the others. Its part orthogonal to them must be at least this long.
  bool append(const Vector& column, double shortest = 0) {
    const AlignedArray<double> v = room(column);
    const AlignedArray<double> z = zeros(padded(n_));
    Vector d(factors.size() + 1);
    const double norm = factors.project(v.data(), d.data(), z.data());
    const Vector rest(z.data(), z.data() + n_);
    EXPECT_NEAR(norm, std::sqrt(dot(rest, rest)), 1e-14 * norm);
    Vector sum = rest;
    for (std::size_t i = 0; i < factors.size(); ++i) {
      EXPECT_NEAR(dot(q(i), rest), 0, 1e-14 * std::sqrt(dot(column, column)));
      for (std::size_t k = 0; k < n_; ++k) sum[k] += d[i] * q(i)[k];
    }
    EXPECT_LT(relative_difference(sum, column), 1e-13);
    if (norm <= shortest) return false;
    factors.append(d.data(), z.data(), norm);
    columns_.push_back(column);
    alpha_.push_back(dot(q(factors.size() - 1), target_));
    return true;
  }
  void remove(std::size_t index) {
    factors.remove(index, alpha_.data());
    columns_.erase(columns_.begin() + static_cast<std::ptrdiff_t>(index));
    // The removed row is orthogonal to the rows of the factors, and it has its element of alpha too.
    const Vector last = q(factors.size());
    for (std::size_t i = 0; i < factors.size(); ++i) EXPECT_NEAR(dot(q(i), last), 0, 1e-12);
    EXPECT_NEAR(alpha_.back(), dot(last, target_), 1e-12);
    alpha_.pop_back();
  }
  /// check() expects alpha to be Qᵀ·target.
  void set_target(const Vector& target) { target_ = target; }

  void check() const {
    ASSERT_EQ(factors.size(), columns_.size());
    for (std::size_t j = 0; j < columns_.size(); ++j) {
      Vector sum(n_);
      for (std::size_t i = 0; i < columns_.size(); ++i) {
        if (i <= j) {
          for (std::size_t k = 0; k < n_; ++k) sum[k] += q(i)[k] * factors.r()(i, j);
        } else {
          EXPECT_EQ(factors.r()(i, j), 0);
        }
        EXPECT_NEAR(dot(q(i), q(j)), i == j ? 1 : 0, 1e-13);
      }
      EXPECT_LT(relative_difference(sum, columns_[j]), 1e-12);
      EXPECT_NEAR(alpha_[j], dot(q(j), target_), 1e-12);
    }
  }
  std::size_t size() const { return columns_.size(); }
  const Vector& column(std::size_t j) const { return columns_[j]; }
  Vector q(std::size_t i) const { return {factors.q(i), factors.q(i) + n_}; }

 private:
  AlignedArray<double> room(const Vector& v) const {
    AlignedArray<double> array = zeros(padded(n_));
    std::copy(v.begin(), v.end(), array.data());
    return array;
  }

  std::size_t n_;
  std::vector<Vector> columns_;
  Vector target_ = Vector(n_);
  Vector alpha_;

 public:
  ActiveSetFactors factors;
};

class ActiveSetFactorsTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  ActiveSetFactorsTest() { columns_.set_target(random_.vector(n_)); }

  const std::size_t n_ = GetParam();
  Random random_{n_};
  Columns columns_{n_};
};

TEST_P(ActiveSetFactorsTest, ColumnsCome) {
  EXPECT_EQ(columns_.size(), 0U);
  while (columns_.size() < n_) {
    ASSERT_TRUE(columns_.append(random_.vector(n_)));
    columns_.check();
  }
}

TEST_P(ActiveSetFactorsTest, ColumnsGo) {
  for (std::size_t removed = 0; removed < n_; ++removed) {
    while (columns_.size() < n_) columns_.append(random_.vector(n_));
    columns_.remove(removed);
    columns_.check();
  }
  while (columns_.size() > 0) {
    columns_.remove(random_.below(columns_.size()));
    columns_.check();
  }
}

TEST_P(ActiveSetFactorsTest, ManyChangesStayAccurate) {
  for (int change = 0; change < 500; ++change) {
    const bool comes = columns_.size() == 0 || (columns_.size() < n_ && random_.chance(0.55));
    if (comes) {
      columns_.append(random_.vector(n_), 1e-3);
    } else {
      columns_.remove(random_.below(columns_.size()));
    }
  }
  columns_.check();
}

TEST_P(ActiveSetFactorsTest, DependentColumnHasNoRest) {
  columns_.append(random_.vector(n_));
  Vector twice = columns_.column(0);
  for (double& value : twice) value *= 2;
  EXPECT_FALSE(columns_.append(twice, 1e-15));
  columns_.check();
}

TEST_P(ActiveSetFactorsTest, CombinationIsAdded) {
  while (2 * columns_.size() < n_) columns_.append(random_.vector(n_));
  const Vector x = random_.vector(columns_.size());
  const AlignedArray<double> y = zeros(padded(n_));
  y[0] = 3;
  columns_.factors.add_combination(x.data(), y.data());
  Vector expected(n_);
  expected[0] = 3;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t k = 0; k < n_; ++k) expected[k] += x[i] * columns_.q(i)[k];
  }
  EXPECT_LT(relative_difference(Vector(y.data(), y.data() + n_), expected), 1e-14);
}

TEST_P(ActiveSetFactorsTest, ClearedFactorsBeginAnew) {
  while (columns_.size() < n_) columns_.append(random_.vector(n_));
  columns_.factors.clear();
  EXPECT_EQ(columns_.factors.size(), 0U);
  const Vector v = random_.vector(n_);
  const AlignedArray<double> in = zeros(padded(n_));
  const AlignedArray<double> rest = zeros(padded(n_));
  std::copy(v.begin(), v.end(), in.data());
  columns_.factors.project(in.data(), nullptr, rest.data());
  EXPECT_EQ(Vector(rest.data(), rest.data() + n_), v);
}

INSTANTIATE_TEST_SUITE_P(Sizes, ActiveSetFactorsTest, ::testing::Values(1, 2, 3, 7, 8, 9, 16, 17, 40, 120));

TEST(DependentColumnsTest, NearlyDependentColumnIsSplitAccurately) {
  Random random(1);
  for (const std::size_t n : {3, 8, 17}) {
    for (const double rest : {1e-4, 1e-8, 1e-12}) {
      Columns columns(n);
      columns.append(random.vector(n));
      columns.append(random.vector(n));
      Vector sum = random.vector(n, -rest, rest);
      for (std::size_t k = 0; k < n; ++k) sum[k] += columns.column(0)[k] - 2 * columns.column(1)[k];
      columns.append(sum);
      columns.check();
    }
  }
}

TEST(ActiveSetFactorsRoomTest, VectorsStayWhileTheRoomGrows) {
  constexpr std::size_t kColumns = 300;  // more than it begins with
  Columns columns(kColumns);
  columns.append(Vector(kColumns, 1.0));
  double* room = columns.factors.room_for(3, 0);
  EXPECT_EQ(columns.factors.size(), 0U);
  const std::size_t stride = padded(kColumns);
  for (std::size_t i = 0; i < 3 * stride; ++i) room[i] = static_cast<double>(i);
  room = columns.factors.room_for(kColumns, 3);
  for (std::size_t i = 0; i < 3 * stride; ++i) ASSERT_EQ(room[i], static_cast<double>(i));
  std::fill_n(room, kColumns * stride, 0.0);
}

}  // namespace
}  // namespace tfminimize::solvers
