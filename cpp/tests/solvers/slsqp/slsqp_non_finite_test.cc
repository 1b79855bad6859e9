// Values, constraints and derivatives that are not finite.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "solvers/slsqp/slsqp.h"
#include "tests/solvers/slsqp/constrained_solve.h"

namespace tfminimize::solvers {
namespace {

using testing::ConstrainedProblem;
using testing::ConstrainedSolve;
using testing::Derivatives;
using testing::expect_consistent;
using testing::Function;
using testing::kInf;
using testing::kNaN;
using testing::linear;
using testing::quartic;
using testing::Random;
using testing::rosen_suzuki;
using testing::rosenbrock_problem;
using testing::Vector;
using testing::without_constraints;

constexpr Derivatives kBothWays[] = {Derivatives::kWithValues, Derivatives::kApart};
constexpr double kBad[] = {kNaN, kInf, -kInf};

/// The function, plus `value` from its evaluation number `first` on.
Function spoiled(const Function& function, double value, int first, int& evaluations) {
  return [=, &evaluations](const Vector& x, Vector& g) {
    const double f = function(x, g);
    return ++evaluations >= first ? f + value : f;
  };
}

/// The function, with another value and derivative if x_0 > wall.
Function with_wall(const Function& function, double wall, double f_there, double g_there) {
  return [=](const Vector& x, Vector& g) {
    const double f = function(x, g);
    if (x[0] <= wall) return f;
    if (!std::isfinite(g_there)) g[0] = g_there;
    return std::isfinite(f_there) ? f : f_there;
  };
}

/// Σ(x_i - 1)² with x_0 + x_1 <= 9.
ConstrainedProblem paraboloid(double x0, double x1) {
  ConstrainedProblem problem;
  problem.x0 = {x0, x1};
  problem.function = [](const Vector& x, Vector& g) {
    g = {2 * (x[0] - 1), 2 * (x[1] - 1)};
    return (x[0] - 1) * (x[0] - 1) + (x[1] - 1) * (x[1] - 1);
  };
  problem.constraints = {linear({-1, -1}, 9)};
  return problem;
}

// At the start.

TEST(SlsqpNonFiniteStartTest, ValueEndsTheSolve) {
  for (const double value : kBad) {
    for (const Derivatives derivatives : kBothWays) {
      ConstrainedProblem problem = rosen_suzuki();
      problem.function = with_wall(problem.function, -1, value, 0);
      ConstrainedSolve solve(problem, {}, derivatives);
      solve.finish();
      EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNonFiniteStart) << value;
      EXPECT_EQ(solve.x(), problem.x0);
      EXPECT_EQ(solve.solver.nfev(), 1);
      EXPECT_EQ(solve.solver.njev(), 0);
      EXPECT_EQ(solve.solver.nit(), 0);
    }
  }
}

TEST(SlsqpNonFiniteStartTest, ConstraintEndsTheSolve) {
  for (const double value : kBad) {
    for (std::size_t i = 0; i < 3; ++i) {
      for (const std::size_t num_equalities : {0, 3}) {
        ConstrainedProblem problem = rosen_suzuki();
        problem.num_equalities = num_equalities;
        problem.constraints[i] = with_wall(problem.constraints[i], -1, value, 0);
        ConstrainedSolve solve(problem);
        solve.finish();
        EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNonFiniteStart) << value;
        EXPECT_EQ(solve.solver.nfev(), 1);
        // A constraint that is NaN does not hold.
        EXPECT_EQ(std::isnan(solve.solver.constr_violation()), std::isnan(value));
      }
    }
  }
}

