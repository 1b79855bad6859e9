// Changes smaller than the tolerance or the precision of the function.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "solvers/slsqp/slsqp.h"
#include "tests/solvers/slsqp/constrained_solve.h"

namespace tfminimize::solvers {
namespace {

using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::dot;
using testing::expect_consistent;
using testing::Function;
using testing::linear;
using testing::quadratic;
using testing::Random;
using testing::sum_of_squares;
using testing::Vector;
using testing::without_constraints;

constexpr double kSingle = std::numeric_limits<float>::epsilon();

SlsqpOptions with_precision(double precision) {
  SlsqpOptions options;
  options.precision = precision;
  return options;
}

/// The function as a program of single precision computes it.
Function rounded(const Function& function) {
  return [=](const Vector& x, Vector& g) {
    const double f = function(x, g);
    for (double& value : g) value = static_cast<float>(value);
    return static_cast<double>(static_cast<float>(f));
  };
}

/// The function with a gradient of the wrong sign.
Function reversed(const Function& function) {
  return [=](const Vector& x, Vector& g) {
    const double f = function(x, g);
    for (double& value : g) value = -value;
    return f;
  };
}

/// The problem with bounds 0 and 1.
ConstrainedProblem sum_of_squares_in_a_box(std::size_t n) {
  ConstrainedProblem problem = sum_of_squares(n);
  problem.lower = Vector(n, 0);
  problem.upper = Vector(n, 1);
  return problem;
}

// Gradients of the wrong sign.

TEST(SlsqpGradientMismatchTest, GradientOfTheWrongSignIsNamed) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (const bool single : {false, true}) {
      ConstrainedProblem problem = without_constraints(quadratic(1 + seed % 7, 100, seed));
      problem.function = reversed(single ? rounded(problem.function) : problem.function);
      ConstrainedSolve solve(problem, single ? with_precision(kSingle) : SlsqpOptions{});
      solve.finish();
      EXPECT_EQ(solve.solver.status(), SlsqpStatus::kGradientMismatch) << seed;
      EXPECT_EQ(solve.x(), problem.x0);
      EXPECT_FALSE(solve.solver.has_derivatives());
      expect_consistent(solve);
    }
  }
}

TEST(SlsqpGradientMismatchTest, StateOfSuchASolveIsTakenBack) {
  ConstrainedProblem problem = sum_of_squares(3);
  problem.function = reversed(problem.function);
  ConstrainedSolve solve(problem);
  ConstrainedSolve restored(problem);
  restored.solver.restore(solve.finish().solver.save());
  EXPECT_EQ(restored.solver.status(), SlsqpStatus::kGradientMismatch);
}

TEST(SlsqpGradientMismatchTest, JacobianOfTheWrongSignIsNamed) {
  for (const std::size_t num_equalities : {0, 1}) {
    ConstrainedProblem problem = sum_of_squares(3);
    problem.num_equalities = num_equalities;
    problem.constraints = {reversed(linear({1, 2, 1}, -9))};
    ConstrainedSolve solve(problem);
    EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kGradientMismatch);
  }
}

TEST(SlsqpGradientMismatchTest, RoundingOfTheFunctionIsNoWrongGradient) {
  // Values of single precision, whose terms are up to 10^8 times larger than f.
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    ConstrainedProblem problem = without_constraints(quadratic(1 + seed % 7, 100, seed));
    const Function function = problem.function;
    const double large = std::pow(10.0, static_cast<double>(seed % 9));
    problem.function = [=](const Vector& x, Vector& g) {
      return static_cast<double>(static_cast<float>(function(x, g) + large)) - large;
    };
    ConstrainedSolve solve(problem, with_precision(kSingle));
    EXPECT_NE(solve.finish().solver.status(), SlsqpStatus::kGradientMismatch) << seed;
  }
}

TEST(SlsqpGradientMismatchTest, StepThatIsMuchTooLongIsNoWrongGradient) {
  for (double curvature = 1; curvature < 1e20; curvature *= 10) {
    ConstrainedProblem problem = sum_of_squares(1);
    problem.function = [=](const Vector& x, Vector& g) {
      g = {curvature * x[0]};
      return curvature / 2 * x[0] * x[0];
    };
    ConstrainedSolve solve(problem);
    EXPECT_NE(solve.finish().solver.status(), SlsqpStatus::kGradientMismatch) << curvature;
  }
}

// Contradictions.

