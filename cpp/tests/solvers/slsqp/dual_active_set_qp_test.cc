#include "solvers/slsqp/dual_active_set_qp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "tests/solvers/kernels/reference.h"
#include "tests/solvers/slsqp/qp_problem.h"

namespace tfminimize::solvers {
namespace {

using testing::expect_solved;
using testing::kInf;
using testing::kkt_residual;
using testing::Matrix;
using testing::QpProblem;
using testing::QpShape;
using testing::QpSolve;
using testing::Random;
using testing::random_qp;
using testing::relative_difference;
using testing::Vector;

/// With rows of the Jacobian, the constant of each behind it.
QpProblem with_rows(const Vector& gradient, std::initializer_list<Vector> rows, std::size_t num_equalities = 0) {
  QpProblem problem(gradient.size(), rows.size());
  problem.gradient = gradient;
  problem.num_equalities = num_equalities;
  std::size_t k = 0;
  for (const Vector& row : rows) {
    for (std::size_t i = 0; i < gradient.size(); ++i) problem.jacobian(k, i) = row[i];
    problem.constraints[k++] = row.back();
  }
  return problem;
}

void expect_near(const Vector& actual, const Vector& expected, double tolerance = 1e-13) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

// Programs that are solved on paper.

TEST(DualActiveSetQpTest, WithoutConstraintsItIsALinearSystem) {
  Random random(1);
  for (const std::size_t n : {1, 2, 7, 8, 9, 25}) {
    QpProblem problem = random_qp({n}, random);
    const QpSolve solve(problem);
    expect_solved(problem, solve);
    Vector expected = problem.hessian.solve(problem.gradient);
    for (double& value : expected) value = -value;
    EXPECT_LT(relative_difference(solve.s(), expected), 1e-12);
    EXPECT_EQ(solve.solver.pivots(), 0U);
  }
}

TEST(DualActiveSetQpTest, InactiveConstraintsChangeNothing) {
  const QpProblem problem = with_rows({-1, -2}, {{1, 0, 0}, {-1, -1, 4}});
  const QpSolve solve(problem);
  EXPECT_EQ(solve.s(), (Vector{1, 2}));
  EXPECT_EQ(solve.multipliers(), (Vector{0, 0}));
  EXPECT_EQ(solve.solver.pivots(), 0U);
}

TEST(DualActiveSetQpTest, NearestPointOfAHalfPlane) {
  const QpSolve solve(with_rows({-3, -4}, {{-3, -4, 10}}));
  expect_near(solve.s(), {1.2, 1.6});
  expect_near(solve.multipliers(), {0.6});
  EXPECT_EQ(solve.solver.pivots(), 1U);
}

TEST(DualActiveSetQpTest, NearestPointOfALine) {
  for (const double sign : {1.0, -1.0}) {
    const QpSolve solve(with_rows({0, 0}, {{3, 4, sign * 10}}, 1));
    expect_near(solve.s(), {-sign * 1.2, -sign * 1.6});
    expect_near(solve.multipliers(), {-sign * 0.4});  // That of an equality has either sign.
  }
}

TEST(DualActiveSetQpTest, CornerOfABox) {
  QpProblem problem(3);
  problem.gradient = {5, -5, 0.25};
  problem.lower = {-1, -2, -kInf};
  problem.upper = {1, 2, kInf};
  const QpSolve solve(problem);
  EXPECT_EQ(solve.s(), (Vector{-1, 2, -0.25}));
  expect_near(solve.lower_multipliers(), {4, 0, 0});
  expect_near(solve.upper_multipliers(), {0, 3, 0});
}

TEST(DualActiveSetQpTest, ConstraintThatEntersFirstMayHaveToLeave) {
  // From (0, 0) to x + y >= 1, the most violated, and from there to 3x - y >= 2.5, at which the first is slack.
  const QpProblem problem = with_rows({0, 0}, {{8, 4, -4}, {3, -1, -2.5}});
  const QpSolve solve(problem);
  expect_solved(problem, solve);
  EXPECT_EQ(solve.multipliers()[0], 0);
  EXPECT_EQ(solve.solver.pivots(), 3U);
}

TEST(DualActiveSetQpTest, RowsAreNotScaled) {
  // Both rows of each pair say the same; the longer one is more violated, and enters.
  const QpSolve first(with_rows({-5, 0}, {{-1, 0, 1}, {-2, 0, 2}}));
  EXPECT_EQ(first.multipliers(), (Vector{0, 2}));
  const QpSolve second(with_rows({-5, 0}, {{-4, 0, 4}, {-2, 0, 2}}));
  EXPECT_EQ(second.multipliers(), (Vector{1, 0}));
}

TEST(DualActiveSetQpTest, FirstOfEqualsEnters) {
  const QpSolve solve(with_rows({-5, 0}, {{1, 0, 9}, {-1, 0, 1}, {-1, 0, 1}}));
  EXPECT_EQ(solve.multipliers(), (Vector{0, 4, 0}));
}

// Random programs.

class RandomQpTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  std::size_t size(std::size_t most) { return 1 + random_.below(most); }

