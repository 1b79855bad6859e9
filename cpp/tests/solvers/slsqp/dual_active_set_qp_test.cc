#include "solvers/slsqp/dual_active_set_qp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "tests/solvers/kernels/reference.h"
#include "tests/solvers/slsqp/qp_problem.h"

namespace tfminimize::solvers {
namespace {

using testing::expect_near;
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
using testing::with_rows;

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

}  // namespace
}  // namespace tfminimize::solvers
