// Compares each kernel with plain loops. kernel_levels_test.cc tests that every level gives the same bits.

#include "solvers/kernels/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/solvers/kernels/kernel_problem.h"

namespace tfminimize::solvers {
namespace {

using testing::KernelProblem;
using testing::kInf;
using testing::Vector;

constexpr double kTolerance = 1e-13;
constexpr std::size_t kDirection = KernelProblem::kDirectionColumn;
constexpr std::size_t kY = KernelProblem::kYColumn;

/// A sum, and the size of its terms, which its rounding errors depend on.
class ReferenceSum {
 public:
  void add(double term) {
    sum_ += term;
    size_ += std::abs(term);
  }
  void expect(double actual, const char* what) const {
    EXPECT_NEAR(actual, static_cast<double>(sum_), kTolerance * static_cast<double>(size_)) << what;
  }

 private:
  long double sum_ = 0;   // NOLINT(google-runtime-float): more precise where there is such a type
  long double size_ = 0;  // NOLINT(google-runtime-float)
};

double combined(KernelProblem& p, const Combination& step, std::size_t i) {
  double value = step.g_coefficient * p.gradient[i];
  for (std::size_t k = 0; k < step.columns.count; ++k) {
    value += step.coefficients[k] * p.element(i, static_cast<std::size_t>(step.columns.ids[k]));
  }
  return value;
}

double clipped(const KernelProblem& p, std::size_t i, double value) {
  return p.bounded ? std::min(std::max(value, p.lower[i]), p.upper[i]) : value;
}

/// actual = W[:, columns]ᵀa, a(i) being an element.
template <typename Element>
void expect_dots(KernelProblem& p, const Columns& columns, const Vector& actual, const Element& a, const char* what) {
  for (std::size_t k = 0; k < columns.count; ++k) {
    ReferenceSum sum;
    for (std::size_t i = 0; i < p.n; ++i) sum.add(p.element(i, static_cast<std::size_t>(columns.ids[k])) * a(i));
    sum.expect(actual[k], what);
  }
}

class KernelsOfSizeTest : public ::testing::TestWithParam<std::tuple<std::size_t, Storage>> {
 protected:
  KernelProblem problem(bool bounded) const { return {n_, bounded, storage_}; }

  const std::size_t n_ = std::get<0>(GetParam());
  const Storage storage_ = std::get<1>(GetParam());
  const Kernels& kernels_ = kernels(storage_);
};

TEST_P(KernelsOfSizeTest, DirectionMovesXByTheCombination) {
  for (const std::size_t columns : {0, 1, 4, 9}) {
    KernelProblem p = problem(false);
    KernelProblem before = p;
    const Combination step = p.combination(columns);
    const DirectionSums sums = kernels_.direction(p.view(), step, kDirection);
    ReferenceSum slope;
    ReferenceSum squared_norm;
    for (std::size_t i = 0; i < n_; ++i) {
      const double d = p.element(i, kDirection);
      EXPECT_NEAR(p.x[i], before.x[i] + combined(before, step, i), 10 * kTolerance);
      EXPECT_EQ(d, p.stored(p.x[i] - before.x[i]));
      EXPECT_EQ(p.start[i], before.x[i]);
      EXPECT_EQ(p.start_gradient[i], before.gradient[i]);
      slope.add(d * p.gradient[i]);
      squared_norm.add(d * d);
    }
    slope.expect(sums.slope, "slope");
    squared_norm.expect(sums.squared_norm, "squared_norm");
    EXPECT_EQ(sums.max_step, kInf);
    EXPECT_FALSE(sums.clipped);
  }
}

class BoundedDirection {
 public:
  BoundedDirection(const Kernels& kernels, KernelProblem& p, std::size_t columns, bool from_start)
      : before_(p), from_(from_start ? before_.start : before_.x), step_(before_.combination(columns)) {
    const Vectors v = p.view();
    sums = kernels.bounded_direction(v, from_start ? v.start : v.x, p.positions.data(), kCauchyStep, step_, kDirection,
                                     dot_columns, free_dots.data(), active_dots.data());
  }