  Random random_{GetParam()};
};

TEST_P(RandomQpTest, Inequalities) {
  for (int round = 0; round < 40; ++round) {
    const QpProblem problem = random_qp({size(14), size(30)}, random_);
    expect_solved(problem, QpSolve(problem));
  }
}

TEST_P(RandomQpTest, Equalities) {
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = size(14);
    const std::size_t num_equalities = size(n);
    const QpProblem problem = random_qp({n, num_equalities + random_.below(10), num_equalities}, random_);
    expect_solved(problem, QpSolve(problem));
  }
}

TEST_P(RandomQpTest, BoundsAlone) {
  for (int round = 0; round < 40; ++round) {
    QpShape shape{size(40)};
    shape.bounded = true;
    const QpProblem problem = random_qp(shape, random_);
    expect_solved(problem, QpSolve(problem));
  }
}

TEST_P(RandomQpTest, Everything) {
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = size(20);
    const QpProblem problem = random_qp({n, n + size(10), random_.below(n), true}, random_);
    expect_solved(problem, QpSolve(problem));
  }
}

TEST_P(RandomQpTest, DegenerateVertex) {
  // All constraints go through one point.
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = size(8);
    QpProblem problem = random_qp({n, 3 * n, 0, random_.chance(0.5), 1}, random_);
    expect_solved(problem, QpSolve(problem));
  }
}

TEST_P(RandomQpTest, DependentRows) {
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = size(10);
    const std::size_t m = 4 + size(8);
    QpProblem problem = random_qp({n, m, random_.below(m), false, 1}, random_);
    const auto set_row = [&](std::size_t row, double a, std::size_t first, double b, std::size_t second) {
      for (std::size_t i = 0; i < n; ++i) {
        problem.jacobian(row, i) = a * problem.jacobian(first, i) + b * problem.jacobian(second, i);
      }
      problem.constraints[row] = a * problem.constraints[first] + b * problem.constraints[second];
    };
    set_row(m - 1, 1, 0, 0, 0);  // A row twice, one three times as long, a sum of two, and nothing.
    set_row(m - 2, 3, 1, 0, 0);
    set_row(m - 3, 1, 0, 2, 1);
    set_row(2, 0, 0, 0, 0);
    expect_solved(problem, QpSolve(problem));
  }
}

TEST_P(RandomQpTest, IllConditionedHessian) {
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = 1 + size(9);
    QpProblem problem = random_qp({n, n, random_.below(n), true}, random_);
    // Eigenvalues from 1 to 1e8, and one direction across all variables.
    const Vector direction = random_.vector(n);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) problem.hessian(i, j) = (i == j ? 1 : 0) + 1e8 * direction[i] * direction[j];
    }
    QpSolve solve(problem);
    ASSERT_EQ(solve.status, QpStatus::kSolved);
    EXPECT_LT(kkt_residual(problem, solve), 1e-9);
  }
}

TEST_P(RandomQpTest, InfeasibleInequalities) {
  // A positive combination of the rows says 0 >= something positive.
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = size(10);
    const std::size_t m = 1 + size(10);
    QpProblem problem = random_qp({n, m}, random_);
    problem.constraints[m - 1] = -random_.uniform(0.1, 1);
    for (std::size_t i = 0; i < n; ++i) problem.jacobian(m - 1, i) = 0;
    for (std::size_t k = 0; k + 1 < m; ++k) {
      const double factor = random_.uniform(0.1, 1);
      problem.constraints[m - 1] -= factor * problem.constraints[k];
      for (std::size_t i = 0; i < n; ++i) problem.jacobian(m - 1, i) -= factor * problem.jacobian(k, i);
    }
    EXPECT_EQ(QpSolve(problem).status, QpStatus::kInfeasible);
  }
}