TEST(SlsqpNonFiniteStartTest, DerivativeEndsTheSolve) {
  for (const double value : kBad) {
    for (const Derivatives derivatives : kBothWays) {
      for (std::size_t i = 0; i < 4; ++i) {
        ConstrainedProblem problem = rosen_suzuki();
        Function& function = i < 3 ? problem.constraints[i] : problem.function;
        function = with_wall(function, -1, 0, value);
        ConstrainedSolve solve(problem, {}, derivatives);
        solve.finish();
        EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNonFiniteStart) << value << ' ' << i;
        EXPECT_EQ(solve.solver.nfev(), 1);
        EXPECT_EQ(solve.solver.nit(), 0);
      }
    }
  }
}

TEST(SlsqpNonFiniteStartTest, LinearConstraintEndsTheSolve) {
  ConstrainedProblem problem = paraboloid(0, 0);
  problem.constraints[0] = linear({kInf, 1}, 1);
  problem.offsets = {1};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNonFiniteStart);
}

// During a search.

TEST(SlsqpNonFiniteSearchTest, SolveTurnsBackFromARegionWithoutValues) {
  for (const double value : {kNaN, kInf}) {
    for (const bool of_constraint : {false, true}) {
      for (const Derivatives derivatives : kBothWays) {
        ConstrainedProblem problem = paraboloid(-40, 3);
        Function& function = of_constraint ? problem.constraints[0] : problem.function;
        function = with_wall(function, 1.5, value, 0);  // The first step ends at 42.
        ConstrainedSolve solve(problem, {}, derivatives);
        solve.finish();
        EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged) << value << ' ' << of_constraint;
        EXPECT_NEAR(solve.x()[0], 1, 1e-4);
        EXPECT_NEAR(solve.x()[1], 1, 1e-4);
        for (const Vector& x : solve.iterates) EXPECT_LE(x[0], 1.5);
        expect_consistent(solve);
      }
    }
  }
}

TEST(SlsqpNonFiniteSearchTest, TrialWithoutAValueIsFollowedByOneAtATenthOfTheStep) {
  ConstrainedProblem problem = paraboloid(-40, 3);
  problem.function = with_wall(problem.function, -30, kNaN, 0);
  ConstrainedSolve solve(problem);
  for (int k = 0; k < 3; ++k) solve.advance();
  ASSERT_EQ(solve.evaluated.size(), 3U);
  const Vector& start = solve.evaluated[0];
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(solve.evaluated[2][i] - start[i], (solve.evaluated[1][i] - start[i]) / 10, 1e-12);
  }
}

TEST(SlsqpNonFiniteSearchTest, MinusInfinityOfAConstraintIsNoViolationToDescendBy) {
  for (const double value : {kInf, -kInf}) {
    ConstrainedProblem problem = paraboloid(-40, 3);
    problem.constraints[0] = with_wall(problem.constraints[0], 1.5, value, 0);
    ConstrainedSolve solve(problem);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged) << value;
    EXPECT_NEAR(solve.x()[0], 1, 1e-4);
    for (const Vector& x : solve.iterates) EXPECT_LE(x[0], 1.5);
  }
}

TEST(SlsqpNonFiniteSearchTest, LogarithmIsNotEvaluatedBelowZeroForLong) {
  ConstrainedProblem problem;
  problem.x0 = {60};
  problem.function = [](const Vector& x, Vector& g) {
    g = {50 * (1 - 1 / x[0])};
    return 50 * (x[0] - std::log(x[0]));
  };
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(solve.x()[0], 1, 1e-3);
}

TEST(SlsqpNonFiniteSearchTest, NothingButNaNAfterTheStartEndsThere) {
  for (const double value : {kNaN, kInf}) {
    for (const Derivatives derivatives : kBothWays) {
      int evaluations = 0;
      ConstrainedProblem problem = paraboloid(-40, 3);
      const Function function = problem.function;
      problem.function = [=, &evaluations](const Vector& x, Vector& g) {
        return function(x, g) + (x == Vector{-40, 3} ? 0 : (++evaluations, value));
      };
      ConstrainedSolve solve(problem, {}, derivatives);
      solve.finish();
      EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNonFiniteSearch) << value;
      EXPECT_EQ(solve.solver.nfev(), 12);  // Eleven trials.
      EXPECT_EQ(solve.x(), problem.x0);
      EXPECT_FALSE(solve.solver.has_derivatives());
      expect_consistent(solve);
    }
  }
}

