#include "solvers/slsqp/slsqp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/solvers/slsqp/constrained_solve.h"

namespace tfminimize::solvers {
namespace {

using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::Derivatives;
using testing::dot;
using testing::kInf;
using testing::kNaN;
using testing::linear;
using testing::problems;
using testing::product_on_a_sphere;
using testing::quadratic;
using testing::quartic;
using testing::Random;
using testing::relative_difference;
using testing::rosen_suzuki;
using testing::rosenbrock_on_a_circle;
using testing::rosenbrock_problem;
using testing::Vector;
using testing::violation;
using testing::without_constraints;

constexpr SlsqpOptions kTight{1e-12, 200};

void expect_near(const Vector& actual, const Vector& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

// Answers.

TEST(SlsqpTest, FindsThePublishedMinimumOfRosenAndSuzuki) {
  ConstrainedSolve solve(rosen_suzuki(), kTight);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(solve.solver.fun(), -44, 1e-9);
  expect_near(solve.x(), {0, 1, 2, -1}, 1e-5);
  expect_near(solve.multipliers(), {1, 0, 2}, 1e-4);
}

TEST(SlsqpTest, FindsThePublishedMinimumOnASphere) {
  ConstrainedSolve solve(product_on_a_sphere(), kTight);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(solve.solver.fun(), 17.0140173, 1e-7);
  expect_near(solve.x(), {1, 4.7429994, 3.8211503, 1.3794082}, 1e-6);
}

TEST(SlsqpTest, FindsTheNearestPointOfAPlaneInTwoIterations) {
  // B begins as the identity, which is the Hessian, so the first step leads to the solution.
  ConstrainedProblem problem = without_constraints(quadratic(6, 1));
  Vector center(6);
  problem.function(Vector(6), center);
  for (double& value : center) value = -value;
  const Vector normal = {1, 2, -1, 0, 3, 1};
  problem.constraints = {linear(normal, -5)};
  problem.num_equalities = 1;
  ConstrainedSolve solve(problem);
  solve.finish();
  const double lambda = (5 - dot(normal, center)) / dot(normal, normal);
  Vector expected = center;
  for (std::size_t i = 0; i < 6; ++i) expected[i] += lambda * normal[i];
  expect_near(solve.x(), expected, 1e-14);
  EXPECT_NEAR(solve.multipliers()[0], lambda, 1e-12);
  EXPECT_EQ(solve.solver.nit(), 2);
  EXPECT_LE(solve.solver.constr_violation(), 1e-14);
}

TEST(SlsqpTest, BoundsAloneHoldASeparableFunction) {
  ConstrainedProblem problem = without_constraints(quadratic(20, 50));
  problem.lower = Vector(20, -0.25);
  problem.upper = Vector(20, 0.5);
  Vector expected(20);
  for (std::size_t i = 0; i < 20; ++i) {
    Vector g[2] = {Vector(20), Vector(20)};
    Vector unit(20);
    unit[i] = 1;
    problem.function(Vector(20), g[0]);
    problem.function(unit, g[1]);
    expected[i] = std::min(std::max(-g[0][i] / (g[1][i] - g[0][i]), -0.25), 0.5);
  }
  ConstrainedSolve solve(problem, kTight);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  expect_near(solve.x(), expected, 1e-5);
}

TEST(SlsqpTest, AnswersSatisfyTheConditionsOfOptimality) {
  for (const std::size_t n : {3, 8, 24, 50}) {
    ConstrainedSolve solve(quartic(n), {1e-14, 500}, Derivatives::kApart);
    solve.finish();
    ASSERT_EQ(solve.solver.status(), SlsqpStatus::kConverged) << n;
    EXPECT_LE(solve.solver.constr_violation(), 1e-12);
    const Vector lambda = solve.multipliers();
    for (std::size_t i = 1; i < solve.m(); ++i) {
      EXPECT_GE(lambda[i], 0);
      EXPECT_NEAR(lambda[i] * solve.constraints()[i], 0, 1e-6);
    }
    // The rest of the gradient of the Lagrangian pushes against a bound.
    Vector rest(n);
    solve.problem().function(solve.x(), rest);
    for (std::size_t i = 0; i < solve.m(); ++i) {
      Vector row(n);
      solve.problem().constraints[i](solve.x(), row);
      for (std::size_t k = 0; k < n; ++k) rest[k] -= lambda[i] * row[k];
    }
    for (std::size_t k = 0; k < n; ++k) {
      const bool at_lower = solve.x()[k] - solve.problem().lower[k] < 1e-14;
      const bool at_upper = solve.problem().upper[k] - solve.x()[k] < 1e-14;
      EXPECT_GE(rest[k], at_upper ? -kInf : -1e-5) << n << ' ' << k;
      EXPECT_LE(rest[k], at_lower ? kInf : 1e-5) << n << ' ' << k;
    }
  }
}

TEST(SlsqpTest, ConvergedSolveIsNeverInfeasible) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    for (const double ftol : {1e-3, 1e-6, 1e-10}) {
      ConstrainedSolve solve(quartic(4 + seed % 9, seed), {ftol, 300});
      solve.finish();
      EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged) << seed;
      EXPECT_LE(violation(solve.problem(), solve.x()), ftol) << seed;
    }
  }
}