TEST_P(RandomQpTest, InfeasibleBounds) {
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = size(10);
    QpProblem problem = random_qp({n, 1, random_.below(2), true}, random_);
    problem.lower = Vector(n, -0.5);
    problem.upper = Vector(n, 0.5);
    double greatest = 0;
    for (std::size_t i = 0; i < n; ++i) greatest += 0.5 * std::abs(problem.jacobian(0, i));
    problem.constraints[0] = -greatest - 0.01;
    EXPECT_EQ(QpSolve(problem).status, QpStatus::kInfeasible);
    problem.constraints[0] = -greatest + 0.01;
    expect_solved(problem, QpSolve(problem));
  }
}

TEST_P(RandomQpTest, ContradictingEqualities) {
  for (int round = 0; round < 40; ++round) {
    const std::size_t n = 2 + size(10);
    QpProblem problem = random_qp({n, 3 + random_.below(3), 3}, random_);
    for (std::size_t i = 0; i < n; ++i) {
      problem.jacobian(2, i) = 2 * problem.jacobian(0, i) - problem.jacobian(1, i);
    }
    problem.constraints[2] = 2 * problem.constraints[0] - problem.constraints[1] + random_.spread(-3, 1);
    EXPECT_EQ(QpSolve(problem).status, QpStatus::kSingularEqualities);
  }
}

TEST_P(RandomQpTest, UsedSolverGivesTheSameAnswers) {
  // Whatever it remembers of the last program, which was like this one: a little or much.
  const std::size_t n = 12;
  const std::size_t m = 14;
  QpSolve used(n, m);
  QpProblem problem = random_qp({n, m, 3, true}, random_);
  for (int round = 0; round < 60; ++round) {
    const double change = std::pow(10.0, random_.uniform(-6, 0));
    for (double& value : problem.gradient) value += random_.uniform(-change, change);
    for (std::size_t k = problem.num_equalities; k < m; ++k) problem.constraints[k] += change * random_.unit();
    if (random_.chance(0.3)) problem.hessian = Matrix::positive_definite(n, 0.01, random_);
    const QpSolve fresh(problem);
    used.solve(problem);
    expect_solved(problem, fresh);
    expect_solved(problem, used);
    EXPECT_LT(relative_difference(used.s(), fresh.s()), 1e-10);
    EXPECT_LT(relative_difference(used.multipliers(), fresh.multipliers()), 1e-8);
    EXPECT_LT(relative_difference(used.lower_multipliers(), fresh.lower_multipliers()), 1e-8);
    EXPECT_LT(relative_difference(used.upper_multipliers(), fresh.upper_multipliers()), 1e-8);
  }
}