  double from(std::size_t i) const { return from_[i]; }
  double target(std::size_t i) { return (from_[i] - kCauchyStep * before_.gradient[i]) + combined(before_, step_, i); }

  const Columns dot_columns = KernelProblem::columns(KernelProblem::kColumns);
  Vector free_dots = Vector(KernelProblem::kColumns);
  Vector active_dots = Vector(KernelProblem::kColumns);
  DirectionSums sums;

 private:
  static constexpr double kCauchyStep = 0.3;
  KernelProblem before_;
  testing::Guarded<double> from_;
  Combination step_;
};

TEST_P(KernelsOfSizeTest, BoundedDirectionPutsEachVariableWhereItsPositionSays) {
  for (const bool from_start : {false, true}) {
    KernelProblem p = problem(true);
    BoundedDirection direction(kernels_, p, 6, from_start);
    for (std::size_t i = 0; i < n_; ++i) {
      double expected = direction.from(i);
      if (p.positions[i] == kFree) expected = clipped(p, i, direction.target(i));
      if (p.positions[i] == kAtLower) expected = p.lower[i];
      if (p.positions[i] == kAtUpper) expected = p.upper[i];
      EXPECT_NEAR(p.x[i], expected, p.positions[i] == kFree ? 10 * kTolerance : 0) << i;
    }
  }
}

TEST_P(KernelsOfSizeTest, BoundedDirectionLeavesNoBound) {
  KernelProblem p = problem(true);
  const BoundedDirection direction(kernels_, p, 6, false);
  for (std::size_t i = 0; i < n_; ++i) EXPECT_TRUE(p.lower[i] <= p.x[i] && p.x[i] <= p.upper[i]) << i;
}

TEST_P(KernelsOfSizeTest, BoundedDirectionKeepsTheStart) {
  for (const bool from_start : {false, true}) {
    KernelProblem p = problem(true);
    const BoundedDirection direction(kernels_, p, 6, from_start);
    for (std::size_t i = 0; i < n_; ++i) {
      EXPECT_EQ(p.start[i], direction.from(i));
      EXPECT_EQ(p.start_gradient[i], p.gradient[i]);
      EXPECT_EQ(p.element(i, kDirection), p.stored(p.x[i] - p.start[i]));
    }
  }
}

TEST_P(KernelsOfSizeTest, BoundedDirectionSumsOverItsDirection) {
  KernelProblem p = problem(true);
  const BoundedDirection direction(kernels_, p, 6, false);
  ReferenceSum slope;
  ReferenceSum squared_norm;
  double max_step = kInf;
  for (std::size_t i = 0; i < n_; ++i) {
    const double d = p.element(i, kDirection);
    slope.add(d * p.gradient[i]);
    squared_norm.add(d * d);
    if (d != 0) max_step = std::min(max_step, ((d < 0 ? p.lower[i] : p.upper[i]) - p.start[i]) / d);
  }
  slope.expect(direction.sums.slope, "slope");
  squared_norm.expect(direction.sums.squared_norm, "squared_norm");
  EXPECT_EQ(direction.sums.max_step, max_step);
}

TEST_P(KernelsOfSizeTest, BoundedDirectionTellsWhetherAFreeVariableMetABound) {
  KernelProblem p = problem(true);
  BoundedDirection direction(kernels_, p, 6, false);
  bool met = false;
  for (std::size_t i = 0; i < n_; ++i) {
    met = met || (p.positions[i] == kFree && (p.x[i] <= p.lower[i] || p.x[i] >= p.upper[i]));
  }
  EXPECT_EQ(direction.sums.clipped, met);
}

TEST_P(KernelsOfSizeTest, BoundedDirectionDotsAreSplitByPosition) {
  KernelProblem p = problem(true);
  const BoundedDirection direction(kernels_, p, 6, false);
  const auto free_d = [&](std::size_t i) { return p.positions[i] == kFree ? p.element(i, kDirection) : 0; };
  const auto active_d = [&](std::size_t i) { return p.positions[i] == kFree ? 0 : p.element(i, kDirection); };
  expect_dots(p, direction.dot_columns, direction.free_dots, free_d, "free");
  expect_dots(p, direction.dot_columns, direction.active_dots, active_d, "other");
}

TEST_P(KernelsOfSizeTest, MoveGoesAlongTheDirection) {
  for (const bool bounded : {false, true}) {
    KernelProblem p = problem(bounded);
    kernels_.move(p.view(), kDirection, 0.7);
    for (std::size_t i = 0; i < n_; ++i) {
      EXPECT_EQ(p.x[i], clipped(p, i, p.start[i] + 0.7 * p.element(i, kDirection))) << i;
    }
  }
}

TEST_P(KernelsOfSizeTest, MoveTellsWhetherXChanged) {
  for (const bool bounded : {false, true}) {
    KernelProblem p = problem(bounded);
    kernels_.move(p.view(), kDirection, 0.7);
    EXPECT_FALSE(kernels_.move(p.view(), kDirection, 0.7));
    p.x[n_ - 1] += 0.125;
    EXPECT_TRUE(kernels_.move(p.view(), kDirection, 0.7));
  }
}

TEST_P(KernelsOfSizeTest, TrialGivesTheSlopeAndTheProjectedGradient) {
  for (const bool bounded : {false, true}) {
    KernelProblem p = problem(bounded);
    const TrialSums sums = kernels_.trial(p.view(), kDirection);
    ReferenceSum slope;
    double largest = 0;
    for (std::size_t i = 0; i < n_; ++i) {
      slope.add(p.gradient[i] * p.element(i, kDirection));
      largest = std::max(largest, std::abs(clipped(p, i, p.x[i] - p.gradient[i]) - p.x[i]));
    }
    slope.expect(sums.slope, "slope");
    EXPECT_NEAR(sums.projected_gradient, largest, kTolerance);
  }
}

TEST_P(KernelsOfSizeTest, UpdateStoresThePairAndItsProducts) {
  for (const double scale : {1.0, 0.7}) {
    KernelProblem p = problem(false);
    KernelProblem before = p;
    const Columns columns = KernelProblem::columns(KernelProblem::kColumns);
    Vector y_dots(columns.count);
    Vector g_dots(columns.count);
    kernels_.update(p.view(), kDirection, scale, kY, columns, y_dots.data(), g_dots.data());
    for (std::size_t i = 0; i < n_; ++i) {
      EXPECT_EQ(p.element(i, kDirection), p.stored(scale * before.element(i, kDirection)));
      EXPECT_EQ(p.element(i, kY), p.stored(p.gradient[i] - p.start_gradient[i]));
    }
    const auto y = [&](std::size_t i) { return p.element(i, kY); };
    const auto g = [&](std::size_t i) { return p.gradient[i]; };
    expect_dots(p, columns, y_dots, y, "y");
    expect_dots(p, columns, g_dots, g, "g");
  }
}

class BoundedUpdate {
 public:
  BoundedUpdate(const Kernels& kernels, KernelProblem& p, bool stores_pair) {
    sums = kernels.bounded_update(p.view(), kDirection, 0.7, stores_pair ? kY : kNoColumn, p.positions.data(),
                                  p.new_positions.data(), columns, y_dots.data(), d_dots.data());
    for (std::size_t i = 0; i < p.n; ++i) {
      const double g = p.gradient[i];
      const bool stays =
          p.lower[i] == p.upper[i] || (g >= 0 && p.x[i] <= p.lower[i]) || (g <= 0 && p.x[i] >= p.upper[i]);
      d.push_back(stays || g == 0 ? 0 : -g);
      breakpoints.push_back(d[i] == 0 ? kInf : ((d[i] < 0 ? p.lower[i] : p.upper[i]) - p.x[i]) / d[i]);
    }
  }