TEST(SlsqpTest, OrderOfTheVariablesDoesNotMatter) {
  const ConstrainedProblem problem = product_on_a_sphere();
  const std::size_t order[] = {2, 0, 3, 1};
  const auto permute = [&](const Vector& x) {
    Vector y(4);
    for (std::size_t i = 0; i < 4; ++i) y[i] = x[order[i]];
    return y;
  };
  const auto permuted = [&](const testing::Function& function) {
    return [=, &order](const Vector& y, Vector& g) {
      Vector x(4);
      Vector h(4);
      for (std::size_t i = 0; i < 4; ++i) x[order[i]] = y[i];
      const double f = function(x, h);
      for (std::size_t i = 0; i < 4; ++i) g[i] = h[order[i]];
      return f;
    };
  };
  ConstrainedProblem other = problem;
  other.x0 = permute(problem.x0);
  other.function = permuted(problem.function);
  for (testing::Function& constraint : other.constraints) constraint = permuted(constraint);
  ConstrainedSolve a(problem);
  ConstrainedSolve b(other);
  a.finish();
  b.finish();
  EXPECT_EQ(a.solver.nit(), b.solver.nit());
  expect_near(b.x(), permute(a.x()), 1e-8);
}

TEST(SlsqpTest, MultipliersOfOneMoreThanNeededAreZero) {
  ConstrainedProblem problem = rosen_suzuki();
  problem.constraints.push_back(linear({1, 1, 1, 1}, 1000));
  ConstrainedSolve solve(problem, kTight);
  solve.finish();
  EXPECT_EQ(solve.multipliers()[3], 0);
}

// Bounds.

TEST(SlsqpBoundsTest, StartIsProjectedAtOnce) {
  ConstrainedProblem problem = product_on_a_sphere();
  problem.x0 = {-7, 9, 3, kInf};
  const ConstrainedSolve solve(problem);
  EXPECT_EQ(solve.x(), (Vector{1, 5, 3, 5}));
}

TEST(SlsqpBoundsTest, NoEvaluationIsOutside) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    ConstrainedProblem problem = seed % 2 == 0 ? quartic(3 + seed % 11, seed) : rosen_suzuki();
    const std::size_t n = problem.x0.size();
    problem.lower = Vector(n, -kInf);
    problem.upper = Vector(n, kInf);
    for (std::size_t i = 0; i < n; ++i) {
      if (random.chance(0.7)) problem.lower[i] = random.uniform(-1, 0.5) / 3;
      if (random.chance(0.7)) problem.upper[i] = random.uniform(0.5, 2) / 3;
      if (random.chance(0.1)) problem.lower[i] = problem.upper[i] = random.unit() / 3;
    }
    ConstrainedSolve solve(problem);
    solve.finish();
    for (const Vector& x : solve.evaluated) {
      for (std::size_t i = 0; i < n; ++i) {
        EXPECT_GE(x[i], problem.lower[i]) << seed;
        EXPECT_LE(x[i], problem.upper[i]) << seed;
      }
    }
  }
}

TEST(SlsqpBoundsTest, FixedVariablesStayWhereTheyAre) {
  ConstrainedProblem problem = product_on_a_sphere();
  problem.lower[1] = problem.upper[1] = 4.5;
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  for (const Vector& x : solve.evaluated) EXPECT_EQ(x[1], 4.5);
}

TEST(SlsqpBoundsTest, BoundsThatHoldEverythingEndTheSolveAtOnce) {
  ConstrainedProblem problem = without_constraints(rosenbrock_problem(4));
  problem.lower = problem.upper = {1, 2, 3, 4};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_EQ(solve.solver.nfev(), 1);
  EXPECT_EQ(solve.x(), (Vector{1, 2, 3, 4}));
}