TEST_P(RandomQpTest, SolverGoesOnAfterAProgramWithoutASolution) {
  QpProblem problem = random_qp({6, 8, 1}, random_);
  QpSolve solve(problem);
  QpProblem infeasible = problem;
  for (std::size_t i = 0; i < 6; ++i) infeasible.jacobian(5, i) = -(infeasible.jacobian(4, i) = 1);
  infeasible.constraints[4] = infeasible.constraints[5] = -1;
  EXPECT_EQ(solve.solve(infeasible), QpStatus::kInfeasible);
  solve.solve(problem);
  expect_solved(problem, solve);
  EXPECT_LT(relative_difference(solve.s(), QpSolve(problem).s()), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomQpTest, ::testing::Range<std::uint64_t>(1, 13));

// Dependent and superfluous constraints.

TEST(DependentQpTest, EqualityThatIsThereTwiceCountsOnce) {
  const QpProblem problem = with_rows({1, 1, 1}, {{1, 2, 3, -6}, {1, 2, 3, -6}, {2, 4, 6, -12}}, 3);
  const QpSolve solve(problem);
  expect_solved(problem, solve);
  EXPECT_EQ(solve.multipliers()[1], 0);
  EXPECT_EQ(solve.multipliers()[2], 0);
}

TEST(DependentQpTest, RowsAreDependentAtTheirPrecision) {
  // The second row is the first, rounded to single precision, and asks for something else at a distance of 1e-8.
  QpProblem problem = with_rows({1, 1, 1}, {{0.1, 0.2, 0.3, -1}, {0.1F, 0.2F, 0.3F, -1 - 1e-8}}, 2);
  problem.tolerance = 1e-6;
  problem.precision = std::numeric_limits<float>::epsilon();
  const QpSolve solve(problem);
  EXPECT_EQ(solve.status, QpStatus::kSolved);
  problem = with_rows({1, 1, 1}, {{0.1, 0.2, 0.3, -1}}, 1);
  expect_near(solve.s(), QpSolve(problem).s());
}

TEST(DependentQpTest, ContradictionBelowTheToleranceIsSharedOut) {
  // s_0 + s_1 = 2 + 1e-7 under s <= 1; the other way round; and an equality that is there twice.
  QpProblem problem = with_rows({0, 0}, {{1, 1, -2 - 1e-7}}, 1);
  problem.upper = {1, 1};
  problem.lower = {-kInf, -kInf};
  QpProblem inequality = with_rows({0, 0}, {{1, 1, -2 - 1e-7}});
  inequality.upper = problem.upper;
  inequality.lower = problem.lower;
  QpProblem twice = with_rows({0, 0}, {{1, 1, -2}, {10, 10, -20 - 1e-6}}, 2);
  for (QpProblem* each : {&problem, &inequality, &twice}) {
    EXPECT_NE(QpSolve(*each).status, QpStatus::kSolved);
    each->tolerance = 0.9e-7;
    EXPECT_NE(QpSolve(*each).status, QpStatus::kSolved);
    each->tolerance = 1.1e-7;  // The first row of the third program gives way, as it loses less.
    const QpSolve solve(*each);
    ASSERT_EQ(solve.status, QpStatus::kSolved);
    expect_near(solve.s(), {1, 1}, 1e-6);
    EXPECT_NEAR(std::abs(solve.leeway()[0]), 1e-7, 1e-9);
  }
}

TEST(DependentQpTest, ConstraintsGiveWayInNoProgramThatCanBeSolved) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    QpProblem problem = random_qp({8, 6, 2, true}, random);
    const QpSolve strict(problem);
    problem.tolerance = 1;
    const QpSolve solve(problem);
    if (strict.status != QpStatus::kSolved) continue;
    EXPECT_EQ(solve.s(), strict.s());
    EXPECT_EQ(solve.leeway(), Vector(6));
  }
}

TEST(DependentQpTest, EqualityOfNothingIsFineIfItHolds) {
  const QpProblem problem = with_rows({1, 1}, {{0, 0, 0}, {1, 0, 1}}, 2);
  expect_solved(problem, QpSolve(problem));
  EXPECT_EQ(QpSolve(with_rows({1, 1}, {{0, 0, 1e-3}, {1, 0, 1}}, 2)).status, QpStatus::kSingularEqualities);
}

TEST(DependentQpTest, InequalityOfNothingIsFineIfItHolds) {
  const QpProblem problem = with_rows({1, 1}, {{0, 0, 2}, {1, 0, 0.5}});
  expect_solved(problem, QpSolve(problem));
  EXPECT_EQ(QpSolve(with_rows({1, 1}, {{0, 0, -2}, {1, 0, 0.5}})).status, QpStatus::kInfeasible);
}

TEST(DependentQpTest, InequalitiesMayTouchInOnePlane) {
  // x >= 1 and x <= 1.
  const QpProblem problem = with_rows({-7, 2}, {{1, 0, -1}, {-1, 0, 1}});
  const QpSolve solve(problem);
  expect_solved(problem, solve);
  expect_near(solve.s(), {1, -2});
}

TEST(DependentQpTest, EqualBoundsFixAVariable) {
  QpProblem problem = with_rows({3, 1}, {{1, 1, 5}});
  problem.lower = {0.5, -9};
  problem.upper = {0.5, 9};
  const QpSolve solve(problem);
  expect_solved(problem, solve);
  EXPECT_EQ(solve.s()[0], 0.5);
}

