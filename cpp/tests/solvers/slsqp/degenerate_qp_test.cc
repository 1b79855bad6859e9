// Dependent and contradicting constraints, rounding, and relaxation.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "solvers/slsqp/dual_active_set_qp.h"
#include "tests/solvers/kernels/reference.h"
#include "tests/solvers/slsqp/qp_problem.h"

namespace tfminimize::solvers {
namespace {

using testing::expect_near;
using testing::expect_solved;
using testing::kInf;
using testing::kkt_residual;
using testing::QpProblem;
using testing::QpSolve;
using testing::Random;
using testing::random_qp;
using testing::relative_difference;
using testing::Vector;
using testing::with_rows;

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