TEST(SlsqpNonFiniteSearchTest, NothingButNaNAfterSomeIterationsEndsAtTheLastOne) {
  for (const double value : {kNaN, kInf, -kInf}) {
    ConstrainedProblem problem = rosen_suzuki();
    int evaluations = 0;
    const Function good = problem.constraints[1];
    problem.constraints[1] = spoiled(good, value, 8, evaluations);
    ConstrainedSolve solve(problem, {1e-12, 100}, Derivatives::kApart);
    // Evaluations of derivatives count too, here.
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNonFiniteSearch) << value;
    EXPECT_EQ(solve.x(), solve.iterates.back());
    EXPECT_EQ(solve.solver.fun(), solve.values.back());
    Vector g(4);
    EXPECT_EQ(solve.constraints()[1], good(solve.x(), g));
  }
}

// Derivatives after the start.

TEST(SlsqpNonFiniteDerivativesTest, SolveTurnsBackFromTheBoundOfASquareRoot) {
  // Σ x - 2√x. Its derivative is infinite at 0, and its minimum is at 1.
  for (const Derivatives derivatives : kBothWays) {
    for (const double start : {2.0, 5.0, 30.0, 1e3, 1e6}) {
      ConstrainedProblem problem;
      problem.x0 = {start, 3};
      problem.lower = {0, 0};
      problem.upper = {kInf, kInf};
      problem.function = [](const Vector& x, Vector& g) {
        double f = 0;
        for (const std::size_t i : {0, 1}) {
          f += x[i] - 2 * std::sqrt(x[i]);
          g[i] = 1 - 1 / std::sqrt(x[i]);
        }
        return f;
      };
      ConstrainedSolve solve(problem, {}, derivatives);
      EXPECT_EQ(solve.finish().solver.status(), SlsqpStatus::kConverged) << start;
      EXPECT_LT(solve.solver.fun(), 1) << start;
      for (const Vector& x : solve.iterates) EXPECT_GT(std::min(x[0], x[1]), 0);
    }
  }
}

TEST(SlsqpNonFiniteDerivativesTest, NothingButNaNAfterTheStartEndsThere) {
  for (const double value : kBad) {
    for (const Derivatives derivatives : kBothWays) {
      for (std::size_t i = 0; i < 4; ++i) {
        ConstrainedProblem problem = rosen_suzuki();
        Function& function = i < 3 ? problem.constraints[i] : problem.function;
        const Function good = function;
        const Vector x0 = problem.x0;
        function = [=](const Vector& x, Vector& g) {
          const double f = good(x, g);
          if (x != x0) g[2] = value;
          return f;
        };
        ConstrainedSolve solve(problem, {}, derivatives);
        solve.finish();
        EXPECT_EQ(solve.solver.status(), SlsqpStatus::kNonFiniteDerivatives) << value << ' ' << i;
        EXPECT_EQ(solve.x(), x0);
        EXPECT_TRUE(solve.iterates.empty());
        EXPECT_FALSE(solve.solver.has_derivatives());
        expect_consistent(solve);
      }
    }
  }
}

// f = -inf.

TEST(SlsqpUnboundedBelowTest, MinusInfinityEndsTheSolve) {
  for (const Derivatives derivatives : kBothWays) {
    ConstrainedProblem problem;
    problem.x0 = {0};
    problem.function = [](const Vector& x, Vector& g) {
      g = {-1};
      return x[0] > 5 ? -kInf : -x[0];
    };
    problem.constraints = {linear({1}, 100)};
    ConstrainedSolve solve(problem, {}, derivatives);
    solve.finish();
    EXPECT_EQ(solve.solver.status(), SlsqpStatus::kUnboundedBelow);
    EXPECT_EQ(solve.solver.fun(), -kInf);
    EXPECT_GT(solve.x()[0], 5);
    EXPECT_EQ(solve.solver.constr_violation(), 0);
    EXPECT_EQ(scipy_code(solve.solver.status()), 10);
  }
}