TEST(DependentQpTest, MoreConstraintsThanVariablesMeetInTheSolution) {
  const QpProblem problem =
      with_rows({1, 1}, {{1, 0, 0}, {0, 1, 0}, {1, 1, 0}, {2, 1, 0}, {1, 2, 0}, {1, 3, 0}, {3, 1, 0}});
  const QpSolve solve(problem);
  expect_solved(problem, solve);
  expect_near(solve.s(), {0, 0});
}

// Rounding.

TEST(RoundedQpTest, LargeGradientNeedsNoLargeStep) {
  // A step of length 1, compared with an unconstrained step of length `scale`.
  for (const double scale : {1e4, 1e8, 1e12}) {
    QpProblem problem = with_rows({-scale, -2 * scale, scale}, {{-1, -1, 0, 1}, {1, 2, -3, 1}});
    problem.lower = {-1, -1, -1};
    problem.upper = {1, 1, 1};
    const QpSolve solve(problem);
    ASSERT_EQ(solve.status, QpStatus::kSolved) << scale;
    EXPECT_LT(kkt_residual(problem, solve), 1e-11) << scale;
  }
}

TEST(RoundedQpTest, SmallViolationBesideALargeGradientIsNoRounding) {
  QpProblem problem = with_rows({-1e12, -1.1}, {{0, -1, 1}});
  problem.lower = {-1, -9};
  problem.upper = {1, 9};
  const QpSolve solve(problem);
  expect_solved(problem, solve);
  expect_near(solve.s(), {1, 1});
  expect_near(solve.multipliers(), {0.1});
}

TEST(RoundedQpTest, ScaleOfTheRowsDoesNotMatter) {
  Random random(3);
  for (int round = 0; round < 50; ++round) {
    QpProblem problem = random_qp({8, 12, 2}, random);
    const Vector expected = QpSolve(problem).s();
    for (std::size_t k = 0; k < 12; ++k) {
      const double factor = std::abs(random.spread(-6, 6));
      problem.constraints[k] *= factor;
      for (std::size_t i = 0; i < 8; ++i) problem.jacobian(k, i) *= factor;
    }
    const QpSolve solve(problem);
    expect_solved(problem, solve);
    EXPECT_LT(relative_difference(solve.s(), expected), 1e-9);
  }
}

// As many equalities as variables, and relaxation.

TEST(DeterminedQpTest, InequalitiesAreNotLookedAt) {
  // The equalities say (1, 2), the inequality and a bound say otherwise.
  QpProblem problem = with_rows({0, 0}, {{1, 0, -1}, {1, 1, -3}, {-1, -1, 0}}, 2);
  problem.lower = {-9, -9};
  problem.upper = {9, 1.5};
  EXPECT_EQ(QpSolve(problem).status, QpStatus::kInfeasible);
  problem.num_variables = 2;
  const QpSolve solve(problem);
  EXPECT_EQ(solve.status, QpStatus::kSolved);
  expect_near(solve.s(), {1, 1.5});  // It is moved into the bounds only.
  EXPECT_EQ(solve.multipliers()[2], 0);
}

TEST(DeterminedQpTest, InequalitiesAreLookedAtWhereEqualitiesDepend) {
  QpProblem problem = with_rows({-9, -9}, {{1, 1, -3}, {2, 2, -6}, {-1, 0, 1}}, 2);
  problem.num_variables = 2;
  const QpSolve solve(problem);
  expect_solved(problem, solve);
  expect_near(solve.s(), {1, 2});
}

/// A program whose constraints contradict each other, with Kraft's relaxation: `progress` is the share of them that
/// remains.
QpProblem relaxed(QpProblem problem, double penalty) {
  for (std::size_t k = 0; k < problem.m(); ++k) {
    const double c = -problem.constraints[k];
    problem.relaxation.push_back(k < problem.num_equalities ? c : std::max(c, 0.0));
  }
  problem.penalty = penalty;
  return problem;
}

TEST(RelaxedQpTest, AdditionalVariableTakesBackWhatIsNeeded) {
  // x >= 1 and -x >= 1, and their values at 0 are -1: only δ = 1 makes peace.
  const QpSolve solve(relaxed(with_rows({0, 0}, {{1, 0, -1}, {-1, 0, -1}}), 1e4));
  EXPECT_EQ(solve.status, QpStatus::kSolved);
  EXPECT_NEAR(solve.solver.relaxation(), 1, 1e-12);
  expect_near(solve.s(), {0, 0}, 1e-12);
}