TEST(SlsqpBoundsTest, InfiniteBoundsAreNone) {
  ConstrainedProblem problem = rosen_suzuki();
  ConstrainedSolve without(problem);
  problem.lower = Vector(4, -kInf);
  problem.upper = Vector(4, kInf);
  ConstrainedSolve with(problem);
  EXPECT_EQ(without.finish().x(), with.finish().x());
}

// Linear constraints.

TEST(SlsqpLinearTest, KnownLinearConstraintsGiveTheSameAnswer) {
  for (const std::size_t n : {5, 8, 17, 30}) {
    ConstrainedSolve known(quartic(n), kTight);
    ConstrainedProblem problem = quartic(n);
    problem.offsets.clear();
    ConstrainedSolve unknown(problem, kTight);
    known.finish();
    unknown.finish();
    EXPECT_LE(relative_difference(known.x(), unknown.x()), 1e-6);
    EXPECT_NEAR(known.solver.fun(), unknown.solver.fun(), 1e-10);
    EXPECT_LE(relative_difference(known.multipliers(), unknown.multipliers()), 1e-4);
  }
}

TEST(SlsqpLinearTest, NobodyWritesToTheRowOfALinearConstraint) {
  const ConstrainedProblem problem = quartic(11);
  ConstrainedSolve solve(problem);
  while (solve.solver.request() != Request::kStopped) {
    for (std::size_t i = 0; i < solve.m(); ++i) {
      if (std::isnan(problem.offsets[i])) continue;
      Vector row(11);
      problem.constraints[i](problem.x0, row);
      EXPECT_EQ(solve.jacobian_row(i), row);
    }
    solve.advance();
  }
}

TEST(SlsqpLinearTest, SolverComputesTheValues) {
  ConstrainedSolve solve(quartic(11));
  while (solve.solver.request() != Request::kStopped) {
    solve.advance();
    if (solve.solver.request() == Request::kEvaluate) continue;
    for (std::size_t i = 0; i < solve.m(); ++i) {
      Vector row(11);
      EXPECT_NEAR(solve.constraints()[i], solve.problem().constraints[i](solve.x(), row), 1e-14);
    }
  }
}

// Padding.

/// The problem with its variables in segments that begin at multiples of 8, the rest padding.
ConstrainedProblem padded_problem(const ConstrainedProblem& problem, std::size_t segment) {
  const std::size_t n = problem.x0.size();
  std::vector<std::size_t> position(n);
  for (std::size_t i = 0; i < n; ++i) position[i] = i / segment * solvers::Problem::stride(segment) + i % segment;
  const std::size_t size = solvers::Problem::stride(position.back() + 1);
  const auto spread = [=](const Vector& x, double rest) {
    Vector y(size, rest);
    for (std::size_t i = 0; i < n; ++i) y[position[i]] = x[i];
    return y;
  };
  const auto widened = [=](const testing::Function& function) {
    return [=](const Vector& y, Vector& g) {
      Vector x(n);
      Vector h(n);
      for (std::size_t i = 0; i < n; ++i) x[i] = y[position[i]];
      const double f = function(x, h);
      g = spread(h, 0);
      return f;
    };
  };
  ConstrainedProblem result = problem;
  result.x0 = spread(problem.x0, 0);
  result.function = widened(problem.function);
  for (testing::Function& constraint : result.constraints) constraint = widened(constraint);
  if (!problem.lower.empty()) result.lower = spread(problem.lower, -1);
  if (!problem.upper.empty()) result.upper = spread(problem.upper, 1);
  result.num_variables = n;
  return result;
}

TEST(SlsqpPaddingTest, PaddingChangesNothing) {
  for (const ConstrainedProblem& problem : problems()) {
    for (const std::size_t segment : {1, 3}) {
      ConstrainedSolve plain(problem);
      ConstrainedSolve padded(padded_problem(problem, segment));
      plain.finish();
      padded.finish();
      EXPECT_EQ(padded.solver.status(), plain.solver.status());
      EXPECT_EQ(padded.solver.nit(), plain.solver.nit());
      EXPECT_EQ(padded.solver.nfev(), plain.solver.nfev());
      EXPECT_NEAR(padded.solver.fun(), plain.solver.fun(), 1e-9 * (1 + std::abs(plain.solver.fun())));
      const ConstrainedProblem positions =
          padded_problem({{}, Vector(problem.x0.size(), 1), {}, 0, {}, {}, {}, 0}, segment);
      for (std::size_t i = 0, k = 0; i < padded.n(); ++i) {
        if (positions.x0[i] == 0) {
          EXPECT_EQ(padded.x()[i], 0);
        } else {
          EXPECT_NEAR(padded.x()[i], plain.x()[k++], 1e-6);
        }
      }
    }
  }
}