TEST(SlsqpUnboundedBelowTest, MinusInfinityWhereAConstraintIsViolatedIsNoEnd) {
  // Beyond 5 f is not defined, and x² <= 4 is violated: the search turns back.
  ConstrainedProblem problem;
  problem.x0 = {-1};
  problem.function = [](const Vector& x, Vector& g) {
    g = {-100};
    return x[0] > 5 ? -kInf : -100 * x[0];
  };
  problem.constraints = {[](const Vector& x, Vector& g) {
    g = {-2 * x[0]};
    return 4 - x[0] * x[0];
  }};
  problem.x0 = {0.01};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
  EXPECT_NEAR(solve.x()[0], 2, 1e-6);
  bool tried = false;
  for (const Vector& x : solve.evaluated) tried = tried || x[0] > 5;
  EXPECT_TRUE(tried);
}

TEST(SlsqpUnboundedBelowTest, MinusInfinityWhereAConstraintIsNotANumberIsNoEnd) {
  ConstrainedProblem problem;
  problem.x0 = {0};
  problem.function = [](const Vector& x, Vector& g) {
    g = {-1};
    return x[0] > 5 ? -kInf : -x[0];
  };
  problem.constraints = {[](const Vector& x, Vector& g) {
    g = {0};
    return x[0] > 5 ? kNaN : 1.0;
  }};
  ConstrainedSolve solve(problem);
  solve.finish();
  EXPECT_NE(solve.solver.status(), SlsqpStatus::kUnboundedBelow);
  EXPECT_LE(solve.x()[0], 5);
}

TEST(SlsqpNonFiniteTest, WhateverIsReturnedIteratesAreFiniteAndWithinTheBounds) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    ConstrainedProblem problem = quartic(2 + seed % 7, seed);
    for (double& bound : problem.lower) bound = std::max(bound, -2.0);
    int calls = 0;
    const auto fault = [&] { return ++calls > 20 && random.chance(0.1) ? kBad[random.below(3)] : 0.0; };
    const auto spoil = [&](Function& function) {
      function = [good = function, &fault](const Vector& x, Vector& g) {
        const double f = good(x, g) + fault();
        g[0] += fault();
        return f;
      };
    };
    spoil(problem.function);
    for (std::size_t i = 0; i < problem.constraints.size(); ++i) {
      if (std::isnan(problem.offsets[i])) spoil(problem.constraints[i]);
    }
    ConstrainedSolve solve(problem, {1e-9, 200}, seed % 2 == 0 ? Derivatives::kWithValues : Derivatives::kApart);
    solve.finish();
    for (const Vector& x : solve.evaluated) {
      for (std::size_t k = 0; k < x.size(); ++k) {
        EXPECT_GE(x[k], problem.lower[k]) << seed;  // NaN is not.
        EXPECT_LE(x[k], problem.upper[k]) << seed;
      }
    }
    if (solve.solver.status() != SlsqpStatus::kUnboundedBelow) {
      EXPECT_TRUE(std::isfinite(solve.solver.fun())) << seed;
    }
    for (const double f : solve.values) EXPECT_TRUE(std::isfinite(f)) << seed;
  }
}

TEST(SlsqpNonFiniteTest, ValueNobodyAskedForIsNotRead) {
  // advance() takes an f after each request; only that of an evaluation counts.
  ConstrainedSolve solve(without_constraints(rosenbrock_problem(3)), {}, Derivatives::kApart);
  solve.finish();  // ConstrainedSolve passes NaN.
  EXPECT_EQ(solve.solver.status(), SlsqpStatus::kConverged);
}

}  // namespace
}  // namespace tfminimize::solvers