  const Columns columns = KernelProblem::columns(KernelProblem::kColumns);
  Vector y_dots = Vector(KernelProblem::kColumns);
  Vector d_dots = Vector(KernelProblem::kColumns);
  CauchySums sums;
  Vector d;            ///< The projected steepest descent direction, as it should be.
  Vector breakpoints;  ///< Where each variable meets its bound along it.
};

TEST_P(KernelsOfSizeTest, BoundedUpdateStoresThePairAndItsProducts) {
  KernelProblem p = problem(true);
  KernelProblem before = p;
  const BoundedUpdate update(kernels_, p, true);
  ReferenceSum y_squared_norm;
  for (std::size_t i = 0; i < n_; ++i) {
    const double y = p.element(i, kY);
    EXPECT_EQ(p.element(i, kDirection), p.stored(0.7 * before.element(i, kDirection)));
    EXPECT_EQ(y, p.stored(p.gradient[i] - p.start_gradient[i]));
    y_squared_norm.add(y * y);
  }
  y_squared_norm.expect(update.sums.y_squared_norm, "y_squared_norm");
  const auto free_y = [&](std::size_t i) { return p.positions[i] == kFree ? p.element(i, kY) : 0; };
  expect_dots(p, update.columns, update.y_dots, free_y, "y");
}

TEST_P(KernelsOfSizeTest, BoundedUpdateWithoutAPairLeavesTheColumnsAlone) {
  KernelProblem p = problem(true);
  KernelProblem before = p;
  const BoundedUpdate update(kernels_, p, false);
  for (std::size_t i = 0; i < p.rows; ++i) {
    for (std::size_t c = 0; c < KernelProblem::kColumns; ++c) ASSERT_EQ(p.element(i, c), before.element(i, c));
  }
}

TEST_P(KernelsOfSizeTest, BoundedUpdateLooksAlongTheProjectedSteepestDescent) {
  for (const bool stores_pair : {false, true}) {
    KernelProblem p = problem(true);
    const BoundedUpdate update(kernels_, p, stores_pair);
    ReferenceSum squared_norm;
    for (const double d : update.d) squared_norm.add(d * d);
    squared_norm.expect(update.sums.squared_norm, "squared_norm");
    const auto d = [&](std::size_t i) { return update.d[i]; };
    expect_dots(p, update.columns, update.d_dots, d, "d");
  }
}

TEST_P(KernelsOfSizeTest, BoundedUpdateCountsBreakpoints) {
  KernelProblem p = problem(true);
  const BoundedUpdate update(kernels_, p, true);
  const auto finite = [](double t) { return std::isfinite(t); };
  const auto moves = [](double d) { return d != 0; };
  EXPECT_EQ(update.sums.first_breakpoint, *std::min_element(update.breakpoints.begin(), update.breakpoints.end()));
  EXPECT_EQ(update.sums.num_breakpoints,
            static_cast<std::size_t>(std::count_if(update.breakpoints.begin(), update.breakpoints.end(), finite)));
  EXPECT_EQ(update.sums.num_moving, static_cast<std::size_t>(std::count_if(update.d.begin(), update.d.end(), moves)));
}

TEST_P(KernelsOfSizeTest, BoundedUpdateFindsWhoIsAtABoundAndStays) {
  KernelProblem p = problem(true);
  const BoundedUpdate update(kernels_, p, false);
  for (std::size_t i = 0; i < n_; ++i) {
    Position expected = kFree;
    if (p.gradient[i] <= 0 && p.x[i] >= p.upper[i]) expected = kAtUpper;
    if (p.gradient[i] >= 0 && p.x[i] <= p.lower[i]) expected = kAtLower;
    if (p.lower[i] == p.upper[i]) expected = kFixed;
    EXPECT_EQ(p.new_positions[i], expected) << i;
  }
}

TEST_P(KernelsOfSizeTest, BreakpointsAreThoseOfFreeVariablesWithinTheLimits) {
  for (const auto& [after, limit] : {std::pair{-1.0, 1e300}, std::pair{0.5, 2.0}, std::pair{3.0, 2.0}}) {
    KernelProblem p = problem(true);
    std::vector<Breakpoint> found(n_);
    found.resize(kernels_.breakpoints(p.view(), p.positions.data(), after, limit, found.data()));
    auto next = found.begin();
    for (std::size_t i = 0; i < n_; ++i) {
      const double d = -p.gradient[i];
      const double t = ((d < 0 ? p.lower[i] : p.upper[i]) - p.x[i]) / d;
      if (p.positions[i] != kFree || d == 0 || !(after < t && t <= limit)) continue;
      ASSERT_NE(next, found.end());
      EXPECT_EQ(next->variable, i);
      EXPECT_EQ(next->t, t);
      ++next;
    }
    EXPECT_EQ(next, found.end());
  }
}

TEST_P(KernelsOfSizeTest, TruncateFindsTheFirstVariableThatAllowsLeast) {
  constexpr double kCauchyStep = 0.3;
  for (const double size : {1.0, 1e-9}) {
    KernelProblem p = problem(true);
    for (double& coefficient : p.coefficients) coefficient *= size;
    KernelProblem before = p;
    Combination step = before.combination(6);
    step.g_coefficient *= size;
    const Truncation actual = kernels_.truncate(p.view(), p.positions.data(), kCauchyStep, step, kDirection);
    Truncation expected;
    for (std::size_t i = 0; i < n_; ++i) {
      const double d = p.positions[i] == kFree ? combined(before, step, i) : 0;
      EXPECT_EQ(p.element(i, kDirection), p.stored(d)) << i;
      if (d == 0) continue;
      const double room = (d < 0 ? p.lower[i] : p.upper[i]) - (p.start[i] - kCauchyStep * p.gradient[i]);
      const double ratio = (d < 0 ? room >= 0 : room <= 0) ? 0 : room / d;
      if (ratio < expected.ratio) expected = {ratio, i, d};
    }
    EXPECT_EQ(actual.ratio, expected.ratio);
    EXPECT_EQ(actual.variable, expected.variable);
    EXPECT_EQ(actual.d, expected.d);
  }
}

TEST_P(KernelsOfSizeTest, GradientDotsAreProductsWithTheColumns) {
  KernelProblem p = problem(false);
  const Columns columns = KernelProblem::columns(5);
  Vector g_dots(columns.count);
  kernels_.gradient_dots(p.view(), columns, g_dots.data());
  expect_dots(
      p, columns, g_dots, [&](std::size_t i) { return p.gradient[i]; }, "g");
}

INSTANTIATE_TEST_SUITE_P(Sizes, KernelsOfSizeTest,
                         ::testing::Combine(::testing::Values(1, 7, 8, 9, 40, 257, 5000, 16403),
                                            ::testing::Values(Storage::kFloat64, Storage::kFloat32)));

TEST(KernelsOfFloat32Test, NumberBeyondFloat32BecomesItsLargest) {
  for (const double g : {1e300, -1e300}) {
    KernelProblem p(3, false, Storage::kFloat32);
    p.gradient[1] = g;
    kernels(Storage::kFloat32).direction(p.view(), {-1, nullptr, {}}, kDirection);
    EXPECT_EQ(p.element(1, kDirection), std::copysign(std::numeric_limits<float>::max(), -g));
  }
}

TEST(KernelsOfFloat32Test, WhatIsNotFiniteStaysSo) {
  KernelProblem p(3, false, Storage::kFloat32);
  p.gradient[0] = kInf;
  p.gradient[1] = testing::kNaN;
  kernels(Storage::kFloat32).direction(p.view(), {-1, nullptr, {}}, kDirection);
  EXPECT_EQ(p.element(0, kDirection), -kInf);
  EXPECT_TRUE(std::isnan(p.element(1, kDirection)));
}

}  // namespace
}  // namespace tfminimize::solvers