TEST(RelaxedQpTest, AdditionalVariableTakesBackNoMore) {
  // x >= 4 within x <= 1, from 0: a quarter can be had. The price pushes δ down to 3/4.
  QpProblem problem = with_rows({0}, {{1, -4}});
  problem.lower = {-1};
  problem.upper = {1};
  EXPECT_EQ(QpSolve(problem).status, QpStatus::kInfeasible);
  const QpSolve solve(relaxed(problem, 1e4));
  EXPECT_EQ(solve.status, QpStatus::kSolved);
  EXPECT_NEAR(solve.solver.relaxation(), 0.75, 1e-12);
  expect_near(solve.s(), {1}, 1e-12);
}

TEST(RelaxedQpTest, ContradictingEqualitiesAreMetByTheSamePart) {
  // x + y = 2 and x + y = 4, from 0: (1 - δ)·2 = (1 - δ)·4 leaves δ = 1.
  QpProblem problem = with_rows({-1, 0}, {{1, 1, -2}, {1, 1, -4}}, 2);
  EXPECT_EQ(QpSolve(problem).status, QpStatus::kSingularEqualities);
  const QpSolve solve(relaxed(problem, 1e4));
  EXPECT_EQ(solve.status, QpStatus::kSolved);
  EXPECT_NEAR(solve.solver.relaxation(), 1, 1e-12);
  EXPECT_NEAR(solve.s()[0] + solve.s()[1], 0, 1e-12);
}

TEST(RelaxedQpTest, PriceIsPaidAlsoWhereItIsNotNeeded) {
  // Feasible constraints, but a cheap δ: the minimum of ½x² + ½·p·δ² subject to x + 2δ >= 2.
  const double p = 4;
  const QpSolve solve(relaxed(with_rows({0}, {{1, -2}}), p));
  EXPECT_NEAR(solve.solver.relaxation(), 4 / (p + 4), 1e-13);
  expect_near(solve.s(), {2 * p / (p + 4)});
}

TEST(RelaxedQpTest, RandomContradictionsAreSolvedWithAdditionalVariables) {
  Random random(5);
  for (int round = 0; round < 200; ++round) {
    const std::size_t n = 1 + random.below(9);  // Among them 8: then the additional variable begins a cache line.
    QpProblem problem = random_qp({n, 2 + random.below(12), random.below(3), random.chance(0.5)}, random);
    for (double& value : problem.constraints) value = random.uniform(-2, 1);
    for (std::size_t i = 0; i < problem.lower.size(); ++i) {
      problem.lower[i] = std::min(problem.lower[i], 0.0);
      problem.upper[i] = std::max(problem.upper[i], 0.0);
    }
    const QpProblem with_delta = relaxed(problem, 1e4);
    const QpSolve solve(with_delta);
    // s = 0, δ = 1 is feasible.
    ASSERT_EQ(solve.status, QpStatus::kSolved) << round;
    // The same as a program of n + 1 variables with bounds of its own.
    QpProblem larger(n + 1, problem.m());
    larger.num_equalities = problem.num_equalities;
    larger.constraints = problem.constraints;
    larger.lower = Vector(n + 1, -kInf);
    larger.upper = Vector(n + 1, kInf);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) larger.hessian(i, j) = problem.hessian(i, j);
      for (std::size_t k = 0; k < problem.m(); ++k) larger.jacobian(k, i) = problem.jacobian(k, i);
      larger.gradient[i] = problem.gradient[i];
    }
    for (std::size_t k = 0; k < problem.m(); ++k) larger.jacobian(k, n) = with_delta.relaxation[k];
    std::copy(problem.lower.begin(), problem.lower.end(), larger.lower.begin());
    std::copy(problem.upper.begin(), problem.upper.end(), larger.upper.begin());
    larger.hessian(n, n) = 1e4;
    larger.lower[n] = 0;
    larger.upper[n] = 1;
    const QpSolve expected(larger);
    expect_solved(larger, expected);
    Vector s = solve.s();
    s.push_back(solve.solver.relaxation());
    EXPECT_LT(relative_difference(s, expected.s()), 1e-9) << round;
    EXPECT_LT(relative_difference(solve.multipliers(), expected.multipliers()), 1e-7) << round;
  }
}

}  // namespace
}  // namespace tfminimize::solvers