TEST(SlsqpPaddingTest, AsManyEqualitiesAsVariablesIsEnough) {
  ConstrainedProblem problem = rosenbrock_on_a_circle();
  problem.num_equalities = 2;
  problem.constraints[1] = linear({1, -1}, 0);
  ConstrainedSolve solve(padded_problem(problem, 1));
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(std::abs(solve.x()[0]), 1, 1e-9);
  EXPECT_NEAR(solve.x()[8], solve.x()[0], 1e-9);
}

// Arguments.

class SlsqpArgumentsTest : public ::testing::Test {
 protected:
  void expect_refused(const std::string& sentence) {
    try {
      const Slsqp solver(problem_, options_);
      FAIL() << sentence;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(error.what(), sentence);
    }
    EXPECT_EQ(x_, Vector(3, 7));  // Nothing was changed, not even by a projection.
  }

  Vector x_ = Vector(3, 7);
  Vector gradient_ = Vector(3);
  Vector constraints_ = Vector(2);
  Vector jacobian_ = Vector(16);
  Vector lower_ = Vector(3);
  Vector upper_ = Vector(3, 1);
  Vector offsets_ = Vector(2, kNaN);
  solvers::Problem problem_{x_, gradient_, constraints_, jacobian_, 1, lower_, upper_, offsets_, 0};
  SlsqpOptions options_;
};

TEST_F(SlsqpArgumentsTest, AreTakenIfTheyFit) {
  EXPECT_NO_THROW(Slsqp(problem_, options_));
  EXPECT_EQ(x_, Vector(3, 1));
}

TEST_F(SlsqpArgumentsTest, XMustHaveElements) {
  problem_.x = {};
  expect_refused("x must have at least one element.");
}

TEST_F(SlsqpArgumentsTest, GradientMustFit) {
  problem_.gradient = {gradient_.data(), 2};
  expect_refused("gradient must have the size of x.");
}

TEST_F(SlsqpArgumentsTest, JacobianMustFit) {
  problem_.jacobian = {jacobian_.data(), 6};
  expect_refused("jacobian must have a row of stride elements for each constraint.");
}

TEST_F(SlsqpArgumentsTest, EqualitiesAreConstraints) {
  problem_.num_equalities = 3;
  expect_refused("num_equalities must be at most the size of constraints.");
}

TEST_F(SlsqpArgumentsTest, VariablesAreElementsOfX) {
  problem_.num_variables = 4;
  expect_refused("num_variables must be at most the size of x.");
}

TEST_F(SlsqpArgumentsTest, OffsetsMustFit) {
  problem_.offsets = {offsets_.data(), 1};
  expect_refused("offsets must be empty or have the size of constraints.");
}

TEST_F(SlsqpArgumentsTest, BothBoundsAreGivenOrNone) {
  problem_.lower = {};
  expect_refused("lower and upper must both be empty or have the size of x.");
}

TEST_F(SlsqpArgumentsTest, BoundsMustFit) {
  problem_.lower = {lower_.data(), 2};
  problem_.upper = {upper_.data(), 2};
  expect_refused("lower and upper must both be empty or have the size of x.");
}

TEST_F(SlsqpArgumentsTest, BoundsMustBeInOrder) {
  for (const double value : {2.0, kNaN}) {
    lower_[1] = value;
    expect_refused("each lower bound must be at most its upper bound.");
  }
}

TEST_F(SlsqpArgumentsTest, IterationsAreNotNegative) {
  options_.maxiter = -1;
  expect_refused("maxiter must be at least 0.");
}

TEST(SlsqpOptionsTest, SignOfTheToleranceDoesNotMatter) {
  ConstrainedSolve positive(rosen_suzuki(), {1e-4, 100});
  ConstrainedSolve negative(rosen_suzuki(), {-1e-4, 100});
  EXPECT_EQ(positive.finish().x(), negative.finish().x());
  EXPECT_EQ(positive.solver.nit(), negative.solver.nit());
}

}  // namespace
}  // namespace tfminimize::solvers