TEST(SlsqpToleranceTest, ContradictionBelowTheToleranceIsNoObstacle) {
  for (const std::size_t n : {1, 2, 10}) {
    for (const double excess : {0.0, 1e-12, 1e-9, 9e-7}) {
      for (const std::size_t num_equalities : {0, 1}) {
        for (const double start : {0.0, 0.5, 1.0}) {
          ConstrainedProblem problem = sum_of_squares_in_a_box(n);
          problem.x0 = Vector(n, start);
          problem.num_equalities = num_equalities;
          problem.constraints = {linear(Vector(n, 1), -static_cast<double>(n) - excess)};
          ConstrainedSolve solve(problem);
          EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kConverged) << n << ' ' << excess << ' ' << start;
          EXPECT_LE(solve.solver.constr_violation(), 1e-6);
          EXPECT_LE(solve.solver.nit(), 3);
        }
      }
    }
  }
}

TEST(SlsqpToleranceTest, ContradictionAboveTheToleranceIsOne) {
  ConstrainedProblem problem = sum_of_squares_in_a_box(2);
  problem.constraints = {linear({1, 1}, -2 - 1e-5)};
  ConstrainedSolve solve(problem);
  EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kInconsistent);
  SlsqpOptions options;
  options.ftol = 1e-4;
  ConstrainedSolve looser(problem, options);
  EXPECT_EQ(looser.finish().solver.status(), SlsqpStatus::kConverged);
}

TEST(SlsqpToleranceTest, ContradictionsAreAddedUp) {
  for (const std::size_t count : {1, 2, 3}) {
    ConstrainedProblem problem = sum_of_squares_in_a_box(3);
    for (std::size_t i = 0; i < count; ++i) {
      Vector row(3, 0);
      row[i] = 1;
      problem.constraints.push_back(linear(row, -1 - 0.4e-6));
    }
    ConstrainedSolve solve(problem);
    EXPECT_EQ(solve.finish().solver.status(), count < 3 ? SlsqpStatus::kConverged : SlsqpStatus::kInconsistent);
  }
}

TEST(SlsqpToleranceTest, RedundantEqualitiesOfSinglePrecisionAreLeftOut) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Random random(seed);
    const std::size_t n = 4 + seed % 5;
    ConstrainedProblem problem = sum_of_squares(n);
    problem.x0 = random.vector(n, 0, 1);
    problem.num_equalities = 3;
    const Vector row = random.vector(n, 0.5, 1);
    for (const double factor : {1.0, 1.0 / 3, 0.7}) {
      Vector scaled = row;
      for (double& value : scaled) value *= factor;
      problem.constraints.push_back(rounded(linear(scaled, -factor)));
    }
    ConstrainedSolve solve(problem, with_precision(kSingle));
    EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kConverged) << seed;
    EXPECT_LE(solve.solver.constr_violation(), 1e-6);
    for (std::size_t i = 0; i < n; ++i) EXPECT_NEAR(solve.x()[i], row[i] / dot(row, row), 1e-4) << seed;
  }
}

TEST(SlsqpToleranceTest, ConstraintThatDependsOnNothingEndsTheSolveSoon) {
  for (const std::size_t num_equalities : {0, 1}) {
    for (const std::size_t n : {1, 2, 5, 16}) {
      ConstrainedProblem problem = sum_of_squares(n);
      problem.num_equalities = num_equalities;
      problem.constraints = {linear(Vector(n), -1)};
      SlsqpOptions options;
      options.maxiter = std::numeric_limits<std::int64_t>::max();
      ConstrainedSolve solve(problem, options);
      solve.finish();
      EXPECT_EQ(solve.solver.status(),
                num_equalities == 0 ? SlsqpStatus::kNoDescent : SlsqpStatus::kSingularEqualities);
      EXPECT_LT(solve.solver.nit(), 20);
    }
  }
}

// Far away from a pole.

TEST(SlsqpPoleTest, SolveFromFarAwayTakesAsManyIterationsAsHalvings) {
  for (const double start : {1e2, 1500.0, 1e4, 1e6, 1e8}) {
    ConstrainedProblem problem;
    problem.x0 = {start};
    problem.lower = {1e-12};
    problem.upper = {std::numeric_limits<double>::infinity()};
    problem.function = [](const Vector& x, Vector& g) {
      g = {1 - 1 / (x[0] * x[0])};
      return x[0] + 1 / x[0];
    };
    ConstrainedSolve solve(problem);
    EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kConverged) << start;
    EXPECT_NEAR(solve.x()[0], 1, 1e-2);
    EXPECT_LE(static_cast<double>(solve.solver.nit()), 30 + std::log2(start)) << start;
  }
}

}  // namespace
}  // namespace tfminimize::solvers
